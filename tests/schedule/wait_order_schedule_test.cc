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

constexpr QueueShape kFourBuffers{.pool = TwoCaches(4, 2)};

// For every allocation that succeeds, and for every wake-up, QueueWorld
// requires that the waiters that came before it began and go first have been
// served. Here buffers arrive one by one while two threads ask for more.
struct LateComers : QueueTest<LateComers, kFourBuffers, 3> {
  void before() {
    QueueTest::before();
    world().Allocate(world().waiters[0], ClassId(rl::rand(3)));
  }
  void thread(unsigned index) {
    if (index == 0) {
      for (std::byte* const& buffer : buffers) world().Release({&buffer, 1});
      return;
    }
    Waiter& waiter = world().waiters[index];
    if (!world().Allocate(waiter, ClassId(rl::rand(3)))) return;
    world().GiveBack(waiter);
    if (index == 1) world().Allocate(world().waiters[3], waiter.id);
  }
};

// S4
TEST(WaitOrderSchedule, LaterAllocationNeverOvertakesAWaiter) {
  ExploreAtRandom<LateComers>(50'000);
}

// The cache of thread 1 is full when another thread runs short: its buffers go
// to the waiter, and not to the cache's owner.
struct OwnerComesLate
    : QueueTest<OwnerComesLate, {.pool = TwoCaches(3, 0)}, 3> {
  void before() {
    QueueTest::before();
    world().custody.Give(std::span(buffers).first(2));
    world().core.Give(&world().CacheOf(1), std::span(buffers).first(2));
  }
  void thread(unsigned index) {
    Waiter& waiter = world().waiters[index];
    switch (index) {
      case 0:
        world().Allocate(waiter, kPair);
        break;
      case 1:
        if (!world().Allocate(waiter, kReceive)) break;
        world().GiveBack(waiter);
        world().Allocate(world().waiters[3], kReceive);
        break;
      default:
        world().Release(std::span(buffers).last(1));
    }
  }
};

// S4
TEST(WaitOrderSchedule, NotEvenOutOfItsOwnCache) {
  ExploreAtRandom<OwnerComesLate>(50'000);
}

// Two of each class wait, in any order of arrival.
struct AllClasses : QueueTest<AllClasses, {.pool = TwoCaches(6, 2)}, 2> {
  void before() {
    QueueTest::before();
    for (Waiter& waiter : world().waiters) {
      waiter.on_wake = [](Waiter& woken, void* self) {
        static_cast<AllClasses*>(self)->RequireFirst(woken);
      };
      waiter.on_wake_context = this;
      world().Allocate(waiter, ClassId(rl::rand(3)));
    }
  }
  void thread(unsigned index) {
    for (size_t i = index; i < buffers.size(); i += 2) {
      world().Release({&buffers[i], 1});
    }
  }
  void RequireFirst(const Waiter& served) {
    for (const Waiter& other : world().waiters) {
      const bool goes_first =
          other.id < served.id || (other.id == served.id && &other < &served);
      Require(!goes_first || !world().Waits(other),
              "complete before pair before receive, and who came first (S8)");
    }
  }
};

// S4, S8
TEST(WaitOrderSchedule, ClassesAreServedByRankAndWithinThemByArrival) {
  ExploreAtRandom<AllClasses>(40'000);
}

// A receive waits for the third of three buffers while two threads pass a pair
// to and fro. Pairs go first, but not forever.
struct OvertakenReceive
    : ScheduleTest<OvertakenReceive,
                   QueueWorld<{.pool = TwoCaches(3, 2), .max_overtakes = 1}>,
                   3> {
  void before() {
    world().ClaimCaches();
    std::byte* buffer;
    world().TakeFirst({&buffer, 1});
    held = buffer;
    Waiter& receive = world().waiters[0];
    receive.on_wake = [](Waiter& woken, void* self) {
      static_cast<OvertakenReceive*>(self)->world().GiveBack(woken);
    };
    receive.on_wake_context = this;
    Require(!world().Allocate(receive, kReceive), "two are the reserve");
  }
  void thread(unsigned index) {
    if (index == 0) {
      given.Wait();
      return world().Release({&held, 1});
    }
    for (int i = 0; i < 3; ++i) {
      Waiter& pair = world().waiters[index];
      const bool receive_waits = world().Waits(world().waiters[0]);
      if (!world().Allocate(pair, kPair)) {
        // Behind the receive, or the other thread has them: the third buffer
        // comes now.
        given.Happen();
        pair.woken.Wait();
        if (pair.fate == Fate::kWaiting) world().Look(pair);
        pair.woken = {};
      }
      if (receive_waits && world().Waits(world().waiters[0])) ++overtakes;
      // Each of the two threads may be past its check already.
      Require(overtakes <= 1 + 2, "it is overtaken a bounded number of times");
      world().GiveBack(pair);
    }
    given.Happen();
  }
  void after() {
    Require(world().waiters[0].wakes == 1, "the receive was served in the end");
    world().RequireNobodySleepsOnBuffers();
    world().RequireWholeAgain();
  }

  std::byte* held;
  Event given;
  int overtakes = 0;
};

// S8
TEST(WaitOrderSchedule, LowerRankIsOvertakenABoundedNumberOfTimes) {
  ExploreAtRandom<OvertakenReceive>(50'000);
}

// Sessions as S6 wants them: a session that was served gives all back before it
// asks again, or asks for the other buffer.
struct Sessions
    : ScheduleTest<Sessions,
                   QueueWorld<{.pool = TwoCaches(3, 2), .max_overtakes = 1}>,
                   3> {
  void before() { world().ClaimCaches(); }
  void thread(unsigned index) {
    for (int i = 0; i < 2; ++i) {
      if (rl::rand(2) == 0) {
        Get(index, kPair);
      } else {
        Get(index, kReceive);
        std::byte* const one = world().waiters[index].storage[0];
        if (rl::rand(2) == 0) {
          world().waiters[index].fate = Fate::kNone;
          Get(index, kComplete);
          world().Release({&one, 1});
        }
      }
      world().GiveBack(world().waiters[index]);
    }
  }
  // Waits until it is served; if no thread serves it, that is a deadlock.
  void Get(unsigned index, ClassId id) {
    Waiter& waiter = world().waiters[index];
    if (world().Allocate(waiter, id)) return;
    waiter.woken.Wait();
    waiter.woken = {};
    Require(world().Look(waiter) == WaiterStatus::kGranted,
            "buffers come with the wake-up (S4)");
  }
  void after() {
    world().RequireNobodySleepsOnBuffers();
    world().RequireWholeAgain();
  }
};

// S6, P4
TEST(WaitOrderSchedule, EverySessionIsServedInTheEnd) {
  ExploreAtRandom<Sessions>(50'000);
}

}  // namespace
}  // namespace tandem
