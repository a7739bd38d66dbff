#include "tandem/bench/scenarios.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <thread>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "tandem/bench/measurement.h"
#include "tandem/bench/names.h"
#include "tandem/bench/peers.h"
#include "tandem/bench/spsc_ring.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/pool/counting_atomic.h"
#include "tandem/pool/options.h"
#include "tandem/pool/platform.h"
#include "tandem/session/blocking_wait.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"

namespace tandem::bench {
namespace {

constexpr size_t kBatchSize = 32;
constexpr size_t kBurstSize = 64;
constexpr int kMostThreads = 16;
// Buffers of the waiting scenario: for four sessions, of eight or more.
constexpr uint32_t kFewBuffers = 8;

// A pool and its session layer. Made once, never destroyed.
struct Service {
  explicit Service(const PoolOptions& options)
      : pool(*BufferPool::Create(options)),
        sessions(*SessionAllocator::Create(pool.get())) {}

  std::unique_ptr<BufferPool> pool;
  std::unique_ptr<SessionAllocator> sessions;
};

// Which of Tandem's options are not the default.
enum class Variant { kDefault, kUnchecked, kShared };

template <Variant kVariant>
Service& SharedService() {
  static Service& service = *new Service(
      {.buffer_size = kBufferSize,
       .capacity = kCapacity,
       .bias = kVariant == Variant::kShared ? Bias::kShared : Bias::kAuto,
       .detect_misuse = kVariant != Variant::kUnchecked});
  return service;
}

template <Variant kVariant>
class TandemPeer {
 public:
  explicit TandemPeer(int /*thread*/)
      : service_(SharedService<kVariant>()), pool_(*service_.pool) {}

  // Inlined, as a user's calls of the pool are.
  [[gnu::always_inline]] std::byte* Acquire() { return pool_.Acquire(); }
  [[gnu::always_inline]] void Release(std::byte* buffer) {
    pool_.Release(buffer);
  }
  [[gnu::always_inline]] bool AcquireMany(std::span<std::byte*> out) {
    return pool_.AcquireMany(out);
  }
  [[gnu::always_inline]] void ReleaseMany(std::span<std::byte* const> buffers) {
    pool_.ReleaseMany(buffers);
  }
  [[gnu::always_inline]] bool AcquirePair(std::span<std::byte*, 2> out) {
    return pool_.AcquirePair(out);
  }
  [[gnu::always_inline]] void ReleasePair(
      std::span<std::byte* const, 2> buffers) {
    pool_.ReleasePair(buffers);
  }
  SessionAllocator& sessions() { return *service_.sessions; }

 private:
  Service& service_;
  BufferPool& pool_;
};
using Tandem = TandemPeer<Variant::kDefault>;
using TandemUnchecked = TandemPeer<Variant::kUnchecked>;
using TandemShared = TandemPeer<Variant::kShared>;

// Adds to a thread's measurement what read-modify-writes it took; nothing in
// the build that does not count them.
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
    }
  }

 private:
  const RmwCounts before_ = rmw_counts;
};

// Stops at once: a measurement of failures is none.
void CheckGot(bool got) {
  if (!got) [[unlikely]] {
    std::abort();
  }
}

// Brings code, caches, arenas and the memory of free lists to where a server
// has them after its first seconds.
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

// Runs `operation`, which is one operation of one thread, under the clock. What
// it captures by value can stay in registers.
template <class Operation>
void Repeat(benchmark::State& state, Operation operation) {
  const Measurement measurement(state);
  const RmwCount rmw;
  for (auto _ : state) {
    operation();
    // Nothing goes on from one operation to the next in registers: a server
    // has done something else meanwhile.
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

// Many buffers are taken one by one, then returned one by one.
template <class Peer>
void Burst(benchmark::State& state) {
  const OwnCore core(state);
  Peer peer(state.thread_index());
  WarmUp(peer);
  Repeat(state,
         [peer, buffers = std::array<std::byte*, kBurstSize>()]() mutable {
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
template <>
void SessionPair<Tandem>(benchmark::State& state) {
  const OwnCore core(state);
  Tandem peer(state.thread_index());
  WarmUp(peer);
  SessionBuffers session(peer.sessions());
  Repeat(state, [&] {
    CheckGot(session.AllocateBuffers() == Allocation::kGranted);
    benchmark::ClobberMemory();
    session.ReleaseBuffers();
  });
}

// Tries until it succeeds: for some microseconds, in which a thread on another
// core can be expected to act, without giving up its own core.
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

// One thread takes a buffer, another returns it: an operation is both. Threads
// work in pairs; a single one does both parts.
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

// More sessions than the pool has buffers for: each takes its two, waiting by
// blocking its thread; lets others run, as a session that processes would; and
// returns them. `operation` says whether it had to wait.
template <class Operation>
void RepeatWaiting(benchmark::State& state, Operation operation) {
  int64_t waits = 0;
  Repeat(state, [&] { waits += operation() ? 1 : 0; });
  state.counters[kWaits] =
      static_cast<double>(waits) /
      (static_cast<double>(state.iterations()) * state.threads());
}

void TandemWaiting(benchmark::State& state) {
  const OwnCore core(state);
  static Service& service =
      *new Service({.buffer_size = kBufferSize, .capacity = kFewBuffers});
  SessionBuffers session(*service.sessions);
  RepeatWaiting(state, [&] {
    const Allocation allocation = session.AllocateBuffers(BlockingWaker());
    const bool waits = allocation == Allocation::kWaiting;
    if (waits) {
      CheckGot(BlockUntilServed(session) == WaitStatus::kGranted);
    } else {
      CheckGot(allocation == Allocation::kGranted);
    }
    std::this_thread::yield();
    session.ReleaseBuffers();
    return waits;
  });
}

void MutexListWaiting(benchmark::State& state) {
  const OwnCore core(state);
  WaitingMutexList list(kFewBuffers);
  std::array<std::byte*, 2> buffers;
  RepeatWaiting(state, [&] {
    const bool waits = list.AcquireWaiting(buffers);
    benchmark::DoNotOptimize(buffers);
    std::this_thread::yield();
    list.ReleaseAndWake(buffers);
    return waits;
  });
}

void Register(const char* scenario, const char* peer,
              void (*function)(benchmark::State&),
              std::span<const int> threads) {
  auto* const registered = benchmark::RegisterBenchmark(
      absl::StrCat(scenario, "/", peer).c_str(), function);
  registered->UseManualTime();
  for (const int count : threads) registered->Threads(count);
}

constexpr std::array kThreads = {1, 2, 4, 8, kMostThreads};
// Enough sessions for some to wait.
constexpr std::array kWaitingThreads = {8, kMostThreads};

// What every peer can do.
template <class Peer>
void RegisterTakeAndReturn(const char* peer, std::span<const int> threads) {
  Register(kOneBuffer, peer, OneBuffer<Peer>, threads);
  Register(kPair, peer, Pair<Peer>, threads);
  Register(kBatch, peer, Together<Peer, kBatchSize>, threads);
  Register(kBurst, peer, Burst<Peer>, threads);
}

template <class Peer>
void RegisterAll(const char* peer) {
  RegisterTakeAndReturn<Peer>(peer, kThreads);
  Register(kSessionPair, peer, SessionPair<Peer>, kThreads);
  if constexpr (!std::is_same_v<Peer, ThreadArray>) {
    Register(kHandOff, peer, HandOff<Peer>, kThreads);
  }
}

}  // namespace

void RegisterTandem() {
  RegisterAll<Tandem>(kTandem);
  Register(kWaiting, kTandem, TandemWaiting, kWaitingThreads);
}

void RegisterPeers() {
  RegisterTakeAndReturn<TandemUnchecked>(kTandemUnchecked, {{1}});
  RegisterTakeAndReturn<TandemShared>(kTandemShared, {{1}});
  RegisterAll<ThreadArray>(kThreadArray);
  RegisterAll<Malloc>(kMalloc);
  RegisterAll<MutexList>(kMutexList);
  Register(kWaiting, kMutexList, MutexListWaiting, kWaitingThreads);
}

bool TandemIsBiased() {
  return SharedService<Variant::kDefault>().pool->Snapshot().biased;
}

}  // namespace tandem::bench
