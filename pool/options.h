#ifndef TANDEM_POOL_OPTIONS_H_
#define TANDEM_POOL_OPTIONS_H_

#if __cplusplus < 202002L
#error "Tandem needs C++20: compile with -std=c++20"
#endif

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"

namespace tandem {

enum class HugePages {
  kNone,
  kTransparent,  // madvise(MADV_HUGEPAGE): as many as the system finds
  kExplicit,     // MAP_HUGETLB, 2 MiB: creation fails if they are not there
};

enum class NumaPolicy {
  kLocal,       // where the thread that first uses a buffer runs
  kInterleave,  // page by page over all nodes
  kBind,        // on node `numa_node` alone
};

// Whether thread caches are biased to their owners: then taking and returning
// needs no atomic read-modify-write. The environment variable TANDEM_BIAS, if
// it is "shared" when a pool is created, makes any pool one of a system that
// has no restartable sequences: for debuggers that step through them for ever.
enum class Bias {
  kAuto,    // where the system has restartable sequences (rseq) and membarrier
  kBiased,  // creation fails where it has not
  kShared,  // never: one uncontended compare-and-swap instead
};

// Aids to find faults in the program that uses the pool. Each costs nothing
// while it is off. fail_one_in and cold_first keep thread caches shared.
struct DebugOptions {
  // Every so many allocations, on average, fails for no reason; 0 for never.
  uint32_t fail_one_in = 0;
  // Every operation goes past the thread caches.
  bool no_cache = false;
  // A thread takes the buffer that has lain longest in its cache, so that one
  // that is used after its release is noticed by its next owner, not at once
  // overwritten by the last. Such a pool's caches hold 128 at most.
  bool cold_first = false;
  // Idle buffers are filled with a pattern, which is checked when they are
  // taken: a write after release is found.
  bool integrity = false;
  // A few bytes behind each buffer are checked when it is released.
  bool canaries = false;
  // Each buffer lies between pages that may not be touched.
  bool guard_pages = false;
  // Who last took or released a buffer is kept, and named in messages.
  bool record_caller = false;
  // Misuse is detected by read-modify-writes, so that even two releases that
  // race each other are told.
  bool strict_misuse = false;
};

// Everything that can be set, with what it means and what is allowed.
struct PoolOptions {
  // Named in messages.
  std::string name = "buffers";
  // Bytes in a buffer: 64 to 1 GiB, a multiple of 64.
  size_t buffer_size = 16 * 1024;
  // Buffers in the pool: 1 to kMaxCapacity (2^24 - 1).
  uint32_t capacity = 1024;
  // The last so many buffers are for pairs: a session's receive leaves them,
  // AllocateBuffers, Acquire and AcquireMany may take them. 0 to capacity.
  // Unset: 2, or in a pool of one or two buffers one fewer than there are.
  std::optional<uint32_t> reserve = std::nullopt;
  // Buffers that one thread may cache: 0 to 512. Unset: as many as the thread
  // has use for, up to 512, and all threads together no more than half of what
  // is not reserve (CacheBudget).
  std::optional<uint32_t> cache_size = std::nullopt;
  // Threads that can have a cache at once: 0 to 65,536. A thread that finds
  // none left works without, slower, for as long as it lives.
  uint32_t max_threads = 1024;
  Bias bias = Bias::kAuto;
  // Shards of the shared free list: 1 to 4,096. Unset: one for each core.
  std::optional<uint32_t> core_pools = std::nullopt;

  HugePages huge_pages = HugePages::kNone;
  // Commit all memory at creation, not as it is first used.
  bool prefault = false;
  NumaPolicy numa_policy = NumaPolicy::kLocal;
  // For NumaPolicy::kBind: 0 to 1,023, and present.
  int numa_node = 0;
  // Somebody outside relies on the pages staying where they are (io_uring's
  // fixed buffers, RDMA): Trim is refused.
  bool pinned = false;
  // No buffer's memory is ever swapped out (mlock(2)): all of it is committed
  // at creation, which fails where RLIMIT_MEMLOCK allows less, and stays: Trim
  // is refused. Not with debug.guard_pages.
  bool lock_memory = false;
  // The buffers, what users have sent to each other that is, are left out of
  // core dumps (MADV_DONTDUMP).
  bool exclude_from_core_dumps = false;

  // A foreign, misaligned or twice released pointer is detected at once. Costs
  // 64 to 128 bytes of memory for each buffer. Without it, a foreign or
  // misaligned pointer is told only when it leaves the thread's cache.
  bool detect_misuse = true;
  // Released buffers are overwritten with zeros, or with the pattern of
  // debug.integrity.
  bool zero_on_release = false;

  DebugOptions debug = {};
};

// The reserve that is set, or the one that fits where it is not.
uint32_t ReserveOf(const PoolOptions& options);

// OK, or InvalidArgument that names the option, its value and what is allowed.
absl::Status Validate(const PoolOptions& options);

}  // namespace tandem

#endif  // TANDEM_POOL_OPTIONS_H_
