#ifndef TANDEM_BENCH_TAKE_AND_RETURN_H_
#define TANDEM_BENCH_TAKE_AND_RETURN_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <thread>
#include <type_traits>

#include "benchmark/benchmark.h"
#include "tandem/bench/measurement.h"
#include "tandem/bench/names.h"
#include "tandem/bench/peers.h"
#include "tandem/bench/registration.h"
#include "tandem/bench/spsc_ring.h"
#include "tandem/pool/counting_atomic.h"
#include "tandem/pool/platform.h"

namespace tandem::bench {

// The scenarios that every peer can do, as templates over the peer's type, so
// that its operations are inlined as a user's calls would be.

inline constexpr size_t kBurstSize = 64;
inline constexpr int kMostThreads = 16;

// Adds the read-modify-writes that a thread made to its measurement. Does
// nothing in the build that does not count them.
class RmwCount {
 public:
  void Finish(benchmark::State& state, int64_t operations) const {
    if constexpr (!std::is_same_v<StdPlatform::Atomic<int>, std::atomic<int>>) {
      const auto set = [&](const char* name, uint64_t value) {
        state.counters[name] = static_cast<double>(value);
      };
      // Counters of threads are added up.
      set(kOperations, operations / state.threads());
      set(kSharedRmw, rmw_counts.shared - before_.shared);
      set(kOwnRmw, rmw_counts.own - before_.own);
      set(kSwaps, rmw_counts.swaps - before_.swaps);
      set(kFailedSwaps, rmw_counts.failed - before_.failed);
    }
  }

 private:
  const RmwCounts before_ = rmw_counts;
};

// Stops the program if not: failures must not be measured.
inline void CheckGot(bool got) {
  if (!got) [[unlikely]] {
    std::abort();
  }
}

// Brings code, caches, arenas and the memory of free lists into the state in
// which a server has them after its first seconds.
template <class Peer>
void WarmUp(Peer& peer) {
  std::array<std::byte*, kBurstSize> buffers;
  for (int round = 0; round < 100; ++round) {
    for (std::byte*& buffer : buffers) CheckGot(buffer = peer.Acquire());
    for (std::byte* const buffer : buffers) peer.Release(buffer);
    CheckGot(peer.AcquireMany(buffers));
    peer.ReleaseMany(buffers);
  }
}

// Runs `operation`, one operation of one thread, under the clock. Values that
// it captures can stay in registers.
template <class Operation>
void Repeat(benchmark::State& state, Operation operation) {
  const Measurement measurement(state);
  const RmwCount rmw;
  for (auto _ : state) {
    operation();
    // No value stays in a register from one operation to the next: a server
    // does something else in between.
    benchmark::ClobberMemory();
  }
  const int64_t operations = state.iterations() * state.threads();
  rmw.Finish(state, operations);
  measurement.Finish(operations);
}

// One buffer is taken and returned.
template <class Peer>
void OneBuffer(benchmark::State& state) {
  const OwnCore core(state);
  Peer peer(state.thread_index());
  WarmUp(peer);
  Repeat(state, [peer]() mutable {
    std::byte* buffer = peer.Acquire();
    CheckGot(buffer != nullptr);
    MakeOpaque(buffer);
    peer.Release(buffer);
  });
}

// Two buffers are taken together and returned together, in registers like the
// one buffer.
template <class Peer>
void Pair(benchmark::State& state) {
  const OwnCore core(state);
  Peer peer(state.thread_index());
  WarmUp(peer);
  Repeat(state, [peer]() mutable {
    std::array<std::byte*, 2> pair;
    if constexpr (requires { peer.AcquirePair(pair); }) {
      CheckGot(peer.AcquirePair(pair));
    } else {
      CheckGot(peer.AcquireMany(pair));
    }
    MakeOpaque(pair[0]);
    MakeOpaque(pair[1]);
    if constexpr (requires { peer.ReleasePair(pair); }) {
      peer.ReleasePair(pair);
    } else {
      peer.ReleaseMany(pair);
    }
  });
}

// kCount buffers are taken together and returned together.
template <class Peer, size_t kCount>
void Together(benchmark::State& state) {
  const OwnCore core(state);
  Peer peer(state.thread_index());
  WarmUp(peer);
  Repeat(state, [peer, buffers = std::array<std::byte*, kCount>()]() mutable {
    CheckGot(peer.AcquireMany(buffers));
    benchmark::DoNotOptimize(buffers);
    peer.ReleaseMany(buffers);
  });
}

// kCount buffers are taken one by one, then returned one by one.
template <class Peer, size_t kCount>
void Burst(benchmark::State& state) {
  const OwnCore core(state);
  Peer peer(state.thread_index());
  WarmUp(peer);
  Repeat(state, [peer, buffers = std::array<std::byte*, kCount>()]() mutable {
    for (std::byte*& buffer : buffers) CheckGot(buffer = peer.Acquire());
    benchmark::DoNotOptimize(buffers);
    for (std::byte* const buffer : buffers) peer.Release(buffer);
  });
}

// A session takes what it lacks of its two buffers and returns them, empty.
template <class Peer>
void SessionPair(benchmark::State& state) {
  const OwnCore core(state);
  Peer peer(state.thread_index());
  WarmUp(peer);
  PlainSession<Peer> session(peer);
  Repeat(state, [&] {
    CheckGot(session.AllocateBuffers());
    benchmark::ClobberMemory();
    session.ReleaseBuffers();
  });
}
// Tries until it succeeds. For some microseconds, in which a thread on another
// core can be expected to act, it does not give up its own core.
template <class Try>
void Persist(Try attempt) {
  for (int failures = 0; !attempt(); ++failures) {
    if (failures % 64 == 63) {
      std::this_thread::yield();
    } else {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#elif defined(__aarch64__)
      asm volatile("isb");
#endif
    }
  }
}

using Ring = SpscRing<std::byte, 128>;

template <class Peer>
void Send(Peer& peer, Ring& ring) {
  std::byte* buffer = peer.Acquire();
  CheckGot(buffer != nullptr);
  MakeOpaque(buffer);
  Persist([&] { return ring.TryPush(buffer); });
}

template <class Peer>
void Receive(Peer& peer, Ring& ring) {
  std::byte* buffer;
  Persist([&] { return (buffer = ring.TryPop()) != nullptr; });
  peer.Release(buffer);
}

// One thread takes a buffer, another returns it; an operation is both. Threads
// work in pairs; a single thread does both parts.
template <class Peer>
void HandOff(benchmark::State& state) {
  static std::array<Ring, kMostThreads / 2>& rings =
      *new std::array<Ring, kMostThreads / 2>;
  const OwnCore core(state);
  Peer peer(state.thread_index());
  WarmUp(peer);
  Ring& ring = rings[state.thread_index() / 2];
  const bool sends = state.thread_index() % 2 == 0;
  const bool alone = state.threads() == 1;
  const Measurement measurement(state);
  const RmwCount rmw;
  for (auto _ : state) {
    if (sends) Send(peer, ring);
    if (!sends || alone) Receive(peer, ring);
  }
  const int64_t operations =
      alone ? state.iterations() : state.iterations() * state.threads() / 2;
  rmw.Finish(state, operations);
  measurement.Finish(operations);
}

// One buffer, two, and many.
template <class Peer>
void RegisterTakeAndReturn(const char* peer, std::span<const int> threads) {
  Register(kOneBuffer, peer, OneBuffer<Peer>, threads);
  Register(kPair, peer, Pair<Peer>, threads);
  Register(kBatch, peer, Together<Peer, kBatchSize>, threads);
}

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_TAKE_AND_RETURN_H_
