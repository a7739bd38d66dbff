"""The report as one HTML page, which loads nothing."""

from html import escape
import pathlib

from reporting import behind
from reporting import plots

_STYLE = pathlib.Path(__file__).with_name("page.css")

_NAMES = {"tandem": "Tandem", "tandem_unchecked": "Tandem, no check",
          "tandem_shared": "Tandem, no rseq", "tandem_uncached": "Tandem, no cache",
          "thread_array": "thread's array", "boost_stack": "boost stack",
          "mutex_list": "mutex list", "fair_list": "fair mutex list"}
_PROXIES = {"relay": "Tandem's relay", "tandem": "HAProxy on Tandem",
            "haproxy": "HAProxy, Debian", "stock": "HAProxy, stock",
            "edited": "HAProxy, edited", "nginx": "nginx stream"}
# The scenarios of the plots: what one thread does, then several.
_PANELS = [("one_buffer", 1, "one buffer, one thread"),
           ("pair", 1, "pair, one thread"),
           ("batch_of_32", 1, "batch of 32, one thread"),
           ("burst_of_64", 1, "64 one by one, one thread"),
           ("session_pair", 1, "a session's pair, one thread"),
           ("one_buffer", 2, "one buffer, two threads"),
           ("burst_of_512", 2, "512 one by one, two threads"),
           ("hand_off", 2, "hand-off between two threads"),
           ("waiting", 8, "waiting for a pair, 8 threads")]
_LINES = [("one_buffer", "one buffer"), ("session_pair", "a session's pair"),
          ("hand_off", "hand-off")]
_SCENARIOS = ["one_buffer", "pair", "session_pair", "batch_of_32", "burst_of_64",
              "burst_of_512", "hand_off", "exhaustion", "waiting"]
_ORDER = ["tandem", "tandem_unchecked", "tandem_shared", "tandem_uncached", "thread_array",
          "rte_mempool", "boost_stack", "moodycamel", "tcmalloc", "jemalloc", "mimalloc",
          "tbbmalloc", "malloc", "mutex_list", "fair_list"]


def _name(peer):
    return _NAMES.get(peer, peer)


def _kind(peer):
    if peer == "tandem":
        return "ours"
    if peer in behind.VARIANTS:
        return "variant"
    return "limit" if peer == "thread_array" else "peer"


def _table(head, rows, kind=""):
    """Rows of (class of the row, cells), each cell (class, words, already HTML)."""
    lines = ["<div class='scroll'><table", f" class='{kind}'" if kind else "", "><tr>",
             *(f"<th>{escape(title)}</th>" for title in head), "</tr>"]
    for row_kind, cells in rows:
        lines.append(f"<tr class='{row_kind}'>" if row_kind else "<tr>")
        lines += [f"<td class='{cell_kind}'>{words}</td>" if cell_kind
                  else f"<td>{words}</td>" for cell_kind, words in cells]
        lines.append("</tr>")
    return "".join(lines + ["</table></div>"])


def _plots(drawn, kind=""):
    return f"<div class='plots {kind}'>{''.join(drawn)}</div>" if drawn else ""


def _section(title, about, *contents):
    return f"<h2>{escape(title)}</h2><p class='soft'>{about}</p>" + "".join(contents)


def _note(row):
    """A link from a marked figure to its explanation."""
    if not row["why"]:
        return "<span class='missing'>not explained</span>"
    return f"<a href='#why-{row['note']}'>{row['note'] + 1}</a>"


def _threads(count):
    return "1 thread" if count == 1 else f"{count} threads"


def _place(item):
    """Where a scenario's row stands in the table."""
    scenario, threads = item[0]
    return (_SCENARIOS.index(scenario) if scenario in _SCENARIOS else len(_SCENARIOS),
            scenario, threads)


def _throughput(part, ahead):
    by = {}
    for row in part["rows"]:
        by.setdefault((row["scenario"], row["threads"]), {})[row["peer"]] = row
    drawn = []
    for scenario, threads, title in _PANELS:
        peers = by.get((scenario, threads), {})
        rows = sorted((behind.cost(row), peer) for peer, row in peers.items())
        if rows:
            drawn.append(plots.dots(
                title, "ns of processor time, logarithmic",
                [(_name(peer), value, _kind(peer)) for value, peer in rows]))
    for scenario, title in _LINES:
        series = []
        for peer in _ORDER:
            points = {threads: peers[peer]["per_second"] / 1e6
                      for (name, threads), peers in by.items()
                      if name == scenario and peer in peers}
            if len(points) > 2:
                series.append((_name(peer), points, _kind(peer)))
        if series:
            ticks = sorted({threads for _, points, _ in series for threads in points})
            drawn.append(plots.lines(f"{title}: million/s, all threads",
                                     "operations of all together", series, ticks))
    known = [peer for peer in _ORDER if any(peer in peers for peers in by.values())]
    table = []
    for (scenario, threads), peers in sorted(by.items(), key=_place):
        if len(peers) < 2:
            continue
        leads = {row["peer"]: row for row in ahead
                 if row["key"].startswith(f"throughput/{scenario}/{threads}/")}
        cells = [("", escape(scenario.replace("_", " "))), ("", str(threads))]
        for peer in known:
            if peer not in peers:
                cells.append(("soft", "·"))
                continue
            value = plots.number(behind.cost(peers[peer]))
            if peer in leads:
                cells.append(("lead", f"◆ {value} {_note(leads[peer])}"))
            else:
                cells.append((_kind(peer) if peer == "tandem" else "", value))
        table.append(("marked" if leads else "", cells))
    left_out = "".join(f"<p class='soft'>Left out: {escape(line)}.</p>"
                       for line in part.get("left_out", []))
    return _section(
        "Taking and returning buffers",
        "Nanoseconds of processor time of an operation, all threads together; medians. "
        "An operation takes and returns what the row is named after. Less is better. "
        "◆: ahead of Tandem by more than 5&nbsp;%, with the number of the explanation.",
        _plots(drawn),
        _table(["", "threads", *map(_name, known)], table), left_out)


def _loop(part, ahead):
    rates = {(row["peer"], row["bulk"], row["keep"], row["threads"]): row["per_second"]
             for row in part["rows"]}
    bulks = sorted({row["bulk"] for row in part["rows"]})
    keeps = sorted({row["keep"] for row in part["rows"]})
    drawn = []
    for peer, checked in [("tandem_unchecked", "Unchecked"), ("tandem", "Checked")]:
        for threads in sorted({row["threads"] for row in part["rows"]}):
            ratios = {}
            for bulk in bulks:
                for keep in keeps:
                    ours = rates.get((peer, bulk, keep, threads))
                    theirs = rates.get(("rte_mempool", bulk, keep, threads))
                    if ours and theirs:
                        ratios[bulk, keep] = ours / theirs
            if ratios:
                drawn.append(plots.heat(
                    f"{checked} / rte_mempool, {_threads(threads)}", bulks, keeps, ratios))
    notes = {row["note"]: _note(row) for row in ahead if row["key"].startswith("loop/")}
    behind_of = f" Explained in {', '.join(notes.values())}." if notes else ""
    return _section(
        "DPDK's own loop",
        "The loop of DPDK's mempool_perf: threads keep so many buffers, which they take and "
        "return in bulks. Buffers a second of Tandem, without its check for misuse and with it, "
        "over those of rte_mempool, whose cache is as large and which checks nothing; more "
        f"than 1: Tandem is faster. ◆ and orange: behind by more than 5&nbsp;%.{behind_of}",
        _plots(drawn, "pairs"))


def _stranding(part):
    rows = sorted(part["stranding"], key=lambda row: -row["reached"] / row["of"])
    drawn = plots.bars("what one thread gets", "buffers",
                       [(_name(row["peer"]), row["reached"],
                         f"{row['reached']:,} of {row['of']:,}", "", _kind(row["peer"]))
                        for row in rows], max(row["of"] for row in rows))
    return _section(
        "Stranding",
        "Fifteen threads take 512 buffers each, return them, and sleep: no buffer is in use. "
        "How many does one more thread get before the pool says that there are none? "
        "A count, not a time; the worst of all repetitions. General allocators have no "
        "bound, so nothing to count.",
        _plots([drawn]))


def _waiting(part, ahead):
    columns = part["columns"]
    leads = {row["key"]: row for row in ahead}
    marks = [i for i, column in enumerate(columns) if column.startswith("p")]
    drawn, table = [], []
    for cancels in dict.fromkeys(row[1] for row in part["rows"]):
        rows = [(f"{columns[i]}, {row[0]}", behind.figure(row[i]),
                 "ours" if row[0] == "Tandem" else "peer")
                for i in marks for row in part["rows"] if row[1] == cancels]
        rows = [row for row in rows if row[1]]
        if rows:
            drawn.append(plots.dots("half cancel" if cancels == "yes" else "nobody cancels",
                                    "µs from the release to the wake-up", rows))
    for row in part["rows"]:
        cells = []
        for column, cell in zip(columns, row):
            lead = leads.get(f"waiting/{row[1]}/{column}/{row[0]}")
            cells.append(("lead", f"◆ {escape(cell)} {_note(lead)}") if lead
                         else ("", escape(cell)))
        table.append(("marked" if any(kind for kind, _ in cells) else "", cells))
    return _section("Waiting under overload",
                    escape(". ".join(part["remarks"])) + ". Of times, less is better.",
                    _plots(drawn), _table(columns, table))


def _proxies(part, ahead):
    leads = {}
    for row in ahead:
        if row["key"].startswith("proxies/"):
            _, _, mode, buffers, body, name, peer = row["key"].split("/")
            leads[mode, buffers, body, name, peer] = row
    groups = {}
    for row in part["rows"]:
        groups.setdefault((row["mode"], row["body"], row["buffers"]), []).append(row)
    drawn, table = [], []
    for (mode, body, buffers), rows in groups.items():
        top = max(row["requests_per_second"] for of, others in groups.items()
                  for row in others if of[:2] == (mode, body))
        limit = f"{buffers} buffers" if buffers else "no limit"
        drawn.append(plots.bars(f"{limit}: mode {mode}, {body / 1000:g} kB", "requests/s", [
            (_PROXIES.get(row["proxy"], row["proxy"]), row["requests_per_second"],
             "" if row["stopped"] else f"{row['requests_per_second']:,.0f}",
             "stops serving" if row["stopped"] else
             f"{row['errors']:,} errors" if row["errors"] else "",
             "ours" if row["proxy"] in ("relay", "tandem") else "peer")
            for row in rows], plots.round_up(top), room=78))
        for row in rows:
            def cell(name, words, row=row, place=(mode, str(buffers), str(body))):
                lead = leads.get((*place, name, row["proxy"]))
                return ("lead", f"◆ {words} {_note(lead)}") if lead else ("", words)
            cells = [("", escape(_PROXIES.get(row["proxy"], row["proxy"]))), ("", mode),
                     ("", f"{body:,}"), ("", str(buffers or "none")),
                     cell("requests_per_second", f"{row['requests_per_second']:,.0f}"),
                     ("", f"{row['last_second']:,.0f}"),
                     ("", f"{row['p50_ms']:.0f} ms"), cell("p99_ms", f"{row['p99_ms']:.0f} ms"),
                     ("", f"{row['errors']:,}"),
                     cell("processor_us", f"{row['processor_us']:.0f} µs"),
                     ("", f"{row['resident_kB'] / 1024:.1f} MB"),
                     ("lead" if row["stopped"] else "",
                      "stops serving" if row["stopped"] else "yes")]
            marked = any(kind == "lead" for kind, _ in cells[:-1])
            table.append(("marked" if marked else "", cells))
    return _section(
        "Proxies",
        f"{part['connections']:,} connections fetch from nginx through each proxy; two threads "
        "each, buffers of 16 KiB, so many of them in all. More requests/s are better.",
        _plots(drawn),
        _table(["", "mode", "body", "buffers", "requests/s", "in the last second", "p50", "p99",
                "errors", "CPU a request", "memory", "serves"], table))


def _behind(ahead):
    if not ahead:
        return _section("Where a peer is ahead", "In no row by more than 5 %.")
    groups = {}
    for row in ahead:
        groups.setdefault(row["note"], []).append(row)
    items = []
    for note, rows in sorted(groups.items(), key=lambda item: (item[0] is None, item[0])):
        table = _table(["row", "peer", "Tandem's", "peer's", "ratio"], [
            ("", [("", escape(row["what"])), ("", escape(_name(row["peer"]))),
                  ("", f"{plots.number(row['ours'])} {row['unit']}"),
                  ("", f"{plots.number(row['theirs'])} {row['unit']}"),
                  ("lead", f"{row['ratio']:.2f}")]) for row in rows])
        words = (f"<b>{note + 1}.</b> {escape(rows[0]['why'])}" if note is not None
                 else "<span class='missing'>not explained</span>")
        items.append(f"<li id='why-{note}'>{words}<details><summary>{len(rows)} "
                     f"{'row' if len(rows) == 1 else 'rows'}</summary>{table}</details></li>")
    return _section("Where a peer is ahead, and why",
                    "Every row in which a peer is ahead by more than 5 %; the ratio is "
                    "Tandem's speed over the peer's.",
                    f"<ol class='why'>{''.join(items)}</ol>")


def _tiles(report, ahead):
    tiles = []
    throughput = report["parts"].get("throughput")
    if throughput:
        by = {(row["scenario"], row["threads"], row["peer"]): row for row in throughput["rows"]}
        if ("one_buffer", 1, "tandem") in by:
            tiles.append((f"{by['one_buffer', 1, 'tandem']['ns']:.1f} ns",
                          "to take one buffer and return it, checked for misuse"))
        for row in throughput["stranding"]:
            if row["peer"] == "tandem":
                tiles.append((f"{row['reached']:,} of {row['of']:,}",
                              "buffers that one thread finds while fifteen others sleep"))
        hot = [row["shared"] for row in throughput.get("rmw", [])
               if row["scenario"] in ("one_buffer", "pair", "batch_of_32", "burst_of_64")]
        if hot:
            tiles.append((f"{max(hot):.0f}", "shared read-modify-writes where caches serve"))
    tiles.append((f"{len(ahead)}", "rows in which a peer is ahead by more than 5 %, all of "
                                   "them below"))
    return "<div class='tiles'>" + "".join(
        f"<div class='tile'><b>{escape(figure)}</b><span>{escape(words)}</span></div>"
        for figure, words in tiles) + "</div>"


def _repeat(report):
    machine = report["machine"]
    lines = [("machine", f"{machine['processor']}, {machine['cores']} cores, "
                         f"{machine['memory']}, Linux {machine['kernel']}, "
                         f"{machine['system']}")]
    lines += [(name, f"{part['command']} ({part['taken']})")
              for name, part in report["parts"].items()]
    for part in report["parts"].values():
        lines += [("noise", line) for line in part.get("noise", [])]
    versions = report["versions"] + [
        [name, version] for name, version in
        report["parts"].get("proxies", {}).get("versions", {}).items()]
    rows = [("", [("", escape(name)), ("", f"<code>{escape(words)}</code>")])
            for name, words in lines + [tuple(map(str, pair)) for pair in versions]]
    return _section("How to repeat it", "All of it: <code>bench/report</code>. The numbers of "
                    "this page are in report.json beside it.",
                    _table(["what", ""], rows, "words"))


def html(report, ahead):
    """The whole page; `ahead` is what behind.rows(report) gave."""
    measured = report["parts"]
    sections = [_tiles(report, ahead)]
    if "throughput" in measured:
        sections.append(_throughput(measured["throughput"], ahead))
        if measured["throughput"]["stranding"]:
            sections.append(_stranding(measured["throughput"]))
    for name, section in [("loop", _loop), ("waiting", _waiting), ("proxies", _proxies)]:
        if name in measured:
            sections.append(section(measured[name], ahead))
    sections += [_behind(ahead), _repeat(report)]
    machine = report["machine"]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tandem beside its peers</title>
<style>
{_STYLE.read_text()}</style>
</head>
<body>
<main>
<h1>Tandem beside its peers</h1>
<p class="soft">{escape(max(part['taken'] for part in measured.values()))} · {machine['cores']} cores of
{escape(machine['processor'])}</p>
{''.join(sections)}
</main>
</body>
</html>
"""
