"""The libraries that are used as installed, if they are installed."""

load(":system_library.bzl", "system_library")

def asio_library(name = "asio"):
    """Declares Asio, an event loop: waits in it (//session:asio) and the relay.

    Args:
      name: what to call the repository; its target is `:asio`.
    """
    system_library(
        name = name,
        library = "asio",
        header = "/usr/include/asio.hpp",
        package = "libasio-dev",
        # CMakeLists.txt has these as well.
        defines = [
            # Turns off Asio's fences between handlers, which it has beside its
            # locks: ThreadSanitizer does not know them, and one thread runs each
            # context of ours.
            "ASIO_DISABLE_FENCED_BLOCK",
            # Asio 1.22 decides this by the headers included before it: one file
            # would free() what another file has allocated by operator new.
            "ASIO_DISABLE_STD_ALIGNED_ALLOC",
            # Asio 1.22 does not know that clang also has them with GNU's library.
            "ASIO_HAS_CO_AWAIT",
        ],
    )

def liburing_library(name = "liburing"):
    """Declares liburing, for waits in a server's io_uring (//session:uring).

    Args:
      name: what to call the repository; its target is `:liburing`.
    """
    system_library(
        name = name,
        library = "liburing",
        header = "/usr/include/liburing.h",
        package = "liburing-dev",
        linkopts = ["-luring"],
    )

# A library added here must also be named in MODULE.bazel's use_repo().
def development_libraries():
    """Declares what only our own tests, benchmarks and tools use."""

    # Runs lock-free code under every interleaving and with stale loads.
    system_library(
        name = "relacy",
        header = "/usr/include/relacy/relacy.hpp",
        package = "relacy-dev",
    )

    # The pool of the benchmarks' closest peer. Linked as archives: the shared
    # library would load every driver at the start.
    system_library(
        name = "dpdk",
        header = "/usr/include/dpdk/rte_mempool.h",
        package = "libdpdk-dev",
        include_directories = [
            "/usr/include/dpdk",
            "/usr/include/x86_64-linux-gnu/dpdk",
            "/usr/include/aarch64-linux-gnu/dpdk",
        ],
        linkopts = [
            # It registers itself; no code names it.
            "-Wl,--whole-archive",
            "-l:librte_mempool_ring.a",
            "-Wl,--no-whole-archive",
            "-l:librte_mempool.a",
            "-l:librte_ring.a",
            "-l:librte_eal.a",
            "-l:librte_telemetry.a",
            "-l:librte_kvargs.a",
            "-lnuma",
            "-lbsd",
        ],
        optional = True,
    )

    # Two containers that serve as the benchmarks' lock-free free lists.
    system_library(
        name = "boost",
        header = "/usr/include/boost/lockfree/stack.hpp",
        package = "libboost-dev",
        optional = True,
    )
    system_library(
        name = "concurrentqueue",
        header = "/usr/include/concurrentqueue/concurrentqueue.h",
        package = "libconcurrentqueue-dev",
        optional = True,
    )

    # HTTP and JSON for //tools:relay --stats.
    system_library(
        name = "microhttpd",
        header = "/usr/include/microhttpd.h",
        package = "libmicrohttpd-dev",
        linkopts = ["-lmicrohttpd"],
    )
    system_library(
        name = "nlohmann_json",
        header = "/usr/include/nlohmann/json.hpp",
        package = "nlohmann-json3-dev",
    )
