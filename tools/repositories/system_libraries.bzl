"""The system libraries that tests and benchmarks use if they are installed."""

load(":system_library.bzl", "system_library")

# A library added here is to be named in MODULE.bazel's use_repo() as well.
def system_libraries():
    """Declares a repository for each."""

    # Runs lock-free code under every interleaving and with stale loads.
    system_library(
        name = "relacy",
        header = "/usr/include/relacy/relacy.hpp",
    )
