#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/types.h"
#include "tandem/session/waiter_queue.h"
#include "tandem/tests/schedule/explore.h"
#include "tandem/tests/schedule/queue_world.h"
#include "tandem/tests/schedule/relacy_platform.h"

namespace tandem {
namespace {

using Fate = Waiter::Fate;

constexpr QueueShape kTwoBuffers{.pool = TwoCaches(2, 1)};

constexpr PoolShape OneCache(uint32_t capacity) {
  return {.capacity = capacity,
          .caches = 1,
          .reserve = 1,
          .cache_limit = 1,
          .biased = true};
}

// One thread gives back two buffers, others come and want some.
struct ReleaseAndSubscribe : QueueTest<ReleaseAndSubscribe, kTwoBuffers, 3> {
  void thread(unsigned index) {
    if (index != 0) {
      world().Allocate(world().waiters[index], ClassId(rl::rand(3)));
    } else if (rl::rand(2) == 0) {
      world().Release(buffers);
    } else {
      world().Release(std::span(buffers).first(1));
      world().Release(std::span(buffers).last(1));
    }
  }
};

// S4, P3
TEST(WaiterQueueSchedule, NobodySleepsOnBuffersThatWereReleasedMeanwhile) {
  ExploreAtRandom<ReleaseAndSubscribe>(50'000);
}

// Two threads give back a buffer each at the same time, and each serves; the
// waiter needs both.
struct TwoServers : QueueTest<TwoServers, kTwoBuffers, 3> {
  void before() {
    QueueTest::before();
    world().Allocate(world().waiters[0], kPair);
  }
  void thread(unsigned index) {
    if (index < 2) return world().Release({&buffers[index], 1});
    if (rl::rand(2) == 0) {
      world().Allocate(world().waiters[1], ClassId(rl::rand(3)));
    }
  }
};

// S2, S4
TEST(WaiterQueueSchedule, ReleasersWhoServeAtOnceLeaveNobodyWaiting) {
  ExploreAtRandom<TwoServers>(50'000);
}

// A waiter and another behind it. One thread releases, one cancels the first:
// without a reserve, one buffer is then enough for the second.
template <uint32_t kReserve>
struct CancelAndGrant
    : QueueTest<CancelAndGrant<kReserve>, {.pool = TwoCaches(2, kReserve)}, 3> {
  using CancelAndGrant::QueueTest::buffers;
  using CancelAndGrant::ScheduleTest::world;

  void before() {
    CancelAndGrant::QueueTest::before();
    world().Allocate(world().waiters[0], kPair);
  }
  void thread(unsigned index) {
    Waiter& first = world().waiters[0];
    if (index == 0) {
      world().Release(std::span(buffers).first(1));
      kept = rl::rand(2) == 0;
      if (!kept) world().Release(std::span(buffers).last(1));
    } else if (index == 1) {
      world().Allocate(world().waiters[1], ClassId(rl::rand(3)));
    } else if (!world().Cancel(first)) {
      Require(world().Look(first) == WaiterStatus::kGranted,
              "a wait that can't be cancelled was granted (S5)");
    }
  }
  void after() {
    Require(world().waiters[0].fate != Fate::kWaiting, "the first is through");
    world().RequireNobodySleepsOnBuffers();
    if (kept) world().Release(std::span(buffers).last(1));
    CancelAndGrant::QueueTest::after();
  }

  bool kept = false;
};

// S5
TEST(WaiterQueueSchedule, OneOfCancelAndGrantWinsAndNothingLeaks) {
  ExploreAtRandom<CancelAndGrant<0>>(30'000);
  ExploreAtRandom<CancelAndGrant<1>>(30'000);
}

// A session is cancelled from another thread while it is about to wait.
struct CancelAndSubscribe : QueueTest<CancelAndSubscribe, kTwoBuffers, 2> {
  void before() { world().TakeFirst(buffers); }
  void thread(unsigned index) {
    Waiter& waiter = world().waiters[0];
    if (index == 0) {
      world().Allocate(waiter, kPair);
    } else if (waiter.ticket.load() != 0) {
      refused = !world().Cancel(waiter);
    }
  }
  void after() {
    Require(!refused, "nobody serves it, so it can be cancelled (S5)");
    world().Release(buffers);
    world().RequireWholeAgain();
  }

  bool refused = false;
};

// S5
TEST(WaiterQueueSchedule, WaitCanBeCancelledAsSoonAsItHasATicket) {
  ExploreAtRandom<CancelAndSubscribe>(40'000);
}

// Waits come and go while no buffer is free, in few records, which are used
// again in one class and another.
struct ComeAndGo
    : QueueTest<ComeAndGo, {.pool = OneCache(3), .records = 5}, 3> {
  void before() { world().TakeFirst(buffers); }
  void thread(unsigned index) {
    Waiter& waiter = world().waiters[index];
    for (int i = 0; i < 3; ++i) {
      Require(!world().Allocate(waiter, ClassId(rl::rand(3))), "none is free");
      if (waiter.fate != Fate::kWaiting) return;  // overloaded
      if (i == 2 && rl::rand(2) == 0) return;
      Require(world().Cancel(waiter), "nobody serves it");
    }
  }
  void after() {
    // One record for each waiter, and two for each of two others that are
    // between two steps of a cancel: no more are needed.
    Require(world().overloads == 0, "records do not leak (S5)");
    world().RequireNobodySleepsOnBuffers();
    for (std::byte* const& buffer : buffers) world().Release({&buffer, 1});
    QueueTest::after();
  }
};

// S5
TEST(WaiterQueueSchedule, RecordsAreUsedAgainInAnyClassAndNoneIsLost) {
  ExploreAtRandom<ComeAndGo>(50'000);
}

// Too many want to wait: some are told so at once, and leave no trace.
struct TooMany
    : QueueTest<TooMany, {.pool = OneCache(2), .max_waiters = 2}, 3> {
  void before() { world().TakeFirst(buffers); }
  void thread(unsigned index) {
    world().Allocate(world().waiters[index], ClassId(rl::rand(3)));
  }
  void after() {
    Require(world().overloads == 1, "the bound is exact (S7)");
    Require(world().core.central().ledger().Load().waiting() == 2, "two wait");
    world().Release(buffers);
    QueueTest::after();
  }
};

// S7
TEST(WaiterQueueSchedule, AsManyWaitAsMayAndTheRestAreToldAtOnce) {
  ExploreAtRandom<TooMany>(40'000);
}

// Sessions join and leave while another thread counts them.
struct Count : QueueTest<Count, {.pool = OneCache(2)}, 3> {
  void before() { world().TakeFirst(buffers); }
  void thread(unsigned index) {
    if (index == 2) {
      for (int i = 0; i < 3; ++i) {
        Require(world().queue.totals(kPair).waiting() <= 2,
                "no more have left than came (P8)");
      }
      return;
    }
    Waiter& waiter = world().waiters[index];
    Require(!world().Allocate(waiter, kPair), "none is free");
    Require(world().Cancel(waiter), "nobody serves it");
  }
  void after() {
    Require(world().queue.totals(kPair).waiting() == 0, "all have left (P8)");
    world().Release(buffers);
    world().RequireWholeAgain();
  }
};

// P8
TEST(WaiterQueueSchedule, WhoCountsThemFindsNoMoreGoneThanCame) {
  ExploreAtRandom<Count>(40'000);
}

// There is one place for a waiter; sessions that hold a buffer have places of
// their own.
struct CompletesBesides
    : QueueTest<CompletesBesides,
                {.pool = OneCache(3), .max_waiters = 1, .max_completes = 2},
                3> {
  void before() {
    world().TakeFirst(buffers);
    Require(!world().Allocate(world().waiters[3], kPair), "none is free");
  }
  void thread(unsigned index) {
    world().Allocate(world().waiters[index], index == 0 ? kPair : kComplete);
  }
  void after() {
    Require(world().waiters[1].fate == Fate::kWaiting &&
                world().waiters[2].fate == Fate::kWaiting,
            "who holds what others wait for is not turned away (S6)");
    Require(world().overloads == 1, "but who holds nothing is (S7)");
    world().Release(buffers);
    QueueTest::after();
  }
};

// S6, S7
TEST(WaiterQueueSchedule,
     CompleteIsNotTurnedAwayForThoseWhoWaitForWhatItHolds) {
  ExploreAtRandom<CompletesBesides>(40'000);
}

}  // namespace
}  // namespace tandem
