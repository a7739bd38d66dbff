#include "tandem/bench/scenarios.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <type_traits>

#include "benchmark/benchmark.h"
#include "tandem/bench/fair_list.h"
#include "tandem/bench/measurement.h"
#include "tandem/bench/mempool_loop.h"
#include "tandem/bench/names.h"
#include "tandem/bench/peers.h"
#include "tandem/bench/registration.h"
#include "tandem/bench/stranding.h"
#include "tandem/bench/take_and_return.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/pool/options.h"
#include "tandem/session/blocking_wait.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"

namespace tandem::bench {
namespace {

// Buffers of the waiting scenario: enough for four sessions, of eight or more.
constexpr uint32_t kFewBuffers = 8;
// Buffers for each thread of the exhaustion scenario.
constexpr uint32_t kShare = 80;
static_assert(kShare < kWanted);

// A pool and its session layer. Created once, never destroyed.
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

// The pool behind the interface of peers.
class PoolPeer {
 public:
  explicit PoolPeer(BufferPool& pool) : pool_(pool) {}

  // Inlined, as a user's own calls of the pool are.
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

 private:
  BufferPool& pool_;
};

template <Variant kVariant>
class TandemPeer : public PoolPeer {
 public:
  explicit TandemPeer(int /*thread*/)
      : PoolPeer(*SharedService<kVariant>().pool) {}

  SessionAllocator& sessions() { return *SharedService<kVariant>().sessions; }
};

// A pool as large as that of DPDK's loop, with caches as large.
template <Variant kVariant>
BufferPool& LoopPool() {
  static BufferPool& pool = **new auto(
      *BufferPool::Create({.buffer_size = kLoopBufferSize,
                           .capacity = kLoopCapacity,
                           .cache_size = kLoopCacheSize,
                           .detect_misuse = kVariant != Variant::kUnchecked}));
  return pool;
}

template <Variant kVariant>
class LoopPeer : public PoolPeer {
 public:
  explicit LoopPeer(int /*thread*/) : PoolPeer(LoopPool<kVariant>()) {}
};

using Tandem = TandemPeer<Variant::kDefault>;
using TandemUnchecked = TandemPeer<Variant::kUnchecked>;
using TandemShared = TandemPeer<Variant::kShared>;

void TandemSessionPair(benchmark::State& state) {
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

void TandemSessionReceive(benchmark::State& state) {
  const OwnCore core(state);
  Tandem peer(state.thread_index());
  WarmUp(peer);
  SessionBuffers session(peer.sessions());
  Repeat(state, [&] {
    CheckGot(session.AllocateReceiveBuffer(Side::kRequest) ==
             Allocation::kGranted);
    benchmark::ClobberMemory();
    session.ReleaseBuffers();
  });
}

// More sessions than the pool has buffers for. Each takes its two buffers,
// blocking its thread until it has them; yields, as a session that processes
// would let other threads run; and returns the buffers. `operation` returns
// whether it had to wait.
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

// The same in order: a waiting session is handed its buffers.
void FairListWaiting(benchmark::State& state) {
  struct Sleeper : FairList::Waiter {
    std::atomic<uint32_t> woken{0};
  };
  const OwnCore core(state);
  static FairList& list = *new FairList(kFewBuffers);
  Sleeper sleeper;
  RepeatWaiting(state, [&] {
    sleeper.woken.store(0, std::memory_order::relaxed);
    const bool waits = !list.TakeOrWait(sleeper);
    if (waits) sleeper.woken.wait(0);
    benchmark::DoNotOptimize(sleeper.buffers);
    std::this_thread::yield();
    const std::array<std::byte*, 2> pair = {sleeper.buffers[0],
                                            sleeper.buffers[1]};
    list.Release(pair, [](FairList::Waiter& served) {
      auto& woken = static_cast<Sleeper&>(served).woken;
      woken.store(1);
      woken.notify_one();
    });
    return waits;
  });
}

// All threads together want more buffers than there are. Each takes buffers one
// by one. If it fails, it returns what it has and starts again. When it has
// all, it yields, and returns them. So the pool is empty again and again.
template <int kThreads, bool kCached>
void Exhaustion(benchmark::State& state) {
  static BufferPool& pool = **new auto(*BufferPool::Create(
      {.buffer_size = kBufferSize,
       .capacity = kThreads * kShare,
       .cache_size = kCached ? std::nullopt : std::optional<uint32_t>(0)}));
  const OwnCore core(state);
  const bool first = state.thread_index() == 0;
  const uint64_t barriers_before = first ? pool.Snapshot().barriers : 0;
  std::array<std::byte*, kWanted> buffers;
  int64_t failures = 0;
  Repeat(state, [&] {
    size_t held = 0;
    const auto return_all = [&] {
      while (held > 0) pool.Release(buffers[--held]);
      std::this_thread::yield();
    };
    while (held < kWanted) {
      std::byte* const buffer = pool.Acquire();
      if (buffer != nullptr) {
        buffers[held++] = buffer;
      } else {
        ++failures;
        return_all();
      }
    }
    std::this_thread::yield();
    return_all();
  });
  const auto per_operation = [&](uint64_t count) {
    return static_cast<double>(count) /
           (static_cast<double>(state.iterations()) * state.threads());
  };
  state.counters[kFailures] = per_operation(failures);
  state.counters[kBarriers] =
      per_operation(first ? pool.Snapshot().barriers - barriers_before : 0);
}

// Two threads add one to a word, by turns.
void ContendedLine(benchmark::State& state) {
  struct alignas(64) Word {
    std::atomic<uint32_t> value{0};
  };
  static Word& word = *new Word;
  const OwnCore core(state);
  const auto own = static_cast<uint32_t>(state.thread_index());
  const Measurement measurement(state);
  for (auto _ : state) {
    uint32_t value;
    do {
      value = word.value.load(std::memory_order::relaxed);
    } while (value % 2 != own ||
             !word.value.compare_exchange_weak(value, value + 1));
  }
  measurement.Finish(state.iterations() * state.threads());
}

constexpr std::array kThreads = {1, 2, 4, 8, kMostThreads};
// Enough sessions for some to wait.
constexpr std::array kWaitingThreads = {8, kMostThreads};

template <class Peer>
void RegisterAll(const char* peer) {
  RegisterTakeAndReturn<Peer>(peer, kThreads);
  Register(kBurst, peer, Burst<Peer, kBurstSize>, kThreads);
  if constexpr (std::is_same_v<Peer, Tandem>) {
    Register(kSessionPair, peer, TandemSessionPair, kThreads);
    Register(kSessionReceive, peer, TandemSessionReceive, {{1}});
  } else {
    Register(kSessionPair, peer, SessionPair<Peer>, kThreads);
  }
  if constexpr (!std::is_same_v<Peer, ThreadArray>) {
    Register(kBigBurst, peer, Burst<Peer, kBigBurstSize>, {{1, 2}});
    Register(kHandOff, peer, HandOff<Peer>, kThreads);
  }
}

template <bool kCached>
void RegisterExhaustion(const char* peer) {
  // The caches need some time to learn that bias does not last.
  constexpr double kSeconds = 0.3;
  Register(kExhaustion, peer, Exhaustion<2, kCached>, {{2}}, kSeconds);
  Register(kExhaustion, peer, Exhaustion<8, kCached>, {{8}}, kSeconds);
}

}  // namespace

void RegisterTandem() {
  RegisterAll<Tandem>(kTandem);
  RegisterExhaustion<true>(kTandem);
  Register(kWaiting, kTandem, TandemWaiting, kWaitingThreads);
  RegisterMempoolLoop<LoopPeer<Variant::kDefault>>(kTandem);
}

void RegisterPeers() {
  RegisterTakeAndReturn<TandemUnchecked>(kTandemUnchecked, {{1}});
  Register(kHandOff, kTandemUnchecked, HandOff<TandemUnchecked>, {{2}});
  RegisterTakeAndReturn<TandemShared>(kTandemShared, {{1}});
  RegisterExhaustion<false>(kTandemUncached);
  RegisterMempoolLoop<LoopPeer<Variant::kUnchecked>>(kTandemUnchecked);
  if (CoreCount() > 1) Register(kContendedLine, kWord, ContendedLine, {{2}});
  RegisterAll<ThreadArray>(kThreadArray);
  RegisterAll<Malloc>(kMalloc);
  RegisterStranding<Tandem>(kTandem);
  RegisterStranding<ThreadArray, (kIdleThreads + 1) * kThreadBuffers>(
      kThreadArray);
  RegisterAll<MutexList>(kMutexList);
  RegisterStranding<MutexList>(kMutexList);
  Register(kWaiting, kMutexList, MutexListWaiting, kWaitingThreads);
  Register(kWaiting, kFairList, FairListWaiting, kWaitingThreads);
}

PoolSnapshot TandemNow() {
  return SharedService<Variant::kDefault>().pool->Snapshot();
}

}  // namespace tandem::bench
