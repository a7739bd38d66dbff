#!/bin/bash
#
# Checks what bench/relay_vs_haproxy makes of its runs, whatever the peers did:
# one that serves nothing is no division by zero, and is shown as such.
#
#   bazel test //tests/relay:relay_vs_haproxy_test

set -euo pipefail

command -v python3 >/dev/null || exit 0
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=bench python3 - <<'EOF'
from proxies import peers, plot, results


def run(proxy, buffers, requests, last_second, errors=0):
    return {"mode": "tcp", "body": 1000, "buffers": buffers, "proxy": proxy,
            "requests_per_second": requests, "last_second": last_second, "p50_ms": 1,
            "p99_ms": 2, "processor_us": 3, "resident_kB": 1024, "connect": 0,
            "read": errors, "write": 0, "timeout": 0, "status": 0}


def report(runs):
    rows = results.summarize(runs)
    return rows, results.table(rows), plot.svg(rows)


# A first burst of 400 a second, and nothing in the end; or nothing at all.
for requests in [0, 400]:
    rows, table, picture = report(
        [run("stock", None, requests, 0), run("nginx", None, 5000, 5000),
         run("stock", 12, requests, 0), run("relay", 12, 10000, 9000, errors=17)])
    assert table.count("HAProxy 3.0, STOPS SERVING |") == 2, table
    assert table.count("STOPS") == 2, table
    assert "| no limit | nginx's stream module |" in table, table
    assert picture.count(">stops serving<") == 2, picture
    assert picture.count(">17 errors<") == 1, picture
    assert rows[2]["of_unlimited"] == (1 if requests else None), rows
    assert rows[3]["of_unlimited"] is None, rows  # it has no run without limit
    assert rows[3]["errors"] == 17, rows

# Medians, and one run of three that stops.
rows, table, picture = report(
    [run("relay", None, 1000, 1000)] +
    [run("relay", 5, requests, last)
     for requests, last in [(900, 9), (500, 500), (100, 100)]])
assert (rows[1]["requests_per_second"], rows[1]["of_unlimited"]) == (500, 0.5), rows
assert rows[1]["stopped"] == 1 and "relay, STOPS" in table, table

# Totals of buffers: HAProxy 3 adds a reserve for each thread to its limit.
for buffers, limit, reserve in [(256, 248, 4), (12, 4, 4), (11, 3, 4), (5, 3, 1), (3, 3, 0)]:
    lines = peers.limit_beside_reserve(buffers)
    assert f"limit {limit}\n" in lines and lines.endswith(f"reserve {reserve}"), lines
assert peers.limit_beside_reserve(None) == peers.shared_limit(None) == ""
assert peers.shared_limit(12) == "tune.buffers.limit 12"
EOF
