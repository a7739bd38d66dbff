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

// Small cases of waiting. Every schedule of each within a bound is tried.
// waiter_queue_, wait_order_ and wake_up_schedule_test.cc have larger cases,
// at random.

constexpr QueueShape Small(uint32_t capacity) {
  return {.pool = {.capacity = capacity,
                   .caches = 2,
                   .reserve = 0,
                   .cache_limit = 2,
                   .biased = true,
                   .cores = 1},
          .records = 4};
}

// One thread gives back the only buffer; another comes and wants it.
struct ReleaseAndSubscribe : QueueTest<ReleaseAndSubscribe, Small(1), 2> {
  void thread(unsigned index) {
    if (index == 0) {
      world().ReleaseAsItIs(buffers);
    } else {
      world().Allocate(world().waiters[0], kReceive);
    }
  }
  void after() {
    Require(world().waiters[0].fate != Fate::kNone, "it has it or waits");
    QueueTest::after();
  }
};

// S4
TEST(WaitingCases, ReleaseAgainstSubscribe) {
  ExploreAll<ReleaseAndSubscribe>({2, 0});
  ExploreAll<ReleaseAndSubscribe>({1, 1});
}

// The releaser's cache goes back to bias with the first buffer; the second goes
// in with that bias, if it is not lost before. The newcomer needs both.
struct BackToBiasAndSubscribe : QueueTest<BackToBiasAndSubscribe, Small(2), 2> {
  void before() {
    QueueTest::before();
    world().Hurry(&world().CacheOf(0));
  }
  void thread(unsigned index) {
    if (index == 0) {
      for (std::byte* const& buffer : buffers) {
        world().ReleaseAsItIs({&buffer, 1});
      }
    } else {
      world().Allocate(world().waiters[0], kPair);
    }
  }
};

// S4, P3
TEST(WaitingCases, BackToBiasAgainstSubscribe) {
  biases_seen = 0;
  ExploreAll<BackToBiasAndSubscribe>({2, 0});
  ExploreAll<BackToBiasAndSubscribe>({1, 1});
  EXPECT_GT(biases_seen, 0u);
}

// The releaser uses the pool for the first time.
struct NewCacheAndSubscribe : QueueTest<NewCacheAndSubscribe, Small(1), 2> {
  void before() { world().TakeFirst(buffers); }
  void thread(unsigned index) {
    if (index == 0) {
      world().ClaimCache();
      world().ReleaseAsItIs(buffers);
    } else {
      world().Allocate(world().waiters[0], kReceive);
    }
  }
};

// S4, P3, P6
TEST(WaitingCases, NewCacheAgainstSubscribe) {
  ExploreAll<NewCacheAndSubscribe>({2, 0});
  ExploreAll<NewCacheAndSubscribe>({1, 1});
}

// A pair waits, and a receive behind it. One thread gives back one buffer or
// both, the other cancels the pair.
struct CancelAndGrant : QueueTest<CancelAndGrant, Small(2), 2> {
  void before() {
    QueueTest::before();
    world().Allocate(world().waiters[0], kPair);
    world().Allocate(world().waiters[1], kReceive);
  }
  void thread(unsigned index) {
    Waiter& first = world().waiters[0];
    if (index == 0) {
      released = 1 + rl::rand(2);
      return world().Release(std::span(buffers).first(released));
    }
    if (world().Cancel(first)) return;
    Require(world().Look(first) == WaiterStatus::kGranted,
            "a wait that can't be cancelled was granted (S5)");
  }
  void after() {
    const Fate fate = world().waiters[0].fate;
    Require(fate == Fate::kCancelled ||
                (fate == Fate::kHasBuffers && released == 2),
            "one of cancel and grant has won (S5)");
    world().RequireNobodySleepsOnBuffers();
    if (released == 1) world().Release(std::span(buffers).last(1));
    world().RequireWholeAgain();
  }

  unsigned released = 0;
};

// S5
TEST(WaitingCases, CancelAgainstGrant) {
  ExploreAll<CancelAndGrant>({2, 0});
  ExploreAll<CancelAndGrant>({1, 1});
}

// P4, S4: one preemption stops it at each step, until the other has done.
TEST(WaitingCases, DrainerStoppedInEveryStep) {
  ExploreAll<StoppedServer<Small(6), 1, true>>({1, 0});
}

// A release is interrupted by a handler that wants a buffer, while another
// thread comes to wait for it.
struct InterruptedPush : QueueTest<InterruptedPush, Small(1), 2> {
  void thread(unsigned index) {
    if (index != 0) {
      world().Allocate(world().waiters[0], kReceive);
      return;
    }
    ArmSignal(
        kAnyStep,
        [](void* self) {
          auto& test = *static_cast<InterruptedPush*>(self);
          test.world().Allocate(test.world().waiters[1], kReceive);
        },
        this);
    world().ReleaseAsItIs(buffers);
    DisarmSignal();
  }
};

// S4, P10: not even what lies in the cache between a push and its look.
TEST(WaitingCases, HandlerInTheMiddleOfAPushOvertakesNoWaiter) {
  ExploreAll<InterruptedPush>({1, 0});
}

}  // namespace
}  // namespace tandem
