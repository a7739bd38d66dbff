#!/bin/bash
#
# Checks what bench/relay_vs_haproxy makes of its runs, whatever the peers did:
# one that serves nothing is no division by zero, and is shown as such.
#
#   bazel test //tests/relay:relay_vs_haproxy_test

set -euo pipefail

command -v python3 >/dev/null || exit 0
PYTHONDONTWRITEBYTECODE=1 python3 - <<'EOF'
import contextlib
import importlib.machinery
import importlib.util
import io

loader = importlib.machinery.SourceFileLoader("bench", "bench/relay_vs_haproxy")
bench = importlib.util.module_from_spec(
    importlib.util.spec_from_loader("bench", loader))
loader.exec_module(bench)


def run(which, requests):
    return {"which": which, "limit": 4, "body": 1000, "stopped": requests < 1000,
            "requests_per_second": requests / 2, "p50_ms": 1, "p99_ms": 2,
            "processor_us": 1e6 / max(requests, 1), "peak_kB": 1024, "connect": 0,
            "read": 0, "write": 0, "timeout": 0, "status": 0}


def report(runs, proxies):
    rows = bench.summarize(runs, [1000], [4], proxies)
    table = io.StringIO()
    with contextlib.redirect_stdout(table):
        bench.print_table(rows)
    return rows, table.getvalue(), bench.plot(rows, [4], proxies)


proxies = ["haproxy", "nginx", "relay"]
for served in [0, 17]:
    rows, table, picture = report(
        [run("haproxy", served), run("nginx", 5000), run("relay", 10000)], proxies)
    assert "| haproxy, STOPS SERVING |" in table, table
    assert table.count("STOPS") == 1, table
    assert ">stops<" in picture, picture
    assert rows[2]["cost"] is None, rows
    assert (rows[2]["speed"] is None) == (served == 0), rows

rows, table, picture = report(
    [run("haproxy", 5000), run("nginx", 2500), run("relay", 10000)], proxies)
assert "STOPS" not in table and "stops" not in picture, table
assert (rows[2]["speed"], rows[2]["cost"]) == (2.0, 0.5), rows
assert (rows[1]["speed"], rows[1]["cost"]) == (0.5, 2.0), rows
EOF
