"""A test that runs with biased thread caches, and once more without."""

load("@rules_cc//cc:defs.bzl", "cc_test")
load(":program_test.bzl", "program_test")

def both_modes_test(name, size, shared = True, own_rseq = False, tags = [], **kwargs):
    """A test program that runs once for each of up to three environments.

    NAME runs as the system lets it: biased, where there are restartable
    sequences. NAME_shared runs with TANDEM_BIAS=shared, so every pool is in
    shared mode. NAME_own_rseq runs where the C library registers no sequences,
    so the pool does.

    Args:
      name: name of the first target.
      size: of each.
      shared: whether there is NAME_shared. It repeats NAME where every test is a
        BothWaysTest (tests/pool/testing.h).
      own_rseq: whether there is NAME_own_rseq.
      tags: of all; all except NAME have `shared` as well, and are left out
        where NAME is shared too (under ThreadSanitizer).
      **kwargs: whatever else a cc_test takes, gtest_main among its deps.
    """
    cc_test(
        name = name,
        size = size,
        tags = tags,
        **kwargs
    )
    environments = {}
    if shared:
        environments["shared"] = {"TANDEM_BIAS": "shared"}
    if own_rseq:
        environments["own_rseq"] = {"GLIBC_TUNABLES": "glibc.pthread.rseq=0"}
    for suffix, env in environments.items():
        program_test(
            name = name + "_" + suffix,
            size = size,
            env = env,
            program = ":" + name,
            tags = tags + ["shared"],
        )
