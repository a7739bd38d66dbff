#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/types.h"
#include "tandem/session/waiter_queue.h"
#include "tandem/session/waiter_record.h"
#include "tandem/tests/schedule/explore.h"
#include "tandem/tests/schedule/queue_world.h"
#include "tandem/tests/schedule/relacy_platform.h"

namespace tandem {
namespace {

constexpr QueueShape kThreeBuffers{.pool = TwoCaches(3, 1)};

// A woken session gives all back at once, in the wake-up, or asks for
// more there.
struct BusyWakeUps : QueueTest<BusyWakeUps, kThreeBuffers, 2> {
  void before() {
    QueueTest::before();
    for (Waiter& waiter : world().waiters) {
      waiter.on_wake = [](Waiter& woken, void* self) {
        static_cast<BusyWakeUps*>(self)->OnWake(woken);
      };
      waiter.on_wake_context = this;
    }
    for (size_t i = 0; i < 3; ++i) {
      world().Allocate(world().waiters[i], ClassId(rl::rand(3)));
    }
  }
  void thread(unsigned index) {
    if (index == 0) return world().Release(std::span(buffers).first(2));
    world().Release(std::span(buffers).last(1));
  }
  void OnWake(Waiter& woken) {
    world().GiveBack(woken);
    Waiter& last = world().waiters[3];
    if (asked || rl::rand(2) == 0) return;
    asked = true;
    if (world().Allocate(last, ClassId(rl::rand(3)))) world().GiveBack(last);
  }
  void after() {
    for (size_t i = 0; i < 3; ++i) {
      Require(world().waiters[i].wakes == 1, "each was woken once (S4)");
    }
    Require(!world().Waits(world().waiters[3]), "who asked late as well");
    QueueTest::after();
  }

  bool asked = false;
};

// S4
TEST(WakeUpSchedule, WhatAWakeUpFreesIsServedAfterItAndNotLost) {
  ExploreAtRandom<BusyWakeUps>(50'000);
}

constexpr QueueShape kEightBuffers{.pool = {.capacity = 8,
                                            .caches = 2,
                                            .reserve = 0,
                                            .cache_limit = 1,
                                            .biased = true}};

// P4, S4
TEST(WakeUpSchedule, StoppedThreadHoldsUpNoWakeUpButByWhatIsInItsHands) {
  ExploreAtRandom<StoppedServer<kEightBuffers, 2, false>>(50'000);
}

// A thread goes to sleep on its wait's own word, as BlockUntilServed does,
// while another ends the wait.
struct SleepingThread
    : ScheduleTest<SleepingThread, QueueWorld<kThreeBuffers>, 2> {
  void before() {
    world().ClaimCaches();
    world().TakeFirst(buffers);
    sleeping = this;
    Require(world().queue.TakeOrJoin(nullptr, kComplete, one,
                                     {.wake = Wake, .on_cancel = true},
                                     ticket) == Queue::Joined::kWaiting,
            "no buffer is left");
  }
  void thread(unsigned index) {
    const WaitTicket wait{ticket.load()};
    if (index == 1) {
      if (rl::rand(2) == 0) return world().Release(std::span(buffers).first(1));
      Require(world().queue.Cancel(wait), "nobody has served it");
      cancelled = true;
      return;
    }
    auto& word = world().queue.WordOf(wait);
    const uint64_t seen = word.state.load();
    if (!WaiterState{seen}.waiting()) return;
    word.AnnounceSleeper();
    sleeps = word.state.load() == seen;  // as futex(2) looks
  }
  void after() {
    Require(!sleeps || woken, "nobody sleeps whose wait is over (S4, S5)");
    if (cancelled) return world().Release(buffers);
    Require(world().queue.Redeem(WaitTicket{ticket.load()}, one) ==
                WaiterStatus::kGranted,
            "it is served");
    world().custody.Take(one);
    world().Release(one);
    world().Release(std::span(buffers).last(2));
  }
  static void Wake(void* word) noexcept {
    sleeping->woken |=
        static_cast<SleepWord<RelacyPlatform>*>(word)->MaySleep();
  }

  static SleepingThread* sleeping;
  std::array<std::byte*, 3> buffers;
  std::array<std::byte*, 1> one;
  Queue::TicketWord ticket{0};
  bool sleeps = false;
  bool woken = false;
  bool cancelled = false;
};
SleepingThread* SleepingThread::sleeping = nullptr;

// S4, S5
TEST(WakeUpSchedule, ThreadThatSleepsIsWoken) {
  ExploreAtRandom<SleepingThread>(30'000);
}

// Signal handlers that release, cancel and allocate, in the middle of whatever
// the thread was doing: serving and waking others included.
struct InterruptedSessions : QueueTest<InterruptedSessions, kThreeBuffers, 2> {
  void before() {
    QueueTest::before();
    world().Allocate(world().waiters[2], ClassId(rl::rand(3)));
  }
  void thread(unsigned index) {
    if (index == 1) return Release(2);
    ArmSignal(
        rl::rand(100),
        [](void* self) { static_cast<InterruptedSessions*>(self)->OnSignal(); },
        this);
    switch (rl::rand(3)) {
      case 0:
        Release(0);
        break;
      case 1:
        world().Allocate(world().waiters[0], ClassId(rl::rand(3)));
        world().Cancel(world().waiters[0]);
        break;
      default:
        world().Cancel(world().waiters[2]);
    }
    DisarmSignal();
  }
  void OnSignal() {
    switch (rl::rand(3)) {
      case 0:
        return Release(1);
      case 1:
        world().Allocate(world().waiters[1], ClassId(rl::rand(3)));
        return;
      default:
        if (world().Allocate(world().waiters[1], kComplete)) {
          world().GiveBack(world().waiters[1]);
        }
    }
  }
  void after() {
    world().RequireNobodySleepsOnBuffers();
    for (size_t i = 0; i < buffers.size(); ++i) {
      if (!released[i]) Release(i);
    }
    QueueTest::after();
  }

  void Release(size_t i) {
    released[i] = true;
    world().Release({&buffers[i], 1});
  }

  std::array<bool, 3> released{};
};

// P10
TEST(WakeUpSchedule, HandlerMayReleaseAllocateAndWaitInTheMiddleOfAnything) {
  ExploreAtRandom<InterruptedSessions>(100'000);
}

}  // namespace
}  // namespace tandem
