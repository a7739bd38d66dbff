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

// One thread's buffers, and operations on them.
template <class World>
class Hands {
 public:
  explicit Hands(World& world) : world_(world) {}
  ~Hands() { GiveAll(); }

  bool Take(uint32_t n, AllocationTerms terms) {
    if (size_ + n > storage_.size()) return false;
    const bool taken =
        world_.Take(std::span(storage_).subspan(size_, n), terms);
    if (taken) size_ += n;
    return taken;
  }
  void Give(uint32_t n) {
    if (size_ < n) return;
    size_ -= n;
    world_.Give(std::span(storage_).subspan(size_, n));
  }
  void GiveAll() {
    if (size_ != 0) Give(size_);
  }
  void AnyStep() {
    switch (rl::rand(4)) {
      case 0:
        Take(1, World::kReceive);
        break;
      case 1:
        Take(2, World::kPair);
        break;
      case 2:
        Give(1);
        break;
      default:
        Give(2);
    }
  }

 private:
  World& world_;
  std::array<std::byte*, 12> storage_;
  uint32_t size_ = 0;
};

// Any operations in any order; the third thread has no cache.
constexpr PoolShape kWithReserve{
    .capacity = 6, .caches = 2, .reserve = 2, .cache_limit = 2};
constexpr PoolShape kWithoutReserve{
    .capacity = 4, .caches = 2, .reserve = 0, .cache_limit = 1};

constexpr PoolShape Biased(PoolShape shape) {
  shape.biased = true;
  return shape;
}

template <PoolShape kShape>
struct AnyWorkload : ScheduleTest<AnyWorkload<kShape>, PoolWorld<kShape>, 3> {
  void before() { this->world().ClaimCaches(); }
  void thread(unsigned) {
    Hands hands(this->world());
    for (int i = 0; i < 4; ++i) hands.AnyStep();
  }
  void after() { this->world().RequireWhole(); }
};

// P1, P3, P4
TEST(LockFreePoolSchedule, AllocationsFailOnlyIfTheyMustAndNoBufferIsLost) {
  ExploreAtRandom<AnyWorkload<kWithReserve>>(40'000);
  ExploreAtRandom<AnyWorkload<kWithoutReserve>>(40'000);
}

// P1, P2, P3, P4
TEST(LockFreePoolSchedule, SoItIsWithBiasedCaches) {
  biases_seen = 0;
  ExploreAtRandom<AnyWorkload<Biased(kWithReserve)>>(40'000);
  ExploreAtRandom<AnyWorkload<Biased(kWithoutReserve)>>(40'000);
  EXPECT_GT(biases_seen, 0u);
}

constexpr PoolShape Adaptive(PoolShape shape) {
  shape.adaptive = true;
  return shape;
}

// P1, P3: while limits are raised, lowered and taken away.
TEST(LockFreePoolSchedule, SoItIsWithCachesThatAdapt) {
  reclaims_seen = 0;
  ExploreAtRandom<AnyWorkload<Adaptive(kWithReserve)>>(40'000);
  ExploreAtRandom<AnyWorkload<Adaptive(Biased(kWithReserve))>>(40'000);
  ExploreAtRandom<AnyWorkload<Adaptive(Biased(kWithoutReserve))>>(40'000);
  EXPECT_GT(reclaims_seen, 0u);
}

// The same, but sometimes the system refuses a barrier.
struct WithoutBarriers : AnyWorkload<Biased(kWithReserve)> {
  void thread(unsigned index) {
    barriers_may_fail = true;
    AnyWorkload::thread(index);
  }
  void after() {
    barriers_may_fail = false;
    AnyWorkload::after();
  }
};

// P1: an allocation may fail early then, but no buffer has two holders, and
// none is lost.
TEST(LockFreePoolSchedule, RefusedBarrierCostsNoBuffer) {
  ExploreAtRandom<WithoutBarriers>(40'000);
}

// Two caches hold buffers from the start; their owners may use them or do
// nothing. A third thread takes all buffers. With four slots, a cache holds
// more than the batch that an operation may have in its hands.
template <uint32_t kCapacity, uint32_t kSlots>
struct TakesEverything : ScheduleTest<TakesEverything<kCapacity, kSlots>,
                                      PoolWorld<{.capacity = kCapacity,
                                                 .caches = 3,
                                                 .reserve = 0,
                                                 .cache_limit = kSlots,
                                                 .biased = true}>,
                                      3> {
  using World = PoolWorld<{.capacity = kCapacity,
                           .caches = 3,
                           .reserve = 0,
                           .cache_limit = kSlots,
                           .biased = true}>;

  void before() {
    World& world = this->world();
    world.ClaimCaches();
    std::array<std::byte*, kCapacity - 2> buffers;
    Require(world.Take(nullptr, buffers, World::kPair), "all are free");
    const std::span all(buffers);
    world.Give(&world.CacheOf(0), all.first(all.size() / 2));
    world.Give(&world.CacheOf(1), all.last(all.size() / 2));
    Require(world.Cached() == all.size(), "they are in the caches");
  }
  void thread(unsigned index) {
    Hands hands(this->world());
    if (index == 2) {
      for (uint32_t i = 0; i < kCapacity / 2; ++i) hands.Take(2, World::kPair);
      hands.Take(1, World::kPair);
    } else if (rl::rand(2) == 0) {
      hands.Take(1 + rl::rand(2), World::kPair);
    }
    hands.GiveAll();
  }
  void after() { this->world().RequireWhole(); }
};

// P3
TEST(LockFreePoolSchedule,
     IdleBuffersOfOtherThreadsAreFoundWhateverTheirOwnersDo) {
  ExploreAtRandom<TakesEverything<6, 2>>(100'000);
  ExploreAtRandom<TakesEverything<10, 4>>(100'000);
}

// Caches are so large that a refill brings more than what is asked for.
constexpr PoolShape kFiveBuffers{
    .capacity = 5, .caches = 2, .reserve = 1, .cache_limit = 3, .biased = true};

// One thread is short and stays short, as a waiting session is, while others
// continue their work. At the end, their caches must be empty.
template <class Derived>
struct StaysShort : ScheduleTest<Derived, PoolWorld<kFiveBuffers>, 3> {
  using World = PoolWorld<kFiveBuffers>;

  static constexpr unsigned kShort = 2;

  void thread(unsigned index) {
    if (index != kShort) {
      {
        Hands hands(this->world());
        static_cast<Derived*>(this)->Use(hands);
      }
      static_cast<Derived*>(this)->Leave();
      if (++finished == 2) others_finished.Happen();
      return;
    }
    typename World::Core::Shortage shortage(this->world().core, nullptr);
    std::array<std::byte*, 5> all;
    const bool taken = this->world().TakeUnder(shortage, all, World::kPair);
    others_finished.Wait();
    {
      const Observation now;
      Require(this->world().Cached() == 0,
              "no buffer is idle in a cache while somebody is short (P3)");
      Require(this->world().core.central().ledger().Load().available() +
                      (taken ? 5 : 0) ==
                  5,
              "all that was released is there");
    }
    if (taken) this->world().Give(all);
  }
  void after() { this->world().RequireWhole(); }

  int finished = 0;
  Event others_finished;
};

struct UseOfCaches : StaysShort<UseOfCaches> {
  void before() { world().ClaimCaches(); }
  void Use(Hands<World>& hands) {
    hands.Take(1 + rl::rand(2), World::kReceive);
    if (rl::rand(2) == 0) hands.Give(1);
    hands.Take(1, World::kPair);
  }
  void Leave() {}
};

// P3: refills, flushes and pushes against a sweep.
TEST(LockFreePoolSchedule, NoBufferStaysInACacheWhileSomebodyIsShort) {
  refills_seen = 0;
  ExploreAtRandom<UseOfCaches>(50'000);
  EXPECT_GT(refills_seen, 0u);
}

// Caches that come and go; sometimes the other thread takes one over. An
// owner's first use may be a push.
struct UseOfNewCaches : StaysShort<UseOfNewCaches> {
  void Use(Hands<World>& hands) {
    const bool give_first = rl::rand(2) == 0;
    if (give_first) hands.Take(1 + rl::rand(2), World::kReceive);
    world().ClaimCache();
    if (!give_first) hands.Take(1 + rl::rand(2), World::kReceive);
  }
  void Leave() {
    if (rl::rand(2) == 0) world().ReturnCache();
  }
};

// P3, P6
TEST(LockFreePoolSchedule, NorInACacheThatIsNewOrHasNewlyLostItsOwner) {
  ExploreAtRandom<UseOfNewCaches>(50'000);
}

// Three buffers, two of them the reserve: one receive at a time may have one,
// and none while a pair has two. The holders are plain facts, true from after
// the allocation to before the release.
struct PairAndReceives : ScheduleTest<PairAndReceives,
                                      PoolWorld<{.capacity = 3,
                                                 .caches = 3,
                                                 .reserve = 2,
                                                 .cache_limit = 2,
                                                 .biased = true}>,
                                      3> {
  void before() { world().ClaimCaches(); }
  void thread(unsigned index) {
    Hands hands(world());
    for (int i = 0; i < 2; ++i) {
      if (index == 0) {
        if (!hands.Take(2, world().kPair)) continue;
        pair = ++pairs;
        if (rl::rand(2) == 0) hands.Take(1, world().kPair);
        pair = 0;
      } else {
        const int pair_before = pair;
        if (!hands.Take(1, world().kReceive)) continue;
        ++receives;
        Require(receives == 1, "one receive alone leaves the reserve (S1)");
        Require(pair_before == 0 || pair != pair_before,
                "no receive while a pair has part of the reserve (S1)");
        if (rl::rand(2) == 0) hands.Take(2, world().kPair);
        --receives;
      }
      hands.GiveAll();
    }
  }
  void after() { world().RequireWhole(); }

  int pairs = 0;
  int pair = 0;  // number of the one that holds two buffers, 0 for none
  int receives = 0;
};

// S1
TEST(LockFreePoolSchedule, ReceiveLeavesTheReserveToPairs) {
  ExploreAtRandom<PairAndReceives>(50'000);
}

// Trim gives memory back, a batch at a time, while others take and give.
struct Trims : ScheduleTest<Trims, PoolWorld<kFiveBuffers>, 3> {
  void before() {
    world().ClaimCaches();
    std::array<std::byte*, 5> all;
    Require(world().Take(nullptr, all, world().kPair), "all are free");
    world().Give(nullptr, all);  // warm now
  }
  void thread(unsigned index) {
    if (index == 2) {
      std::array<std::byte*, 2> batch;
      for (int i = 0; i < 2; ++i) world().Trim(batch);
      return;
    }
    Hands hands(world());
    for (int i = 0; i < 3; ++i) hands.AnyStep();
  }
  void after() { world().RequireWhole(); }
};

// P1, P3
TEST(LockFreePoolSchedule, TrimHidesNoMoreThanItsBatch) {
  ExploreAtRandom<Trims>(40'000);
}

// Takes and gives, interrupted at any step by a handler that also takes
// and gives.
struct InterruptedPool
    : ScheduleTest<InterruptedPool, PoolWorld<kFiveBuffers>, 2> {
  using World = PoolWorld<kFiveBuffers>;

  void before() { world().ClaimCaches(); }
  void thread(unsigned) {
    for (int i = 0; i < 3; ++i) {
      ExpectSignal();
      TakeAndGive();
    }
    DisarmSignal();
  }
  void ExpectSignal() {
    ArmSignal(
        rl::rand(40),
        [](void* self) { static_cast<InterruptedPool*>(self)->OnSignal(); },
        this);
  }
  void OnSignal() {
    TakeAndGive();
    if (rl::rand(2) == 0) ExpectSignal();
  }
  void TakeAndGive() {
    std::array<std::byte*, 2> storage;
    const auto out = std::span(storage).first(1 + rl::rand(2));
    world().HurryNowAndThen(world().cache());
    const bool receive = rl::rand(2) == 0;
    if (!world().core.Take(world().cache(), out,
                           receive ? World::kReceive : World::kPair)) {
      return;
    }
    world().custody.Take(out);
    world().custody.Give(out);
    world().core.Give(world().cache(), out);
  }
  void after() { world().RequireWhole(); }
};

// P10
TEST(LockFreePoolSchedule, HandlerMayTakeAndGiveInTheMiddleOfAnything) {
  ExploreAtRandom<InterruptedPool>(50'000);
}

}  // namespace
}  // namespace tandem
