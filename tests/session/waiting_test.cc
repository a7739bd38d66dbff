// S4: order of service, direct hand-over, wake-ups that do not nest.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/session/session_test_util.h"

namespace tandem {
namespace {

TEST(WaitingTest, ServesCompleteThenPairThenReceive) {
  Service service({.capacity = 16});
  SessionBuffers complete(service.sessions());
  HoldOne(complete);
  service.TakeAllBut(0);
  std::string order;
  LetterWaker r(order, 'r'), p(order, 'p'), c(order, 'c');
  SessionBuffers pair(service.sessions());
  SessionBuffers receive(service.sessions());
  ASSERT_EQ(receive.AllocateReceiveBuffer(Side::kRequest, r),
            Allocation::kWaiting);
  ASSERT_EQ(pair.AllocateBuffers(p), Allocation::kWaiting);
  ASSERT_EQ(complete.AllocateBuffers(c), Allocation::kWaiting);
  service.GiveBack(1);
  EXPECT_EQ(order, "c");
  service.GiveBack(1);
  EXPECT_EQ(order, "c");
  service.GiveBack(1);
  EXPECT_EQ(order, "cp");
  service.GiveBack(2);  // The receive must leave two.
  EXPECT_EQ(order, "cp");
  service.GiveBack(1);
  EXPECT_EQ(order, "cpr");
  service.GiveBackAll();
}

TEST(WaitingTest, ServesFirstComeFirstServedWithinAClass) {
  for (const bool pairs : {true, false}) {
    Service service({.capacity = 32});
    service.TakeAllBut(0);
    std::string order;
    std::deque<LetterWaker> wakers;
    std::deque<SessionBuffers> sessions;
    for (const char letter : std::string("abcdefgh")) {
      LetterWaker& waker = wakers.emplace_back(order, letter);
      SessionBuffers& session = sessions.emplace_back(service.sessions());
      ASSERT_EQ(pairs ? session.AllocateBuffers(waker)
                      : session.AllocateReceiveBuffer(Side::kRequest, waker),
                Allocation::kWaiting);
    }
    service.GiveBackAll();
    EXPECT_EQ(order, "abcdefgh");
  }
}

// A wait that is served before Allocate returns is an allocation like any
// other: no wake-up.
TEST(WaitingTest, WakesNobodyWhoGotItsBuffersAtOnce) {
  Service service({.capacity = 8});
  CountingWaker waker;
  SessionBuffers session(service.sessions());
  EXPECT_EQ(session.AllocateBuffers(waker), Allocation::kGranted);
  session.ReleaseBuffers();
  EXPECT_EQ(session.AllocateReceiveBuffer(Side::kRequest, waker),
            Allocation::kGranted);
  EXPECT_EQ(waker.calls(), 0);
  EXPECT_EQ(session.FinishWait(), WaitStatus::kNone);
}

TEST(WaitingTest, WakesEachWaiterOnce) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  CountingWaker waker;
  SessionBuffers session(service.sessions());
  ASSERT_EQ(session.AllocateBuffers(waker), Allocation::kWaiting);
  service.GiveBackAll();
  EXPECT_EQ(waker.calls(), 1);
  EXPECT_EQ(session.FinishWait(), WaitStatus::kGranted);
  EXPECT_EQ(session.FinishWait(), WaitStatus::kNone);
  EXPECT_EQ(service.Waiting(), 0u);
}

// The buffers come with the wake-up: an allocation in between gets none
// of them.
TEST(WaitingTest, HandsBuffersOverWithTheWakeUp) {
  Service service({.capacity = 2, .reserve = 0});
  service.TakeAllBut(0);
  struct Woken {
    Service& service;
    SessionBuffers session;
    bool other_got_one = true;
    WaitStatus status = WaitStatus::kNone;
  } woken{service, SessionBuffers(service.sessions())};
  const Waker waker{[](void* context) noexcept {
                      auto& self = *static_cast<Woken*>(context);
                      self.other_got_one =
                          self.service.pool().Acquire() != nullptr;
                      self.status = self.session.FinishWait();
                    },
                    &woken};
  ASSERT_EQ(woken.session.AllocateBuffers(waker), Allocation::kWaiting);
  service.GiveBackAll();
  EXPECT_FALSE(woken.other_got_one);
  EXPECT_EQ(woken.status, WaitStatus::kGranted);
  EXPECT_TRUE(woken.session.has_buffer(Side::kRequest));
  EXPECT_TRUE(woken.session.has_buffer(Side::kResponse));
}

TEST(WaitingTest, AnswersWaitingToASessionThatWaits) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  SessionBuffers session(service.sessions());
  ASSERT_EQ(session.AllocateReceiveBuffer(Side::kRequest, Waker{}),
            Allocation::kWaiting);
  EXPECT_EQ(session.AllocateBuffers(), Allocation::kWaiting);
  EXPECT_EQ(session.AllocateBuffers(Waker{}), Allocation::kWaiting);
  EXPECT_EQ(session.AllocateReceiveBuffer(Side::kResponse),
            Allocation::kWaiting);
  EXPECT_EQ(service.Waiting(), 1u);
  // Once granted, the next allocation ends the wait.
  service.GiveBackAll();
  EXPECT_EQ(session.AllocateReceiveBuffer(Side::kRequest),
            Allocation::kGranted);
  EXPECT_TRUE(session.has_buffer(Side::kRequest));
  EXPECT_EQ(session.FinishWait(), WaitStatus::kNone);
}

// One buffer is free while a pair waits for two.
TEST(WaitingTest, NoLaterAllocationOvertakesAWaiter) {
  Service service({.capacity = 8, .reserve = 0});
  service.TakeAllBut(1);
  SessionBuffers waiter(service.sessions());
  ASSERT_EQ(waiter.AllocateBuffers(Waker{}), Allocation::kWaiting);
  EXPECT_EQ(service.pool().Acquire(), nullptr);
  SessionBuffers later(service.sessions());
  EXPECT_EQ(later.AllocateReceiveBuffer(Side::kRequest),
            Allocation::kExhausted);
  service.GiveBack(1);
  EXPECT_EQ(waiter.FinishWait(), WaitStatus::kGranted);
  service.GiveBackAll();
}

TEST(WaitingTest, NoLaterAllocationOfItsClassOvertakesAWaiter) {
  Service service({.capacity = 8, .reserve = 4});
  service.TakeAllBut(4);
  SessionBuffers waiter(service.sessions());
  ASSERT_EQ(waiter.AllocateReceiveBuffer(Side::kRequest, Waker{}),
            Allocation::kWaiting);
  SessionBuffers pair(service.sessions());
  ASSERT_EQ(pair.AllocateBuffers(), Allocation::kGranted);  // A higher one may.
  pair.ReleaseBuffers();
  SessionBuffers later(service.sessions());
  EXPECT_EQ(later.AllocateReceiveBuffer(Side::kRequest),
            Allocation::kExhausted);
  service.GiveBack(1);
  EXPECT_EQ(later.AllocateReceiveBuffer(Side::kRequest),
            Allocation::kExhausted);
  EXPECT_EQ(waiter.FinishWait(), WaitStatus::kGranted);
  service.GiveBackAll();
}

// Not even out of its own cache: neither what this thread has just released,
// nor what lay in its cache before.
TEST(WaitingTest, NoLaterAllocationOvertakesAWaiterOutOfItsOwnCache) {
  Service service({.capacity = 8, .reserve = 0, .cache_size = 4});
  service.TakeAllBut(1);
  std::byte* const own = service.pool().Acquire();
  service.pool().Release(own);
  ASSERT_EQ(service.pool().Snapshot().cached, 1u);
  SessionBuffers waiter(service.sessions());
  std::thread([&] {
    ASSERT_EQ(waiter.AllocateBuffers(Waker{}), Allocation::kWaiting);
  }).join();
  EXPECT_EQ(service.pool().Snapshot().cached, 0u);
  EXPECT_EQ(service.pool().Acquire(), nullptr);
  service.GiveBack(1);
  EXPECT_EQ(service.pool().Acquire(), nullptr);
  EXPECT_EQ(waiter.FinishWait(), WaitStatus::kGranted);
  service.GiveBackAll();
}

TEST(WaitingTest, NobodyWaitsWhileBuffersLieInOtherThreadsCaches) {
  Service service({.capacity = 8, .reserve = 0, .cache_size = 4});
  const ParkedThread parked(service.pool());
  service.TakeAllBut(2);
  SessionBuffers session(service.sessions());
  EXPECT_EQ(session.AllocateBuffers(Waker{}), Allocation::kGranted);
  service.GiveBackAll();
}

TEST(WaitingTest, IsServedByAReleaseOnAnotherThread) {
  Service service({.capacity = 4});
  service.TakeAllBut(0);
  CountingWaker waker;
  SessionBuffers session(service.sessions());
  ASSERT_EQ(session.AllocateBuffers(waker), Allocation::kWaiting);
  std::thread([&] { service.GiveBackAll(); }).join();
  EXPECT_EQ(waker.calls(), 1);
  EXPECT_EQ(session.FinishWait(), WaitStatus::kGranted);
}

TEST(WaitingTest, IsServedByTheEndOfASession) {
  Service service({.capacity = 3});
  auto holder = std::make_unique<SessionBuffers>(service.sessions());
  ASSERT_EQ(holder->AllocateBuffers(), Allocation::kGranted);
  Fill(*holder, Side::kRequest);
  CountingWaker waker;
  SessionBuffers session(service.sessions());
  ASSERT_EQ(session.AllocateBuffers(waker), Allocation::kWaiting);
  holder.reset();
  EXPECT_EQ(waker.calls(), 1);
}

TEST(WaitingTest, WithoutAFunctionTheWaiterLooksByItself) {
  Service service({.capacity = 4});
  service.TakeAllBut(0);
  SessionBuffers session(service.sessions());
  ASSERT_EQ(session.AllocateBuffers(Waker{}), Allocation::kWaiting);
  EXPECT_EQ(session.FinishWait(), WaitStatus::kWaiting);
  service.GiveBackAll();
  EXPECT_EQ(session.FinishWait(), WaitStatus::kGranted);
}

// A chain in which each wake-up returns what it got, which serves the next.
class ChainLink {
 public:
  ChainLink(Service& service, int& depth, int& deepest, int& count)
      : session_(service.sessions()),
        depth_(depth),
        deepest_(deepest),
        count_(count) {}

  void Wait() {
    ASSERT_EQ(session_.AllocateBuffers(Waker{Wake, this}),
              Allocation::kWaiting);
  }

 private:
  static void Wake(void* context) noexcept {
    auto& self = *static_cast<ChainLink*>(context);
    ++self.count_;
    self.deepest_ = std::max(self.deepest_, ++self.depth_);
    EXPECT_EQ(self.session_.FinishWait(), WaitStatus::kGranted);
    self.session_.ReleaseBuffers();
    --self.depth_;
  }
  SessionBuffers session_;
  int& depth_;
  int& deepest_;
  int& count_;
};

TEST(WaitingTest, WakeUpsThatReleaseDoNotNest) {
  Service service({.capacity = 2, .reserve = 0});
  service.TakeAllBut(0);
  int depth = 0, deepest = 0, count = 0;
  std::deque<ChainLink> chain;
  for (int i = 0; i < 1000; ++i) {
    chain.emplace_back(service, depth, deepest, count).Wait();
  }
  service.GiveBackAll();
  EXPECT_EQ(count, 1000);
  EXPECT_EQ(deepest, 1);
  EXPECT_EQ(service.Free(), 2u);
}

// A session that asks again from its own wake-up joins the end of the queue.
class Insistent {
 public:
  Insistent(Service& service, std::string& order, char letter)
      : session_(service.sessions()), order_(order), letter_(letter) {}

  Allocation Ask() { return session_.AllocateBuffers(Waker{Wake, this}); }

 private:
  static void Wake(void* context) noexcept {
    auto& self = *static_cast<Insistent*>(context);
    self.order_ += self.letter_;
    EXPECT_EQ(self.session_.FinishWait(), WaitStatus::kGranted);
    self.session_.ReleaseBuffers();
    if (++self.turns_ < 3) {
      EXPECT_EQ(self.Ask(), Allocation::kWaiting);
    }
  }
  SessionBuffers session_;
  std::string& order_;
  const char letter_;
  int turns_ = 0;
};

// The buffers of a grant come first, whatever the thread's cache could serve.
TEST(WaitingTest, AllocatingCollectsAGrantThoughTheCacheHasBuffers) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  SessionBuffers session(service.sessions());
  ASSERT_EQ(session.AllocateBuffers(Waker{}), Allocation::kWaiting);
  service.GiveBackAll();
  // Until the cache is biased again.
  for (int i = 0; i < 200'000; ++i) {
    service.pool().Release(service.pool().Acquire());
  }
  EXPECT_EQ(session.AllocateBuffers(), Allocation::kGranted);
  EXPECT_EQ(service.Free(), 6u);
  EXPECT_EQ(session.FinishWait(), WaitStatus::kNone);
  session.ReleaseBuffers();
  EXPECT_EQ(service.Free(), 8u);
}

TEST(WaitingTest, WakeUpMayAskAgainAndThenComesLast) {
  Service service({.capacity = 2, .reserve = 0});
  service.TakeAllBut(0);
  std::string order;
  std::deque<Insistent> sessions;
  for (const char letter : {'a', 'b', 'c'}) {
    ASSERT_EQ(sessions.emplace_back(service, order, letter).Ask(),
              Allocation::kWaiting);
  }
  service.GiveBackAll();
  EXPECT_EQ(order, "abcabcabc");
  EXPECT_EQ(service.Waiting(), 0u);
  EXPECT_EQ(service.Free(), 2u);
}

// No wake-up is lost between a release and a subscription: whichever of the two
// comes first, the buffers and the waiter meet.
TEST(WaitingTest, NoWakeUpIsLostBetweenReleaseAndSubscription) {
  Service service({.capacity = 2, .reserve = 0, .cache_size = 2});
  std::atomic<int> turn{0};
  const int rounds = Rounds(60'000);
  std::thread releaser([&] {
    for (int i = 1; i <= rounds; ++i) {
      std::byte* const one = service.pool().Acquire();
      std::byte* const two = service.pool().Acquire();
      ASSERT_NE(two, nullptr);
      turn = 2 * i - 1;
      service.pool().Release(one);
      service.pool().Release(two);
      while (turn != 2 * i) std::this_thread::yield();
    }
  });
  SessionBuffers session(service.sessions());
  for (int i = 1; i <= rounds; ++i) {
    while (turn != 2 * i - 1) std::this_thread::yield();
    if (session.AllocateBuffers(Waker{}) == Allocation::kWaiting) {
      const auto patience =
          std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (session.FinishWait() == WaitStatus::kWaiting) {
        Require(std::chrono::steady_clock::now() < patience, "a lost wake-up");
        std::this_thread::yield();
      }
    }
    ASSERT_TRUE(session.has_buffer(Side::kResponse));
    session.ReleaseBuffers();
    turn = 2 * i;
  }
  releaser.join();
}

}  // namespace
}  // namespace tandem
