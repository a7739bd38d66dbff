#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/lock_free_pool.h"
#include "tandem/pool/types.h"
#include "tandem/tests/schedule/explore.h"
#include "tandem/tests/schedule/pool_world.h"
#include "tandem/tests/schedule/relacy_platform.h"

namespace tandem {
namespace {

// Small cases of the pool. Every schedule of each within a bound is tried.
// lock_free_pool_schedule_test.cc has larger cases, at random.

constexpr PoolShape Small(uint32_t capacity, uint32_t caches, uint32_t reserve,
                          uint32_t cache_limit) {
  return {.capacity = capacity,
          .caches = caches,
          .reserve = reserve,
          .cache_limit = cache_limit,
          .biased = true,
          .cores = 1};
}

// Puts `buffers`, which the calling thread holds, into a cache, with its bias
// or without.
template <class World>
void Fill(World& world, unsigned cache, std::span<std::byte* const> buffers) {
  world.Give(&world.CacheOf(cache), buffers);
  Require(world.CacheOf(cache).size() == buffers.size(), "they are cached");
}

// Two pair allocations and two buffers: one gets both, the other none.
template <uint32_t kReserve>
struct LastTwo
    : ScheduleTest<LastTwo<kReserve>, PoolWorld<Small(2, 2, kReserve, 2)>, 2> {
  using World = PoolWorld<Small(2, 2, kReserve, 2)>;

  void before() {
    this->world().ClaimCaches();
    // With no reserve, let them start from a cache.
    if (kReserve != 0 || rl::rand(2) == 0) return;
    std::array<std::byte*, 2> buffers;
    Require(this->world().Take(nullptr, buffers, World::kPair), "both free");
    Fill(this->world(), 0, buffers);
  }
  void thread(unsigned index) {
    taken[index] = this->world().Take(pairs[index], World::kPair);
  }
  void after() {
    Require(taken[0] != taken[1], "one pair of the two has both (S2)");
    this->world().Give(pairs[taken[0] ? 0 : 1]);
    this->world().RequireWhole();
  }

  std::array<std::array<std::byte*, 2>, 2> pairs;
  std::array<bool, 2> taken{};
};

// S2
TEST(PoolCases, PairAgainstPairOnTheLastTwoBuffers) {
  ExploreAll<LastTwo<2>>({3, 0});
  ExploreAll<LastTwo<2>>({1, 1});
  ExploreAll<LastTwo<0>>({2, 0});
  ExploreAll<LastTwo<0>>({1, 1});
}

// S2
TEST(PoolCases, PairAgainstPairOnTheLastTwoBuffersAtRandom) {
  ExploreAtRandom<LastTwo<2>>(40'000);
  ExploreAtRandom<LastTwo<0>>(40'000);
}

// Three buffers, two of them the reserve, for two receives, or a receive and a
// pair. Both keep what they get.
struct AtTheMargin
    : ScheduleTest<AtTheMargin, PoolWorld<Small(3, 2, 2, 2)>, 2> {
  void before() {
    world().ClaimCaches();
    pair = rl::rand(2) == 1;
  }
  void thread(unsigned index) {
    const auto out =
        std::span(buffers[index]).first(index == 0 && pair ? 2 : 1);
    const bool pair_had_two = taken[0] && pair;
    taken[index] =
        world().Take(out, out.size() == 2 ? world().kPair : world().kReceive);
    Require(index == 0 || !taken[1] || !pair_had_two,
            "no receive while a pair has part of the reserve (S1)");
  }
  void after() {
    Require(pair ? taken[0] : taken[0] != taken[1],
            "one receive alone leaves the reserve, and a pair digs (S1)");
    if (taken[0]) world().Give(std::span(buffers[0]).first(pair ? 2 : 1));
    if (taken[1]) world().Give(std::span(buffers[1]).first(1));
    world().RequireWhole();
  }

  bool pair = false;
  std::array<std::array<std::byte*, 2>, 2> buffers;
  std::array<bool, 2> taken{};
};

// S1
TEST(PoolCases, ReceiveAtTheMargin) {
  ExploreAll<AtTheMargin>({2, 0});
  ExploreAll<AtTheMargin>({1, 1});
}

// One thread's cache is empty, the other's full: one takes and the other gives.
// One buffer is free; what the flush adds is what the refill may keep.
struct RefillAndFlush
    : ScheduleTest<RefillAndFlush, PoolWorld<Small(5, 2, 0, 3)>, 2> {
  void before() {
    world().ClaimCaches();
    Require(world().Take(nullptr, buffers, world().kPair), "all are free");
    Fill(world(), 1, std::span(buffers).first(3));
  }
  void thread(unsigned index) {
    if (index == 0) {
      Require(world().Take({&taken, 1}, world().kReceive), "one is free");
    } else {
      world().Give(std::span(buffers).last(1));
    }
  }
  void after() {
    Require(world().CacheOf(1).counters.flushes.Get() == 1, "it was full");
    world().Give(nullptr, {&taken, 1});
    world().RequireWhole();
  }

  std::array<std::byte*, 4> buffers;
  std::byte* taken;
};

// P1, P3
TEST(PoolCases, RefillAgainstFlush) {
  refills_seen = 0;
  ExploreAll<RefillAndFlush>({2, 0});
  ExploreAll<RefillAndFlush>({1, 1});
  EXPECT_GT(refills_seen, 0u);
}

// The buffers that two threads want lie in the cache of a third, which
// does nothing.
struct TwoThieves : ScheduleTest<TwoThieves, PoolWorld<Small(3, 3, 0, 3)>, 2> {
  void before() {
    world().ClaimCaches();
    std::array<std::byte*, 3> all;
    Require(world().Take(nullptr, all, world().kPair), "all are free");
    Fill(world(), 2, all);
  }
  void thread(unsigned index) {
    taken[index] = world().Take(
        nullptr, std::span(buffers[index]).first(1 + index), world().kPair);
  }
  void after() {
    // One thief may have had two in its hands when the other looked.
    Require(taken[0] || taken[1], "not both have failed (P3)");
    if (taken[0]) world().Give(nullptr, std::span(buffers[0]).first(1));
    if (taken[1]) world().Give(nullptr, std::span(buffers[1]).first(2));
    world().RequireWhole();
  }

  std::array<std::array<std::byte*, 2>, 2> buffers;
  std::array<bool, 2> taken{};
};

// P3
TEST(PoolCases, ThiefAgainstThief) {
  ExploreAll<TwoThieves>({2, 0});
  ExploreAll<TwoThieves>({1, 1});
}

// A thread ends with two buffers in its cache, while another thread is short
// and stays short, or takes the cache over.
struct ExitAndThief
    : ScheduleTest<ExitAndThief, PoolWorld<Small(3, 1, 0, 3)>, 2> {
  void before() {
    std::array<std::byte*, 3> all;
    Require(world().Take(nullptr, all, world().kPair), "all are free");
    world().ClaimCaches();  // the one there is, for thread 0
    Fill(world(), 0, std::span(all).first(2));
    world().Give(nullptr, std::span(all).last(1));
  }
  void thread(unsigned index) {
    if (index == 0) {
      world().ReturnCache();
      return exited.Happen();
    }
    if (rl::rand(2) == 0) {
      world().ClaimCache();
      std::array<std::byte*, 2> two;
      if (world().Take(two, world().kPair)) world().Give(two);
      return;
    }
    World::Core::Shortage shortage(world().core, nullptr);
    std::array<std::byte*, 3> all;
    const bool taken = world().TakeUnder(shortage, all, world().kPair);
    exited.Wait();
    {
      const Observation now;
      Require(world().Cached() == 0, "a finished thread's cache returns (P6)");
      Require(
          world().core.central().ledger().Load().available() == (taken ? 0 : 3),
          "with all that was in it");
    }
    if (taken) world().Give(nullptr, all);
  }
  void after() { world().RequireWhole(); }

  using World = PoolWorld<Small(3, 1, 0, 3)>;
  Event exited;
};

// P3, P6
TEST(PoolCases, ThreadExitAgainstThief) {
  ExploreAll<ExitAndThief>({2, 0});
  ExploreAll<ExitAndThief>({1, 1});
}

}  // namespace
}  // namespace tandem
