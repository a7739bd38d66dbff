"""The parts of the report: what runs, and its figures as plain data."""

import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NAMES = ["throughput", "loop", "waiting", "proxies"]
TARGETS = {"throughput": ["//bench:throughput", "//bench:throughput_counted"],
           "loop": ["//bench:throughput"], "waiting": ["//bench:waiting"]}


def build(names):
    """Builds what the parts need; the folder that the programs are in."""
    targets = sorted({target for name in names for target in TARGETS.get(name, [])})
    if not targets:
        return None
    subprocess.run(["bazel", "build", "-c", "opt", *targets], cwd=ROOT, check=True)
    found = subprocess.run(["bazel", "info", "-c", "opt", "bazel-bin"], cwd=ROOT,
                           check=True, capture_output=True, text=True)
    return pathlib.Path(found.stdout.strip()) / "bench"


def _run(command):
    """Runs a program, shows what it prints, and returns it."""
    print("$", " ".join(map(str, command)), file=sys.stderr)
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(output, file=sys.stderr)
    return output


def _google_flags(args):
    flags = [f"--benchmark_repetitions={args.repetitions}"]
    if args.min_time:
        flags.append(f"--benchmark_min_time={args.min_time}")
    return flags


def measure(name, programs, args):
    """The figures of one part, and the command that gives them."""
    return {"throughput": _throughput, "loop": _loop, "waiting": _waiting,
            "proxies": _proxies}[name](programs, args)


def _google_runs(program, flags):
    """What the program prints, and each repetition that it measured."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        output = _run([program, *flags, f"--benchmark_out={file.name}"])
        runs = json.load(file)["benchmarks"]
    return output, [run for run in runs if run["run_type"] == "iteration"]


def _grouped(runs):
    """The runs of each scenario, peer and number of threads."""
    groups = {}
    for run in runs:
        scenario, peer = run["name"].split("/")[:2]
        groups.setdefault((scenario, peer, run.get("threads", 1)), []).append(run)
    return groups


def _medians(groups):
    """Nanoseconds of processor time of an operation; operations a second, all threads."""
    rows = []
    for (scenario, peer, threads), runs in groups.items():
        if "cpu_ns_per_item" not in runs[0]:
            continue
        nanos = [run["cpu_ns_per_item"] for run in runs]
        rows.append({
            "scenario": scenario, "peer": peer, "threads": threads,
            "ns": statistics.median(nanos), "least_ns": min(nanos), "most_ns": max(nanos),
            "per_second": statistics.median(run["items_per_second"] for run in runs),
            "repetitions": len(runs)})
        if "waits" in runs[0]:  # the part of the operations that had to wait
            rows[-1]["waits"] = statistics.median(run["waits"] for run in runs)
    return rows


def _throughput(programs, args):
    flags = ["--benchmark_filter=-^loop_", *_google_flags(args)]
    output, runs = _google_runs(programs / "throughput", flags)
    groups = _grouped(runs)
    counted = _run([programs / "throughput_counted", "--benchmark_filter=-^loop_",
                    "--benchmark_min_time=0.02"])
    rmw = []
    for line in counted.splitlines():
        if match := re.fullmatch(r"(\w+)/(\w+)\S* (\d+) (\S+) (\S+) .*", line):
            rmw.append({"scenario": match[1], "peer": match[2], "threads": int(match[3]),
                        "shared": float(match[4]), "own": float(match[5])})
    return {
        "command": " ".join(["bazel run -c opt //bench:throughput --", *flags]),
        "rows": _medians(groups),
        "rmw": rmw,
        # The worst of the repetitions.
        "stranding": [{"peer": peer, "reached": min(int(run["reached"]) for run in runs),
                       "of": int(runs[0]["buffers_in_all"])}
                      for (scenario, peer, _), runs in groups.items()
                      if scenario == "stranding"],
        "left_out": re.findall(r"^Left out: (.*)", output, re.MULTILINE),
        "noise": re.findall(r"^Half of the repetitions .*", output, re.MULTILINE)}


def _loop(programs, args):
    flags = ["--benchmark_filter=^loop_", f"--benchmark_repetitions={args.repetitions}"]
    _, runs = _google_runs(programs / "throughput", flags)
    rows = _medians(_grouped(runs))
    for row in rows:
        match = re.fullmatch(r"loop_(\d+)_of_(\d+)", row["scenario"])
        row["bulk"], row["keep"] = int(match[1]), int(match[2])
    return {"command": " ".join(["bazel run -c opt //bench:throughput --", *flags]),
            "rows": rows}


def markdown_table(text):
    """The columns, the rows, and the lines outside of the one table in `text`."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    cells = [[cell.strip() for cell in line.strip("|").split("|")]
             for line in lines if line.startswith("|")]
    return cells[0], cells[2:], [line for line in lines if not line.startswith("|")]


def _waiting(programs, _args):
    # Its second table is of threads that block, which the throughput part has.
    overload = _run([programs / "waiting"]).partition("Threads that block")[0]
    columns, rows, remarks = markdown_table(overload)
    return {"command": "bazel run -c opt //bench:waiting", "columns": columns,
            "rows": rows, "remarks": remarks}


def _proxies(_programs, args):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "proxies.json"
        _run([ROOT / "bench/relay_vs_haproxy", *args.proxy_flags, f"--json={file}"])
        measured = json.loads(file.read_text())
    return {"command": " ".join(["bench/relay_vs_haproxy", *args.proxy_flags]),
            "versions": measured["versions"], "connections": measured["connections"],
            "rows": measured["medians"]}


def machine():
    """Where all this was measured."""
    def first(path, pattern):
        found = re.search(pattern, pathlib.Path(path).read_text(), re.MULTILINE)
        return found[1] if found else "unknown"

    return {"processor": first("/proc/cpuinfo", r"^model name\s*: (.*)"),
            "cores": len(os.sched_getaffinity(0)),
            "memory": f"{int(first('/proc/meminfo', r'^MemTotal: *([0-9]+)')) >> 20} GiB",
            "kernel": os.uname().release,
            "system": first("/etc/os-release", r'^PRETTY_NAME="(.*)"')}


# What Debian installed of what is measured with or against.
_PACKAGES = ["g++", "libc6", "libbenchmark1.7.1", "libdpdk-dev", "libtcmalloc-minimal4",
             "libjemalloc2", "libmimalloc2.0", "libtbbmalloc2", "libboost-dev",
             "libconcurrentqueue-dev", "haproxy", "nginx", "wrk"]


def versions():
    """Tandem's commit, and Debian's versions of the rest, as pairs."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT,
                            capture_output=True, text=True, check=False).stdout.strip()
    pairs = [["Tandem", commit or "unknown"]]
    try:
        listed = subprocess.run(
            ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version}\n",
             *_PACKAGES], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return pairs
    return pairs + [line.split()[1:] for line in listed.splitlines()
                    if line.startswith("installed ")]
