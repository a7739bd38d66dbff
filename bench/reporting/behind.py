"""Where a peer is ahead of Tandem by more than 5 %, and why, in counts.

A row's key is PART/..., as the functions below make it, and an explanation is
for all keys that its pattern matches (fnmatch).  Counts of Tandem's instructions
are read from the golden table that //tests/pool:fast_path_test checks.
"""

import fnmatch
import pathlib
import re

MARGIN = 1.05
# Tandem with an option changed is no peer.
VARIANTS = {"tandem", "tandem_unchecked", "tandem_shared", "tandem_uncached"}
_GOLDEN = (pathlib.Path(__file__).resolve().parent.parent.parent /
           "tests/pool/golden/fast_path.x86_64.golden")

# The first pattern that matches counts.
WHY = [
    ("throughput/waiting/*", """\
Of {threads} threads' rounds, so many had to wait: {waits}. A switch to another thread
costs more than all else in a round, a sleep and a wake-up most of all. A list whose waiters may be overtaken
(mutex_list) sleeps less and serves in no order. The fair list keeps the order of one
class by one lock; Tandem keeps that of all classes without one, and a round takes
{waiting_rmw} read-modify-writes on words that threads share."""),
    ("throughput/*/thread_array", """\
The limit, not a pool: the array belongs to one thread, so no other thread can take
from it and nothing finds what is idle in it. Its two bounds checks and one move
each way are 14 instructions; taking and returning one buffer of Tandem's takes
{one}, of which {check_one} are the check for misuse, 8 find this thread's cache of
this pool, and 6 name the section that the kernel restarts."""),
    ("throughput/batch_of_32/*/mutex_list", """\
One lock and one unlock, two locked instructions, are paid once for 32 buffers, and
two copies of 256 bytes; with one thread nobody else wants the lock. Tandem checks each
buffer: {many} instructions for 32, of which {check_many} are the check for misuse.
Without the check it is {many_unchecked}. With two threads the list's lock is fought for."""),
    ("throughput/batch_of_32/*", """\
Tandem checks each buffer for misuse: {many} instructions for 32 taken and
returned, of which {check_many} are the check, with a load, a compare and two stores for
each buffer; {many_unchecked} without it. The peer checks nothing."""),
    ("throughput/hand_off/[!2]*", """\
With more threads than cores, most of the processor time goes to polling for a partner
that does not run at the moment, which is the scheduler's and not the pool's: Tandem's own
part is {hand_off_rmw} shared read-modify-writes, and 3 to 17 ns with a core for each."""),
    ("throughput/hand_off/*", """\
Each buffer's word of the misuse check moves with the buffer from one core to the
other: one line for each hand-off, which is 1 of the 1.14 that move in
all, while the rest takes {hand_off_rmw} shared read-modify-writes (docs/scaling.md). The peer keeps no such word. Tandem without the check moves 0.14."""),
    ("throughput/*/rte_mempool", """\
rte_mempool checks nothing: the check for misuse is {check_one} of the {one}
instructions of one buffer."""),
    ("loop/tandem/*", """\
The check for misuse, which rte_mempool has not: {check_many} of {many} instructions
for 32 buffers taken and returned, and one store each way to a line of each buffer's
own. The loop touches no buffer, so the check is most of what it measures."""),
    ("loop/tandem_unchecked/*", """\
No check here. Within the cache the number of instructions decides: {one_unchecked} for
one buffer, {pair_unchecked} for a pair, {many_unchecked} for 32, taken and returned. Of the
first, 6 name a section to the kernel and 8 find the thread's cache of this pool.
Past the cache Tandem moves at most 256 buffers for two shared read-modify-writes, so that
a stopped thread holds no more; rte_mempool moves 513 or more to refill and up to 768 to
flush, which is what strands them (see there)."""),
    ("waiting/*", """\
The list wakes with the lock's handover already done, one word written; Tandem gives a
waiter its buffers by a compare-and-swap on the waiter's own record, and again on the
queue, so that a cancel can race with it from any thread."""),
    ("proxies/*/processor_us/*", """\
The peer copies through one buffer for each direction and reads again at once; the
relay returns each empty buffer to the pool before it waits for more, and takes one
when there is something to read: two more calls of the pool for each read, which is
what lets so few buffers do."""),
    ("proxies/*/p99_ms/*", """\
With fewer buffers than connections, who comes waits in order of arrival. Everyone is
served, so the last of a thousand waits as long as all before it take; a peer without
a limit takes a buffer for everyone, and one that ends connections in error leaves the
slowest out of the count."""),
    ("proxies/*/requests_per_second/*", """\
The peer has no limit of buffers, or fails some requests and serves the others: it
does less work. With a limit, the buffers there are bound how much is on its way."""),
]


def counts():
    """What the explanations count: totals of the golden table's rows."""
    total = {}
    for line in _GOLDEN.read_text().splitlines():
        if match := re.match(r"(\w.*?)\s{2,}(\d+)(?:\s+\d+)+$|"
                             r"(\w.* unchecked)\s+(\d+)(?:\s+\d+)+$", line):
            total[match[1] or match[3]] = int(match[2] or match[4])
    one = total["Acquire"] + total["Release"]
    many = total["AcquireMany(32)"] + total["ReleaseMany(32)"]
    one_unchecked = total["Acquire unchecked"] + total["Release unchecked"]
    many_unchecked = total["AcquireMany(32) unchecked"] + total["ReleaseMany(32) unchecked"]
    return {"one": one, "check_one": one - one_unchecked, "many": many,
            "one_unchecked": one_unchecked, "many_unchecked": many_unchecked, "check_many": many - many_unchecked,
            "pair_unchecked": total["AcquirePair unchecked"] +
                              total["ReleasePair unchecked"]}


def _row(key, what, peer, ours, theirs, unit, more_is_better):
    return {"key": key, "what": what, "peer": peer, "ours": ours, "theirs": theirs,
            "unit": unit, "ratio": ours / theirs if more_is_better or not ours else theirs / ours}


def cost(row):
    """Nanoseconds of an operation: of wall time where threads run each other dry."""
    return 1e9 / row["per_second"] if row["scenario"] == "exhaustion" else row["ns"]


def _throughput(part):
    tandem = {(row["scenario"], row["threads"]): row for row in part["rows"]
              if row["peer"] == "tandem"}
    for row in part["rows"]:
        ours = tandem.get((row["scenario"], row["threads"]))
        if ours is None or row["peer"] in VARIANTS:
            continue
        yield _row(f"throughput/{row['scenario']}/{row['threads']}/{row['peer']}",
                   f"{row['scenario']}, {row['threads']} threads", row["peer"],
                   cost(ours), cost(row), "ns", False)


def _loop(part):
    peers = {(row["bulk"], row["keep"], row["threads"]): row for row in part["rows"]
             if row["peer"] == "rte_mempool"}
    for row in part["rows"]:
        peer = peers.get((row["bulk"], row["keep"], row["threads"]))
        if peer is None or row["peer"] not in VARIANTS:
            continue
        yield _row(f"loop/{row['peer']}/{row['bulk']}/{row['keep']}/{row['threads']}",
                   f"{row['peer']}: bulk {row['bulk']}, keep {row['keep']}, "
                   f"{row['threads']} threads", "rte_mempool",
                   row["per_second"] / 1e6, peer["per_second"] / 1e6, "million/s", True)


def figure(cell):
    """A cell of a table as a number, or None."""
    try:
        return float(cell.replace(",", ""))
    except ValueError:
        return None


def _waiting(part):
    columns = part["columns"]
    ours = {row[1]: row for row in part["rows"] if row[0] == "Tandem"}
    for row in part["rows"]:
        if row[0] == "Tandem" or row[1] not in ours:
            continue
        for i, column in enumerate(columns):
            pair = figure(ours[row[1]][i]), figure(row[i])
            more = column == "grants/s"
            if None in pair or not all(pair) or not (more or re.match(r"p\d", column)):
                continue
            yield _row(f"waiting/{row[1]}/{column}/{row[0]}",
                       f"{column}, cancels: {row[1]}", row[0], *pair,
                       "" if more else "µs", more)


def _proxies(part):
    # Whom each of ours is compared with, under the same load and limit.
    peers = {"relay": {"haproxy", "nginx", "stock", "edited"}, "tandem": {"stock", "edited"}}
    figures = {"requests_per_second": ("requests/s", "", True),
               "p99_ms": ("p99", "ms", False),
               "processor_us": ("processor time of a request", "µs", False)}
    for ours in part["rows"]:
        for row in part["rows"]:
            same = all(ours[key] == row[key] for key in ("mode", "body", "buffers"))
            if not same or row["proxy"] not in peers.get(ours["proxy"], set()):
                continue
            if row["stopped"]:  # a few fast answers and then none are no lead
                continue
            told = figures if not ours["stopped"] else {
                "last_second": ("stops serving", "", True)}  # nothing explains that
            for name, (what, unit, more) in told.items():
                if row[name] <= 0:
                    continue
                yield _row(f"proxies/{ours['proxy']}/{row['mode']}/{row['buffers']}/"
                           f"{row['body']}/{name}/{row['proxy']}",
                           f"{ours['proxy']}: {what}, mode {row['mode']}, "
                           f"{row['buffers'] or 'no limit of'} buffers, "
                           f"{row['body']:,} bytes", row["proxy"],
                           ours[name], row[name], unit, more)


def _waits(report, threads):
    """How often the rounds of the waiting scenario had to wait, in words."""
    rows = report["parts"].get("throughput", {}).get("rows", [])
    return ", ".join(f"{row['peer']} {100 * row['waits']:.0f} %" for row in rows
                     if "waits" in row and row["threads"] == threads)


def _shared(report, scenario, threads):
    """Tandem's shared read-modify-writes of an operation, in words."""
    for row in report["parts"].get("throughput", {}).get("rmw", []):
        if (row["scenario"], row["peer"], row["threads"]) == (scenario, "tandem", threads):
            return f"{row['shared']:.2g}"
    return "uncounted"


def explain(key, report):
    """The number and the words of the explanation; None and empty if there is none."""
    for i, (pattern, words) in enumerate(WHY):
        if fnmatch.fnmatchcase(key, pattern):
            return i, " ".join(words.split()).format(
                threads=8, waits=_waits(report, 8), waiting_rmw=_shared(report, "waiting", 8),
                hand_off_rmw=_shared(report, "hand_off", 2), **counts())
    return None, ""


def rows(report):
    """The rows in which a peer is ahead, each with its explanation."""
    found = []
    for name, compare in {"throughput": _throughput, "loop": _loop, "waiting": _waiting,
                          "proxies": _proxies}.items():
        if name in report["parts"]:
            found += [row for row in compare(report["parts"][name])
                      if row["ratio"] * MARGIN < 1]
    for row in found:
        row["note"], row["why"] = explain(row["key"], report)
    return found
