#!/bin/bash
#
# Checks the page that bench/report draws from the figures of an earlier run: it is
# whole, loads nothing, and marks and explains every row in which a peer is ahead.
#
#   bazel test //tests/bench:report_test

set -euo pipefail

command -v python3 >/dev/null || exit 0
PYTHONDONTWRITEBYTECODE=1 python3 - <<'EOF'
import copy
import html.parser
import json
import os
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree

sys.path.insert(0, "bench")
from reporting import behind
from reporting import page
from reporting import parts

FIXTURE = json.loads(pathlib.Path("tests/bench/report.json").read_text())
VOID = {"meta", "br"}


class Checker(html.parser.HTMLParser):
    """Every element that opens closes, and nothing is loaded from anywhere."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.targets, self.words = [], set(), set(), []
        self.feed(text)
        self.close()
        assert not self.open, self.open
        assert self.targets <= self.ids, self.targets - self.ids

    def handle_starttag(self, tag, attrs):
        assert tag not in {"script", "link", "img", "iframe", "object"}, tag
        for name, value in attrs:
            assert name not in {"src", "srcset", "data", "style"}, (tag, name)
            if name == "href":
                assert value.startswith("#"), value
                self.targets.add(value[1:])
            if name == "id":
                self.ids.add(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass  # of an SVG

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.open)

    def handle_data(self, data):
        self.words.append(data)


def draw(report):
    rows = behind.rows(report)
    text = page.html(report, rows)
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        xml.etree.ElementTree.fromstring(drawing)
    for needs in ("://", "@import", "url("):
        assert needs not in text, needs
    return rows, text, " ".join(Checker(text).words)


# The whole page.
rows, text, words = draw(FIXTURE)
for heading in ["Taking and returning buffers", "Stranding", "DPDK's own loop",
                "Waiting under overload", "Proxies", "Where a peer is ahead, and why",
                "How to repeat it"]:
    assert f"<h2>{heading.replace(chr(39), '&#x27;')}</h2>" in text, heading
for figure in ["2.71", "511 of 4,095", "4,096 of 4,096", "18,444", "7,135 errors",
               "stops serving", "310", "fair_list 96 %", "takes 11 read-modify-writes", "0.034 shared", "not installed <here>", "2.6.12",
               FIXTURE["parts"]["waiting"]["command"]]:
    assert figure in words, figure
assert all(row["why"] for row in rows), rows
assert "not explained" not in words

# The rows that are marked: by more than 5 %, of peers alone, in the direction that
# is better.
keys = {row["key"] for row in rows}
for key in ["throughput/batch_of_32/1/rte_mempool", "throughput/hand_off/2/rte_mempool",
            "loop/tandem_unchecked/4/32/1", "waiting/no/p50/fair list",
            "proxies/relay/tcp/12/100000/p99_ms/haproxy"]:
    assert key in keys, key
for key in keys:
    assert "/tandem_" not in key or key.startswith("loop/"), key
    assert not key.startswith(("throughput/exhaustion", "throughput/one_buffer/1/tcmalloc",
                               "loop/tandem_unchecked/32/")), key
    assert not key.endswith("/stock") or "/12/" not in key, key  # it stopped
assert text.count("◆") >= len([key for key in keys if not key.startswith("loop/")]), keys


def with_tcmalloc(nanos):
    """The fixture with another figure of a peer beside Tandem's 2.71 ns."""
    report = copy.deepcopy(FIXTURE)
    for row in report["parts"]["throughput"]["rows"]:
        if (row["scenario"], row["peer"]) == ("one_buffer", "tcmalloc"):
            row["ns"] = nanos
    return report


assert len(behind.rows(with_tcmalloc(2.71 / 1.04))) == len(rows)
found, text, words = draw(with_tcmalloc(2.71 / 1.06))
assert len(found) == len(rows) + 1

# A row without an explanation can't hide.
behind.WHY = [(pattern, why) for pattern, why in behind.WHY if "tcmalloc" not in pattern]
found, text, words = draw(with_tcmalloc(1.0))
assert [row["key"] for row in found if not row["why"]] == [
    "throughput/one_buffer/1/tcmalloc"], found
assert words.count("not explained") == 2, words

# Nor can a proxy of ours that stops serving.
stuck = copy.deepcopy(FIXTURE)
for row in stuck["parts"]["proxies"]["rows"]:
    if row["proxy"] == "relay" and row["buffers"] == 12:
        row.update(stopped=3, last_second=0)
assert [row["key"] for row in behind.rows(stuck) if not row["why"]] == [
    "proxies/relay/tcp/12/100000/last_second/haproxy"]

# Each part alone.
for name in parts.NAMES:
    alone = {**FIXTURE, "parts": {name: FIXTURE["parts"][name]}}
    _, text, _ = draw(alone)
    assert ("Stranding" in text) == (name == "throughput"), name

# The command itself: both files, and what it says of an unknown part.
out = pathlib.Path(os.environ["TEST_TMPDIR"])
subprocess.run([sys.executable, "bench/report", "--from=tests/bench/report.json",
                f"--out={out}"], check=True)
assert json.loads((out / "report.json").read_text()) == FIXTURE
assert "</html>" in (out / "report.html").read_text()
wrong = subprocess.run([sys.executable, "bench/report", "--parts=loops"],
                       capture_output=True, text=True, check=False)
assert wrong.returncode == 2 and "no such part: loops" in wrong.stderr, wrong

# What //bench:waiting prints.
columns, table, remarks = parts.markdown_table(
    "10 sessions\n\n| who | p50 |\n|---|--:|\n| Tandem    |    3.1 |\n\nmemory: 2 KiB\n")
assert (columns, table, remarks) == (
    ["who", "p50"], [["Tandem", "3.1"]], ["10 sessions", "memory: 2 KiB"]), table
EOF
