"""Many connections that fetch one body again and again: wrk, and its counts."""

import json
import pathlib
import socket
import subprocess
import time

ERRORS = ["connect", "read", "write", "timeout", "status"]

# What wrk has counted, in numbers.
_REPORT = """\
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nREPORT {"requests":%d,"seconds":%f,"p50_ms":%f,"p99_ms":%f,' ..
    '"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, e.connect, e.read, e.write, e.timeout,
    e.status))
end
"""


def answer_bytes(port, body):
    """The size of an answer, with its head."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /%d HTTP/1.0\r\nHost: x\r\n\r\n" % body)
        return sum(len(piece) for piece in iter(lambda: connection.recv(65536), b""))


def _received_bytes(wrk):
    for line in pathlib.Path(f"/proc/{wrk.pid}/io").read_text().splitlines():
        if line.startswith("rchar:"):
            return int(line.split()[1])
    return 0


def fetch(folder, port, body, answer, connections, seconds):
    """Fetches bodies for whole `seconds`, at least two.

    Returns wrk's counts, and `last_second`: the requests of the last second, as
    the bytes that came in it by the size of an answer."""
    script = folder / "report.lua"
    script.write_text(_REPORT)
    # Fewer connections than threads are an error of wrk's.
    threads = min(2, connections)
    begun = time.monotonic()
    with subprocess.Popen(
            ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "-s", script,
             f"http://127.0.0.1:{port}/{body}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as wrk:
        marks = []
        for moment in [seconds - 1, seconds - 0.05]:
            time.sleep(max(0, begun + moment - time.monotonic()))
            marks.append((time.monotonic(), _received_bytes(wrk)))
        output = wrk.communicate()[0]
    if "REPORT " not in output:
        raise RuntimeError(f"wrk: {output}")
    counts = json.loads(output.rpartition("REPORT ")[2])
    (before, bytes_before), (after, bytes_after) = marks
    counts["last_second"] = (bytes_after - bytes_before) / (after - before) / answer
    return counts
