#ifndef TANDEM_BENCH_LOOP_NAMES_H_
#define TANDEM_BENCH_LOOP_NAMES_H_

#include <array>
#include <cstddef>
#include <string>

namespace tandem::bench {

// The loop of DPDK's own mempool_perf_autotest (app/test/test_mempool_perf.c):
// each thread takes `keep` buffers in bulks of `bulk`, then returns them in
// bulks. An operation takes and returns one buffer.
inline constexpr std::array<size_t, 7> kLoopBulks = {1, 4, 8, 32, 64, 128, 256};
inline constexpr std::array<size_t, 5> kLoopKeeps = {32, 128, 512, 1024, 2048};
inline constexpr std::array kLoopThreads = {1, 2};

// The pools of the loop, for every peer, as in DPDK's test: objects, their
// size, and how many a thread caches.
inline constexpr size_t kLoopCapacity = 8191;
inline constexpr size_t kLoopBufferSize = 2048;
inline constexpr size_t kLoopCacheSize = 512;

// The scenario's name: "loop_32_of_512" takes bulks of 32 until it has 512.
inline std::string LoopName(size_t bulk, size_t keep) {
  return "loop_" + std::to_string(bulk) + "_of_" + std::to_string(keep);
}

// `keep` is a multiple of `bulk`.
constexpr bool IsLoop(size_t bulk, size_t keep) { return keep % bulk == 0; }

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_LOOP_NAMES_H_
