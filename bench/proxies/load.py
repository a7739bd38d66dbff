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


def _received_bytes(program):
    for line in pathlib.Path(f"/proc/{program.pid}/io").read_text().splitlines():
        if line.startswith("rchar:"):
            return int(line.split()[1])
    return 0


def watch(command, seconds, answer):
    """Runs a client that fetches for `seconds`, at least two.

    Returns its output, and the requests of its last second: the bytes that came in
    it by the size of an answer."""
    begun = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True) as client:
        marks = []
        for moment in [seconds - 1, seconds - 0.05]:
            time.sleep(max(0, begun + moment - time.monotonic()))
            marks.append((time.monotonic(), _received_bytes(client)))
        output = client.communicate()[0]
    (before, bytes_before), (after, bytes_after) = marks
    return output, (bytes_after - bytes_before) / (after - before) / answer


def fetch(folder, port, body, answer, connections, seconds):
    """Fetches bodies for whole `seconds`; returns wrk's counts, and `last_second`."""
    script = folder / "report.lua"
    script.write_text(_REPORT)
    # Fewer connections than threads are an error of wrk's.
    threads = min(2, connections)
    output, last_second = watch(
        ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "-s", script,
         f"http://127.0.0.1:{port}/{body}"], seconds, answer)
    if "REPORT " not in output:
        raise RuntimeError(f"wrk: {output}")
    return {**json.loads(output.rpartition("REPORT ")[2]), "last_second": last_second}
