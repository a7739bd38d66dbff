#ifndef TANDEM_BENCH_NAMES_H_
#define TANDEM_BENCH_NAMES_H_

#include <array>

namespace tandem::bench {

// What a benchmark is called: "<scenario>/<peer>". Scenarios in the order in
// which people look at them.
inline constexpr char kOneBuffer[] = "one_buffer";
inline constexpr char kPair[] = "pair";
inline constexpr char kSessionPair[] = "session_pair";
inline constexpr char kBatch[] = "batch_of_32";
inline constexpr char kBurst[] = "burst_of_64";
inline constexpr char kHandOff[] = "hand_off";
inline constexpr char kWaiting[] = "waiting";
inline constexpr std::array kScenarios = std::to_array<const char*>(
    {kOneBuffer, kPair, kSessionPair, kBatch, kBurst, kHandOff, kWaiting});

inline constexpr char kTandem[] = "tandem";
// One thing changed each: PoolOptions::detect_misuse off, and ::bias kShared.
inline constexpr char kTandemUnchecked[] = "tandem_unchecked";
inline constexpr char kTandemShared[] = "tandem_shared";
inline constexpr char kThreadArray[] = "thread_array";
inline constexpr char kMalloc[] = "malloc";
inline constexpr char kMutexList[] = "mutex_list";

// The counters of Tandem's runs in the build that counts: read-modify-writes
// during the run, all threads together, and the operations they were made for.
inline constexpr char kOperations[] = "operations";
inline constexpr char kSharedRmw[] = "shared_rmw";
inline constexpr char kOwnRmw[] = "own_rmw";
// Of the waiting scenario: the share of operations that had to wait.
inline constexpr char kWaits[] = "waits";

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_NAMES_H_
