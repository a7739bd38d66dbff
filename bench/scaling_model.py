#!/usr/bin/env python3
"""Coherence traffic of the pool at 2 to 256 cores: the tables of docs/scaling.md.

  bazel build -c opt //bench:throughput_counted
  bench/scaling_model.py

counts the shared read-modify-writes of this build, and computes from them what
the ledger's cache line carries.  What is assumed stands in MACHINES and below;
docs/scaling.md says where it is from.
"""

import argparse
import pathlib
import subprocess

# Cores, and nanoseconds in which a contended line moves from core to core.
MACHINES = [(2, 50), (16, 50), (64, 110), (256, 200)]
# Moves of the ledger's line for a batch: a reservation reads it and then swaps
# (2), a credit adds (1); half of the batches are either.
LEDGER_MOVES = 1.5
# The part of its time for which the line may be on its way: waiting for it then
# takes half as long again as moving it (M/D/1).
LOAD = 0.5
# Batches: those of caches up to 512, and what larger ones could move.
BATCHES = [16, 64, 128, 256, 512]
# Addresses on a line of a magazine.
SLOTS = 8
RATES = [0.1e6, 1e6, 10e6]  # buffers taken or returned, per second and core

# What the counted program calls it, with how many threads, and how many buffers
# an operation takes and returns.
SCENARIOS = [
    ("served by the cache", "one_buffer", 2, 1),
    ("keeping 1,024, 32 at a time", "loop_32_of_1024", 2, 1),
    ("keeping 2,048, 32 at a time", "loop_32_of_2048", 2, 1),
    ("hand-off to another thread", "hand_off", 2, 1),
    ("exhaustion, 2 threads", "exhaustion", 2, 128),
    ("exhaustion, 8 threads on 2 cores", "exhaustion", 8, 128),
]


def count(program):
    """Shared read-modify-writes for each buffer taken or returned."""
    names = "|".join(sorted({name for _, name, _, _ in SCENARIOS}))
    lines = subprocess.run(
        [program, f"--benchmark_filter=^({names})/tandem/"],
        check=True, capture_output=True, text=True).stdout.splitlines()
    counted = {}
    for line in lines:
        name, threads, shared, _ = line.split()
        counted[name.split("/")[0], int(threads)] = float(shared)
    return {what: counted[name, threads] / (2 * buffers)
            for what, name, threads, buffers in SCENARIOS}


def table(title, head, rows):
    print(f"\n{title}\n")
    for i, row in enumerate([head, *rows]):
        print("| " + " | ".join(str(cell) for cell in row) + " |")
        if i == 0:
            print("|---" * len(head) + "|")


def number(value):
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def apart(cores):
    """How probable it is that another core had the line last."""
    return 1 - 1 / cores


def moves(batch, cores):
    """Moves of lines for a buffer taken or returned, by scenario."""
    other = apart(cores)
    ledger = LEDGER_MOVES / batch * other
    # Its slots, and the line that says what is below.
    magazine = 1 / SLOTS + 1 / batch
    # In a hand-off the line's last user is always another core.  On the shared
    # stack a push and a pop read the head and then swap it.
    return [
        ("served by the cache", 0),
        ("burst: ledger", ledger),
        ("burst: magazine, at most", magazine * other),
        ("hand-off: ledger", ledger),
        ("hand-off: head of the stack", 2 / batch),
        ("hand-off: magazine", magazine),
        ("hand-off: misuse check", 1),
        # One by one, loose: ledger, head and link.
        ("exhaustion, at the first try", (LEDGER_MOVES + 2 + 1) * other),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--counted", help="the program that counts",
                        default=root / "bazel-bin/bench/throughput_counted")
    parser.add_argument("--batch", type=int, default=128,
                        help="buffers that move at once: a magazine")
    options = parser.parse_args()
    batch = options.batch

    table("Counted: shared read-modify-writes for a buffer taken or returned.",
          ["", "for a buffer", f"for a batch of {batch}"],
          [(what, number(shared), number(shared * batch))
           for what, shared in count(options.counted).items()])

    table("Lines that move between cores for a buffer taken or returned, "
          f"batch of {batch}.",
          ["cores", *(cores for cores, _ in MACHINES)],
          [(row[0][0], *(number(lines) for _, lines in row))
           for row in zip(*(moves(batch, cores) for cores, _ in MACHINES))])

    def load(cores, nanos, rate, size):
        return cores * rate * LEDGER_MOVES * apart(cores) * nanos * 1e-9 / size

    table(f"Load of the ledger's line, batch of {batch}, if no operation is "
          "served by a cache (more than 1: saturated).",
          ["cores", "ns a move",
           *(f"{rate / 1e6:g} M/s a core" for rate in RATES)],
          [(cores, nanos, *(number(load(cores, nanos, rate, batch))
                            for rate in RATES))
           for cores, nanos in MACHINES])

    table(f"Million operations a second and core at a load of {LOAD}.",
          ["cores", *(f"batch of {size}" for size in BATCHES)],
          [(cores, *(number(LOAD / load(cores, nanos, 1e6, size))
                     for size in BATCHES))
           for cores, nanos in MACHINES])

    rows = []
    for cores, nanos in MACHINES:
        for rate in RATES[1:]:
            needed = max(1, round(load(cores, nanos, rate, LOAD)))
            cached = 2 * needed * cores
            rows.append((cores, f"{rate / 1e6:g} M/s", f"{needed:,}",
                         f"{cached:,}", number(cached * 16 / 1024) + " MiB"))
    table(f"Batch that a load of {LOAD} takes, and what caches of twice that "
          "hold.",
          ["cores", "a core", "batch", "buffers in caches", "of 16 KiB"], rows)


if __name__ == "__main__":
    main()
