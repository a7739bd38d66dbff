"""What many runs come to: medians, and their table."""

import statistics

from proxies import load
from proxies import peers

_MEDIANS = ["requests_per_second", "last_second", "p50_ms", "p99_ms", "processor_us",
            "resident_kB"]

# Fewer requests than that in its last second, and a proxy has stopped serving.
_SERVES = 10


def stopped(last_second):
    return last_second < _SERVES


def ratio(value, base):
    """None if there is nothing to compare with."""
    return value / base if base > 0 else None


def _median_row(mode, body, buffers, which, mine):
    row = {"mode": mode, "body": body, "buffers": buffers, "proxy": which,
           "stopped": sum(stopped(run["last_second"]) for run in mine)}
    for key in _MEDIANS:
        row[key] = statistics.median(run[key] for run in mine)
    for key in load.ERRORS:
        row[key] = sum(run[key] for run in mine)
    row["errors"] = sum(row[key] for key in load.ERRORS)
    return row


def summarize(runs):
    """A row for each mode, body, total of buffers and proxy, in the runs' order."""
    groups = {}
    for run in runs:
        key = (run["mode"], run["body"], run["buffers"], run["proxy"])
        groups.setdefault(key, []).append(run)
    rows = [_median_row(*key, mine) for key, mine in groups.items()]
    unlimited = {(row["mode"], row["body"], row["proxy"]): row
                 for row in rows if row["buffers"] is None}
    for row in rows:
        own = unlimited.get((row["mode"], row["body"], row["proxy"]))
        row["of_unlimited"] = own and ratio(row["requests_per_second"],
                                            own["requests_per_second"])
    return rows


def _of_unlimited(row):
    if row["buffers"] is None or row["of_unlimited"] is None:
        return ""
    return f"{row['of_unlimited']:.2f}"


def _buffers(row):
    if not peers.PEERS[row["proxy"]].has_limit:
        return "no limit"
    return row["buffers"] or "none"


def table(rows):
    """Markdown."""
    lines = [
        "| mode | body | buffers | proxy | requests/s | of its own without limit "
        "| last second | p50 | p99 | errors | µs of CPU each | resident |",
        "|---|--:|--:|---|" + "--:|" * 8]
    for row in rows:
        # What a proxy that has stopped takes for a request says nothing.
        cost = "" if row["stopped"] else f"{row['processor_us']:.0f}"
        name = peers.PEERS[row["proxy"]].title
        lines.append(
            f"| {row['mode']} | {row['body']:,} | {_buffers(row)} | "
            f"{name}{', STOPS SERVING' if row['stopped'] else ''} | "
            f"{row['requests_per_second']:,.0f} | {_of_unlimited(row)} | "
            f"{row['last_second']:,.0f} | {row['p50_ms']:.0f} ms | "
            f"{row['p99_ms']:.0f} ms | {row['errors']:,} | {cost} | "
            f"{row['resident_kB'] / 1024:.1f} MB |")
    return "\n".join(lines)
