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
  kTransparent,  // madvise(MADV_HUGEPAGE): as many as the system has
  kExplicit,     // MAP_HUGETLB, 2 MiB: creation fails if too few are free
};

enum class NumaPolicy {
  kLocal,       // on the node of the thread that first uses a buffer
  kInterleave,  // page by page across all nodes
  kBind,        // only on node `numa_node`
};

// Whether thread caches are biased to their owners: then an owner takes and
// returns buffers without an atomic read-modify-write. If the environment
// variable TANDEM_BIAS is "shared" when a pool is created, the pool behaves as
// on a system without restartable sequences: for debuggers, which would step
// through a sequence forever.
enum class Bias {
  kAuto,    // if the system has restartable sequences (rseq) and membarrier
  kBiased,  // creation fails if it has not
  kShared,  // never: one uncontended compare-and-swap instead
};

// Aids to find faults in the program that uses the pool. Each costs nothing
// while it is off. fail_one_in and cold_first keep thread caches shared.
struct DebugOptions {
  // On average, one of this many allocations fails for no reason; 0: none.
  uint32_t fail_one_in = 0;
  // Every operation bypasses the thread caches.
  bool no_cache = false;
  // A thread takes the oldest buffer in its cache. So if a buffer is used after
  // its release, its next owner notices, instead of the last owner overwriting
  // it at once. Caches of such a pool hold at most 128 buffers.
  bool cold_first = false;
  // Idle buffers are filled with a pattern, which is checked when they are
  // taken: this finds a write after release.
  bool integrity = false;
  // A few bytes behind each buffer are checked when it is released.
  bool canaries = false;
  // Each buffer lies between two pages that must not be accessed.
  bool guard_pages = false;
  // The code that last took or released a buffer is recorded, and named in
  // messages.
  bool record_caller = false;
  // Misuse is detected by read-modify-writes, so that even two releases that
  // race each other are reported.
  bool strict_misuse = false;
};

// All options, with their meanings and allowed values.
struct PoolOptions {
  // The name in messages.
  std::string name = "buffers";
  // Bytes in a buffer: 64 to 1 GiB, a multiple of 64.
  size_t buffer_size = 16 * 1024;
  // Buffers in the pool: 1 to kMaxCapacity (2^24 - 1).
  uint32_t capacity = 1024;
  // This many last buffers are kept for pairs: a session's receive leaves them;
  // AllocateBuffers, Acquire and AcquireMany may take them. 0 to capacity.
  // Unset: 2, or one less than the capacity in a pool of one or two buffers.
  std::optional<uint32_t> reserve = std::nullopt;
  // Buffers that one thread may cache: 0 to 512. Unset: adaptive, up to 512,
  // and for all threads together at most half of what is not reserve
  // (CacheBudget).
  std::optional<uint32_t> cache_size = std::nullopt;
  // Threads that can have a cache at once: 0 to 65,536. A thread that finds
  // none free works without a cache, slower, for its whole life.
  uint32_t max_threads = 1024;
  Bias bias = Bias::kAuto;
  // Shards of the depot, the shared store: 1 to 4,096. Unset: one for each
  // core.
  std::optional<uint32_t> core_pools = std::nullopt;

  HugePages huge_pages = HugePages::kNone;
  // Commit all memory at creation, not on first use.
  bool prefault = false;
  NumaPolicy numa_policy = NumaPolicy::kLocal;
  // For NumaPolicy::kBind: 0 to 1,023, and present.
  int numa_node = 0;
  // Something outside the pool relies on the pages staying in place (io_uring's
  // fixed buffers, RDMA): Trim is refused.
  bool pinned = false;
  // No buffer's memory is ever swapped out (mlock(2)): all of it is committed
  // at creation, which fails if RLIMIT_MEMLOCK allows less. The memory stays:
  // Trim is refused. Not with debug.guard_pages.
  bool lock_memory = false;
  // The buffers (that is, what users have sent to each other) are left out of
  // core dumps (MADV_DONTDUMP).
  bool exclude_from_core_dumps = false;

  // A foreign or misaligned pointer, or one released twice, is detected at
  // once. Costs 64 to 128 bytes of memory for each buffer. Without it, a
  // foreign or misaligned pointer is reported only when it leaves the thread's
  // cache.
  bool detect_misuse = true;
  // Released buffers are overwritten with zeros, or with the pattern of
  // debug.integrity.
  bool zero_on_release = false;

  DebugOptions debug = {};
};

// The reserve that is set; if unset, the default for this capacity.
uint32_t ReserveOf(const PoolOptions& options);

// OK, or InvalidArgument that names the option, its value and what is allowed.
absl::Status Validate(const PoolOptions& options);

}  // namespace tandem

#endif  // TANDEM_POOL_OPTIONS_H_
