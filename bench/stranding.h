#ifndef TANDEM_BENCH_STRANDING_H_
#define TANDEM_BENCH_STRANDING_H_

#include <array>
#include <cstddef>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "tandem/bench/names.h"
#include "tandem/bench/peers.h"

namespace tandem::bench {

// How many buffers does one thread get after all others went idle? A count,
// not a time. Each of the other threads takes as many buffers as a cache holds,
// one by one, returns them, and sleeps until the end, as a server's threads do
// at night. They do so one after another, so that there are enough for each.
inline constexpr int kIdleThreads = 15;

template <class Peer>
size_t Reach() {
  std::latch end(1);
  std::vector<std::thread> idle;
  for (int thread = 1; thread <= kIdleThreads; ++thread) {
    std::latch done(1);
    idle.emplace_back([&, thread] {
      Peer peer(thread);
      std::array<std::byte*, kCachedBuffers> buffers;
      size_t taken = 0;
      // What others keep may leave too few.
      while (taken < buffers.size() &&
             (buffers[taken] = peer.Acquire()) != nullptr) {
        ++taken;
      }
      while (taken > 0) peer.Release(buffers[--taken]);
      done.count_down();
      end.wait();
    });
    done.wait();
  }
  Peer peer(0);
  std::vector<std::byte*> reached;
  while (std::byte* const buffer = peer.Acquire()) reached.push_back(buffer);
  for (std::byte* const buffer : reached) peer.Release(buffer);
  end.count_down();
  for (std::thread& thread : idle) thread.join();
  return reached.size();
}

template <class Peer, size_t kBuffers>
void Stranding(benchmark::State& state) {
  size_t reached = 0;
  for (auto _ : state) reached = Reach<Peer>();
  state.counters[kReached] = static_cast<double>(reached);
  state.counters[kBuffersInAll] = static_cast<double>(kBuffers);
}

// `Peer` hands out `kBuffers` buffers in all.
template <class Peer, size_t kBuffers = kCapacity>
void RegisterStranding(const char* peer) {
  benchmark::RegisterBenchmark(absl::StrCat(kStranding, "/", peer).c_str(),
                               Stranding<Peer, kBuffers>)
      ->Iterations(1);
}

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_STRANDING_H_
