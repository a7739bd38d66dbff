"""A test that explores interleavings with Relacy."""

load("@rules_cc//cc:defs.bzl", "cc_test")

def relacy_test(name, deps = [], **kwargs):
    """A GoogleTest program that may include relacy/relacy.hpp.

    It is skipped where Relacy is not installed.

    Args:
      name: name of the target.
      deps: what it needs besides GoogleTest and Relacy.
      **kwargs: whatever else a cc_test takes.
    """
    cc_test(
        name = name,
        size = "medium",
        copts = [
            # Slow without.
            "-O2",
            # Relacy's macros and templates give warnings where they are used.
            "-w",
            # It replaces operator new and the plain operator delete only.
            "-fno-sized-deallocation",
            # It leaves fibres by longjmp, which the checked one takes for a fault.
            "-U_FORTIFY_SOURCE",
            # It casts a fibre's memory before the object in it is made.
            "-fno-sanitize=vptr",
        ],
        # Its threads are simulated: sanitizers can leave it out.
        tags = ["schedule"],
        # Other programs' objects, GoogleTest's among them, do use the sized
        # operator delete; and what Relacy still holds at exit is no leak.
        env = {"ASAN_OPTIONS": "alloc_dealloc_mismatch=0:detect_leaks=0"},
        deps = deps + [
            "@com_google_googletest//:gtest_main",
            "@relacy",
        ],
        **kwargs
    )
