#ifndef TANDEM_BENCH_MEMPOOL_LOOP_H_
#define TANDEM_BENCH_MEMPOOL_LOOP_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "benchmark/benchmark.h"
#include "tandem/bench/loop_names.h"
#include "tandem/bench/measurement.h"
#include "tandem/bench/registration.h"
#include "tandem/bench/take_and_return.h"

namespace tandem::bench {

template <class Peer, size_t kBulk, size_t kKeep>
void MempoolLoop(benchmark::State& state) {
  const OwnCore core(state);
  Peer peer(state.thread_index());
  std::array<std::byte*, kKeep> buffers;
  const auto round = [&] {
    for (size_t i = 0; i < kKeep; i += kBulk) {
      if constexpr (kBulk == 1) {
        CheckGot((buffers[i] = peer.Acquire()) != nullptr);
      } else {
        CheckGot(peer.AcquireMany(std::span(buffers).subspan(i, kBulk)));
      }
    }
    benchmark::DoNotOptimize(buffers);
    for (size_t i = 0; i < kKeep; i += kBulk) {
      if constexpr (kBulk == 1) {
        peer.Release(buffers[i]);
      } else {
        peer.ReleaseMany(std::span(buffers).subspan(i, kBulk));
      }
    }
  };
  for (int i = 0; i < 100; ++i) round();
  const Measurement measurement(state);
  const RmwCount rmw;
  for (auto _ : state) {
    round();
    benchmark::ClobberMemory();
  }
  const int64_t operations = state.iterations() * state.threads() * kKeep;
  rmw.Finish(state, operations);
  measurement.Finish(operations);
}

// Registers the loop for each bulk and keep.
template <class Peer>
void RegisterMempoolLoop(const char* peer) {
  // Shorter than the other scenarios, because there are many.
  constexpr double kSeconds = 0.02;
  const auto add = [&]<size_t kBulk, size_t kKeep>() {
    if constexpr (IsLoop(kBulk, kKeep)) {
      Register(LoopName(kBulk, kKeep).c_str(), peer,
               MempoolLoop<Peer, kBulk, kKeep>, kLoopThreads, kSeconds);
    }
  };
  [&]<size_t... kCells>(std::index_sequence<kCells...>) {
    (add.template operator()<kLoopBulks[kCells % kLoopBulks.size()],
                             kLoopKeeps[kCells / kLoopBulks.size()]>(),
     ...);
  }
  (std::make_index_sequence<kLoopBulks.size() * kLoopKeeps.size()>());
}

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_MEMPOOL_LOOP_H_
