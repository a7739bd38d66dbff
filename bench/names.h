#ifndef TANDEM_BENCH_NAMES_H_
#define TANDEM_BENCH_NAMES_H_

#include <array>
#include <cstddef>

namespace tandem::bench {

// A benchmark's name is "<scenario>/<peer>". Scenarios, most important first.
inline constexpr char kOneBuffer[] = "one_buffer";
inline constexpr char kPair[] = "pair";
inline constexpr char kSessionPair[] = "session_pair";
inline constexpr char kSessionReceive[] = "session_receive";
inline constexpr char kBatch[] = "batch_of_32";
inline constexpr char kBurst[] = "burst_of_64";
inline constexpr char kBigBurst[] = "burst_of_512";
inline constexpr char kHandOff[] = "hand_off";
inline constexpr char kExhaustion[] = "exhaustion";
inline constexpr char kWaiting[] = "waiting";
inline constexpr std::array kScenarios = std::to_array<const char*>(
    {kOneBuffer, kPair, kSessionPair, kSessionReceive, kBatch, kBurst,
     kBigBurst, kHandOff, kExhaustion, kWaiting});

// A count, not a time: of all buffers, those that one thread gets while the
// others sleep with full caches.
inline constexpr char kStranding[] = "stranding";
inline constexpr char kReached[] = "reached";
inline constexpr char kBuffersInAll[] = "buffers_in_all";

// Not a scenario of a pool: two threads change one word by turns. This shows
// the cost of a cache line that moves from core to core.
inline constexpr char kContendedLine[] = "contended_line";
inline constexpr char kWord[] = "word";

// The buffers of kBatch and kBigBurst, and those that each thread wants
// in kExhaustion.
inline constexpr size_t kBatchSize = 32;
inline constexpr size_t kBigBurstSize = 512;
inline constexpr int kWanted = 128;

inline constexpr char kTandem[] = "tandem";
// Each changes one option: PoolOptions::detect_misuse off, ::bias kShared, and
// ::cache_size 0.
inline constexpr char kTandemUnchecked[] = "tandem_unchecked";
inline constexpr char kTandemShared[] = "tandem_shared";
inline constexpr char kTandemUncached[] = "tandem_uncached";
inline constexpr char kThreadArray[] = "thread_array";
inline constexpr char kMalloc[] = "malloc";
inline constexpr char kTcmalloc[] = "tcmalloc";
inline constexpr char kJemalloc[] = "jemalloc";
inline constexpr char kMimalloc[] = "mimalloc";
inline constexpr char kTbbmalloc[] = "tbbmalloc";
inline constexpr char kMempool[] = "rte_mempool";
inline constexpr char kBoostStack[] = "boost_stack";
inline constexpr char kMoodycamel[] = "moodycamel";
inline constexpr char kMutexList[] = "mutex_list";
inline constexpr char kFairList[] = "fair_list";

// Counters of Tandem's runs in the build that counts: read-modify-writes during
// the run, for all threads together, and the operations that needed them.
inline constexpr char kOperations[] = "operations";
inline constexpr char kSharedRmw[] = "shared_rmw";
inline constexpr char kOwnRmw[] = "own_rmw";
inline constexpr char kSwaps[] = "swaps";
inline constexpr char kFailedSwaps[] = "failed_swaps";
// Of the waiting scenario: the share of operations that had to wait.
inline constexpr char kWaits[] = "waits";
// Of the exhaustion scenario: allocations that failed, and system calls made to
// take bias away; each for an operation.
inline constexpr char kFailures[] = "failures";
inline constexpr char kBarriers[] = "barriers";

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_NAMES_H_
