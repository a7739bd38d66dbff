"""A test that runs with biased thread caches, and once more without."""

load("@rules_cc//cc:defs.bzl", "cc_library", "cc_test")

def both_modes_test(name, srcs, deps, copts = [], tags = [], own_rseq = False, **kwargs):
    """A GoogleTest program that runs as two tests, or three.

    NAME runs as the system lets it: biased, where there are restartable
    sequences. NAME_shared runs with TANDEM_BIAS=shared, so every pool is in
    shared mode. NAME_own_rseq runs where the C library registers no sequences,
    so the pool does.

    Args:
      name: name of the first target.
      srcs: its sources, compiled once.
      deps: what it needs, gtest_main included.
      copts: flags to compile them with.
      tags: of all; the second has `shared` as well, and is left out where the
        first is shared too (under ThreadSanitizer).
      own_rseq: whether there is a third.
      **kwargs: whatever else all cc_tests take.
    """
    cc_library(
        name = name + "_program",
        testonly = True,
        srcs = srcs,
        copts = copts,
        visibility = ["//visibility:private"],
        deps = deps,
        alwayslink = True,
    )
    cc_test(
        name = name,
        tags = tags,
        deps = [":" + name + "_program"],
        **kwargs
    )
    cc_test(
        name = name + "_shared",
        env = {"TANDEM_BIAS": "shared"},
        tags = tags + ["shared"],
        deps = [":" + name + "_program"],
        **kwargs
    )
    if own_rseq:
        cc_test(
            name = name + "_own_rseq",
            env = {"GLIBC_TUNABLES": "glibc.pthread.rseq=0"},
            tags = tags + ["shared"],
            deps = [":" + name + "_program"],
            **kwargs
        )
