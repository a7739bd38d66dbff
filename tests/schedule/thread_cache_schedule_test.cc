#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/cache/sweep.h"
#include "tandem/pool/cache/thread_cache.h"
#include "tandem/pool/depot/tagged_stack.h"
#include "tandem/pool/types.h"
#include "tandem/tests/schedule/explore.h"
#include "tandem/tests/schedule/relacy_platform.h"

namespace tandem {
namespace {

constexpr uint32_t kBuffers = 4;
constexpr uint32_t kLimit = 3;
constexpr unsigned kOwner = 0;  // the thread whose cache it is

using Cache = ThreadCache<RelacyPlatform>;
using Stack = TaggedStack<RelacyPlatform, BufferIndex>;

// A cache, and a stack on which thieves push what they took.
struct CacheAndStack {
  CacheAndStack() {
    for (uint32_t i = 0; i < kBuffers; ++i) {
      Store(std::array{map.Address(BufferIndex{i})});
    }
    cache.SetLimit(kLimit);
    cache.Arm();
  }

  // The owner's operations, in whichever mode the cache is.
  bool Push(std::span<std::byte* const> in) {
    return cache.PushBiased(in) || cache.Push(in);
  }
  bool Pop(std::span<std::byte*> out) {
    return cache.PopBiased(out) || cache.PopShared(out);
  }

  void OwnerStep() {
    std::array<std::byte*, 2> storage;
    const auto some = std::span(storage).first(1 + rl::rand(2));
    switch (rl::rand(4)) {
      case 0:
        cache.BeginBias([] { return rl::rand(4) == 0; });
        return;
      case 1:
        if (Pop(some)) Return(some);
        return;
      case 2:
        if (!Pop(some)) return;
        custody.Take(some);
        return PushOrReturn(some);
      default:
        const auto got = some.first(Fetch(some));
        if (got.empty()) return;
        custody.Take(got);
        PushOrReturn(got);
    }
  }
  // Two buffers at a time, until nothing is left or `satisfied` says so.
  template <class Satisfied>
  void Sweep(Satisfied satisfied) {
    Cache* const piece[] = {&cache};
    SweepPiece<RelacyPlatform>(
        piece, nullptr, 2, barriers,
        [&](const Cache&, std::span<std::byte* const> loot) {
          Return(loot);
          return satisfied();
        },
        [](const Cache&) {});
  }
  void Steal() {
    Sweep([] { return rl::rand(2) == 0; });
  }
  void RequireAllThere() {
    Sweep([] { return false; });
    Require(cache.size() == 0, "a sweep takes all");
    std::array<std::byte*, kBuffers + 1> buffers;
    const size_t count = Fetch(buffers);
    custody.Take(std::span(buffers).first(count));
    Require(count == kBuffers, "no buffer is lost or doubled");
  }

  // Move buffers from and to the stack.
  size_t Fetch(std::span<std::byte*> out) {
    std::array<BufferIndex, kBuffers + 1> indexes;
    const size_t count = stack.Pop(links, std::span(indexes).first(out.size()));
    for (size_t i = 0; i < count; ++i) out[i] = map.Address(indexes[i]);
    return count;
  }
  void Store(std::span<std::byte* const> buffers) {
    std::array<BufferIndex, kBuffers> indexes;
    for (size_t i = 0; i < buffers.size(); ++i) {
      indexes[i] = map.Find(buffers[i]);
    }
    stack.Push(links, std::span(indexes).first(buffers.size()));
  }

  const BufferMap map = PretendedMap(kBuffers);
  Cache cache;
  std::array<Stack::Link, kBuffers> links;
  Stack stack;
  BarrierCounters<RelacyPlatform> barriers;
  Custody<kBuffers> custody;

 private:
  void PushOrReturn(std::span<std::byte* const> buffers) {
    custody.Give(buffers);
    if (!Push(buffers)) Store(buffers);
  }
  void Return(std::span<std::byte* const> buffers) {
    custody.Take(buffers);
    custody.Give(buffers);
    Store(buffers);
  }
};

// The owner pushes and pops, with bias and without, and kThreads - 1 others
// steal.
template <int kThreads, int kOwnerSteps, int kThefts>
struct OwnerAndThieves
    : ScheduleTest<OwnerAndThieves<kThreads, kOwnerSteps, kThefts>,
                   CacheAndStack, kThreads> {
  void before() {
    auto& world = this->world();
    std::array<std::byte*, 2> buffers;
    world.Fetch(buffers);
    Require(world.Push(buffers), "there is room");
    if (rl::rand(2) == 0) world.cache.BeginBias([] { return false; });
  }
  void thread(unsigned index) {
    if (index == kOwner) {
      for (int i = 0; i < kOwnerSteps; ++i) this->world().OwnerStep();
    } else {
      for (int i = 0; i < kThefts; ++i) this->world().Steal();
    }
  }
  void after() { this->world().RequireAllThere(); }
};

// P3, P5
TEST(ThreadCacheSchedule, OwnerAndOneThiefNeverHoldOneBufferTwice) {
  ExploreAtRandom<OwnerAndThieves<2, 4, 3>>(200'000);
}

// P3, P5
TEST(ThreadCacheSchedule, OwnerAndTwoThievesNeverHoldOneBufferTwice) {
  ExploreAtRandom<OwnerAndThieves<3, 4, 2>>(200'000);
}

// P3, P5
TEST(ThreadCacheSchedule, ThiefAgainstOwner) {
  ExploreAll<OwnerAndThieves<2, 1, 1>>({2, 1});
}

// P3, P5
TEST(ThreadCacheSchedule, ThiefAgainstThief) {
  ExploreAll<OwnerAndThieves<3, 1, 1>>({2, 0});
}

// While a thief is between its look at the cache and its compare-and-swap, the
// owner takes the buffer that the thief has seen and puts in another one.
struct AnotherBuffer : ScheduleTest<AnotherBuffer, CacheAndStack, 2> {
  void before() {
    world().Fetch(buffers);
    world().custody.Take(std::span(buffers).first(1));
    world().custody.Give(std::span(buffers).first(1));
    Require(world().Push(std::span(buffers).first(1)), "there is room");
    if (rl::rand(2) == 0) world().cache.BeginBias([] { return false; });
  }
  void thread(unsigned index) {
    if (index != kOwner) return world().Steal();
    std::array<std::byte*, 1> popped;
    const bool got = world().Pop(popped);
    if (got) world().custody.Take(popped);
    Require(world().Push(std::span(buffers).last(1)), "there is room");
    if (!got) return;
    world().custody.Give(popped);
    world().Store(popped);
  }
  void after() { world().RequireAllThere(); }

  std::array<std::byte*, 2> buffers;
};

// P5
TEST(ThreadCacheSchedule, AbaOnACache) { ExploreAll<AnotherBuffer>({3, 1}); }

// The owner's operations, interrupted at any step, more than once, by a handler
// that pushes and pops, brings the bias back and takes it, with a thief
// besides.
struct Interrupted : ScheduleTest<Interrupted, CacheAndStack, 2> {
  void thread(unsigned index) {
    if (index != kOwner) return world().Steal();
    for (int i = 0; i < 3; ++i) {
      ExpectSignal();
      world().OwnerStep();
    }
    DisarmSignal();
  }
  void ExpectSignal() {
    ArmSignal(
        rl::rand(16),
        [](void* self) { static_cast<Interrupted*>(self)->OnSignal(); }, this);
  }
  void OnSignal() {
    for (unsigned steps = 1 + rl::rand(3); steps != 0; --steps) {
      if (rl::rand(6) == 0) {
        world().cache.CloseOwn();
      } else {
        world().OwnerStep();
      }
    }
    if (rl::rand(2) == 0) ExpectSignal();
  }
  void after() { world().RequireAllThere(); }
};

// P10
TEST(ThreadCacheSchedule, HandlerMayPushAndPopInTheMiddleOfAPushOrPop) {
  ExploreAtRandom<Interrupted>(200'000);
}

// A record that threads own in turn: each counts, and leaves a buffer.
struct OwnersInTurn : ScheduleTest<OwnersInTurn, CacheAndStack, 3> {
  void thread(unsigned index) {
    for (int attempt = 0; attempt < 2; ++attempt) {
      if (!world().cache.ownership.TryOwn(ThreadToken{index + 1})) continue;
      world().cache.counters.flushes.Add(1);
      ++expected_flushes;
      // Only an owner accesses this. It is a data race if two own at once, or
      // if the last owner's writes are not ordered before the next owner's.
      owners_word({"thread", "owner", 0}).store(1);
      world().OwnerStep();
      world().OwnerStep();
      world().cache.CloseOwn();
      world().cache.ownership.Disown();
    }
  }
  void after() {
    Require(world().cache.counters.flushes.Get() == expected_flushes,
            "an owner goes on from its predecessor's counters");
    world().RequireAllThere();
  }

  uint64_t expected_flushes = 0;
  rl::var<int> owners_word{0};
};

// P6
TEST(ThreadCacheSchedule, CacheOutlivesItsOwnerAndHasOneAtATime) {
  ExploreAtRandom<OwnersInTurn>(200'000);
}

}  // namespace
}  // namespace tandem
