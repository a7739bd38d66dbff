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
#include "tandem/tests/pool/testing.h"
#include "tandem/tests/support/full_service.h"
#include "tandem/tests/support/service.h"
#include "tandem/tests/support/waiting_session.h"

namespace tandem {
namespace {

using enum Allocation;

class WaitingTest : public FullServiceTest<> {
 protected:
  WaitingTest() : FullServiceTest({.capacity = 8, .reserve = 2}) {}
};

TEST_F(WaitingTest, ServesCompleteThenPairThenReceive) {
  WaitingSession complete = Named('c'), pair = Named('p'), receive = Named('r');
  service_.GiveBack(3);
  HoldOne(complete);
  service_.TakeAllBut(0);
  ASSERT_EQ(receive.Receive(), kWaiting);
  ASSERT_EQ(pair.Pair(), kWaiting);
  ASSERT_EQ(complete.Pair(), kWaiting);
  service_.GiveBack(1);
  EXPECT_EQ(log_, "c");
  service_.GiveBack(1);
  EXPECT_EQ(log_, "c");
  service_.GiveBack(1);
  EXPECT_EQ(log_, "cp");
  service_.GiveBack(2);  // The receive must leave two.
  EXPECT_EQ(log_, "cp");
  service_.GiveBack(1);
  EXPECT_EQ(log_, "cpr");
}

TEST_F(WaitingTest, ServesFirstComeFirstServedWithinAClass) {
  for (const bool pairs : {true, false}) {
    Service service({.capacity = 32});
    service.TakeAllBut(0);
    std::string order;
    std::deque<WaitingSession> sessions;
    for (const char letter : std::string("abcdefgh")) {
      auto& session = sessions.emplace_back(service, &order, letter);
      ASSERT_EQ(pairs ? session.Pair() : session.Receive(), kWaiting);
    }
    service.GiveBackAll();
    EXPECT_EQ(order, "abcdefgh");
  }
}

// A wait that is served before Allocate returns is an allocation like any
// other: no wake-up.
TEST_F(WaitingTest, WakesNobodyWhoGotItsBuffersAtOnce) {
  service_.GiveBackAll();
  EXPECT_EQ(session_.Pair(), kGranted);
  session_.ReleaseBuffers();
  EXPECT_EQ(session_.Receive(), kGranted);
  EXPECT_EQ(session_.wakes(), 0);
  EXPECT_EQ(session_.FinishWait(), WaitStatus::kNone);
}

TEST_F(WaitingTest, WakesEachWaiterOnce) {
  ASSERT_EQ(session_.Pair(), kWaiting);
  service_.GiveBackAll();
  EXPECT_EQ(session_.wakes(), 1);
  EXPECT_EQ(session_.FinishWait(), WaitStatus::kGranted);
  EXPECT_EQ(session_.FinishWait(), WaitStatus::kNone);
  EXPECT_EQ(service_.Waiting(), 0u);
}

// The buffers come with the wake-up: an allocation in between gets none
// of them.
TEST_F(WaitingTest, HandsBuffersOverWithTheWakeUp) {
  Service service({.capacity = 2, .reserve = 0});
  service.TakeAllBut(0);
  bool other_got_one = true;
  WaitStatus status = WaitStatus::kNone;
  WaitingSession session(service);
  session.on_wake = [&] {
    other_got_one = service.pool().Acquire() != nullptr;
    status = session.FinishWait();
  };
  ASSERT_EQ(session.Pair(), kWaiting);
  service.GiveBackAll();
  EXPECT_FALSE(other_got_one);
  EXPECT_EQ(status, WaitStatus::kGranted);
  EXPECT_TRUE(session.has_buffer(Side::kRequest));
  EXPECT_TRUE(session.has_buffer(Side::kResponse));
}

TEST_F(WaitingTest, AnswersWaitingToASessionThatWaits) {
  ASSERT_EQ(session_.Receive(), kWaiting);
  EXPECT_EQ(session_.AllocateBuffers(), kWaiting);
  EXPECT_EQ(session_.Pair(), kWaiting);
  EXPECT_EQ(session_.AllocateReceiveBuffer(Side::kResponse), kWaiting);
  EXPECT_EQ(service_.Waiting(), 1u);
  // Once granted, the next allocation ends the wait.
  service_.GiveBackAll();
  EXPECT_EQ(session_.AllocateReceiveBuffer(Side::kRequest), kGranted);
  EXPECT_TRUE(session_.has_buffer(Side::kRequest));
  EXPECT_EQ(session_.FinishWait(), WaitStatus::kNone);
}

// One buffer is free while a pair waits for two.
TEST_F(WaitingTest, NoLaterAllocationOvertakesAWaiter) {
  Service service({.capacity = 8, .reserve = 0});
  service.TakeAllBut(1);
  WaitingSession waiter(service), later(service);
  ASSERT_EQ(waiter.Pair(), kWaiting);
  EXPECT_EQ(service.pool().Acquire(), nullptr);
  EXPECT_EQ(later.AllocateReceiveBuffer(Side::kRequest), kExhausted);
  service.GiveBack(1);
  EXPECT_EQ(waiter.FinishWait(), WaitStatus::kGranted);
}

TEST_F(WaitingTest, NoLaterAllocationOfItsClassOvertakesAWaiter) {
  Service service({.capacity = 8, .reserve = 4});
  service.TakeAllBut(4);
  WaitingSession waiter(service), pair(service), later(service);
  ASSERT_EQ(waiter.Receive(), kWaiting);
  ASSERT_EQ(pair.AllocateBuffers(), kGranted);  // A higher one may.
  pair.ReleaseBuffers();
  EXPECT_EQ(later.AllocateReceiveBuffer(Side::kRequest), kExhausted);
  service.GiveBack(1);
  EXPECT_EQ(later.AllocateReceiveBuffer(Side::kRequest), kExhausted);
  EXPECT_EQ(waiter.FinishWait(), WaitStatus::kGranted);
}

// Not even out of its own cache: neither what this thread has just released,
// nor what lay in its cache before.
TEST_F(WaitingTest, NoLaterAllocationOvertakesAWaiterOutOfItsOwnCache) {
  Service service({.capacity = 8, .reserve = 0, .cache_size = 4});
  service.TakeAllBut(1);
  std::byte* const own = service.pool().Acquire();
  service.pool().Release(own);
  ASSERT_EQ(service.pool().Snapshot().cached, 1u);
  WaitingSession waiter(service);
  std::thread([&] { ASSERT_EQ(waiter.Pair(), kWaiting); }).join();
  EXPECT_EQ(service.pool().Snapshot().cached, 0u);
  EXPECT_EQ(service.pool().Acquire(), nullptr);
  service.GiveBack(1);
  EXPECT_EQ(service.pool().Acquire(), nullptr);
  EXPECT_EQ(waiter.FinishWait(), WaitStatus::kGranted);
}

TEST_F(WaitingTest, NobodyWaitsWhileBuffersLieInOtherThreadsCaches) {
  Service service({.capacity = 8, .reserve = 0, .cache_size = 4});
  Companion parked;
  parked.Run([&] { FillCache(service.pool()); });
  service.TakeAllBut(2);
  WaitingSession session(service);
  EXPECT_EQ(session.Pair(), kGranted);
}

TEST_F(WaitingTest, IsServedByAReleaseOnAnotherThread) {
  ASSERT_EQ(session_.Pair(), kWaiting);
  std::thread([&] { service_.GiveBackAll(); }).join();
  EXPECT_EQ(session_.wakes(), 1);
  EXPECT_EQ(session_.FinishWait(), WaitStatus::kGranted);
}

TEST_F(WaitingTest, IsServedByTheEndOfASession) {
  service_.GiveBack(2);
  auto holder = std::make_unique<SessionBuffers>(service_.sessions());
  ASSERT_EQ(holder->AllocateBuffers(), kGranted);
  Fill(*holder, Side::kRequest);
  ASSERT_EQ(session_.Pair(), kWaiting);
  holder.reset();
  EXPECT_EQ(session_.wakes(), 1);
}

TEST_F(WaitingTest, WithoutAFunctionTheWaiterLooksByItself) {
  ASSERT_EQ(session_.AllocateBuffers(Waker{}), kWaiting);
  EXPECT_EQ(session_.FinishWait(), WaitStatus::kWaiting);
  service_.GiveBackAll();
  EXPECT_EQ(session_.FinishWait(), WaitStatus::kGranted);
}

// A chain in which each wake-up returns what it got, which serves the next.
TEST_F(WaitingTest, WakeUpsThatReleaseDoNotNest) {
  int depth = 0, deepest = 0, count = 0;
  std::deque<WaitingSession> chain;
  for (int i = 0; i < 1000; ++i) {
    WaitingSession& link = chain.emplace_back(service_);
    link.on_wake = [&] {
      ++count;
      deepest = std::max(deepest, ++depth);
      EXPECT_EQ(link.FinishWait(), WaitStatus::kGranted);
      link.ReleaseBuffers();
      --depth;
    };
    ASSERT_EQ(link.Pair(), kWaiting);
  }
  service_.GiveBack(2);
  EXPECT_EQ(count, 1000);
  EXPECT_EQ(deepest, 1);
  EXPECT_EQ(service_.Free(), 2u);
}

// The buffers of a grant come first, whatever the thread's cache could serve.
TEST_F(WaitingTest, AllocatingCollectsAGrantThoughTheCacheHasBuffers) {
  ASSERT_EQ(session_.AllocateBuffers(Waker{}), kWaiting);
  service_.GiveBackAll();
  // Until the cache is biased again.
  for (int i = 0; i < 200'000; ++i) {
    service_.pool().Release(service_.pool().Acquire());
  }
  EXPECT_EQ(session_.AllocateBuffers(), kGranted);
  EXPECT_EQ(service_.Free(), 6u);
  EXPECT_EQ(session_.FinishWait(), WaitStatus::kNone);
  session_.ReleaseBuffers();
  EXPECT_EQ(service_.Free(), 8u);
}

// A session that asks again from its own wake-up joins the end of the queue.
TEST_F(WaitingTest, WakeUpMayAskAgainAndThenComesLast) {
  std::deque<WaitingSession> sessions;
  for (const char letter : {'a', 'b', 'c'}) {
    WaitingSession& session = sessions.emplace_back(service_, &log_, letter);
    session.on_wake = [&session] {
      EXPECT_EQ(session.FinishWait(), WaitStatus::kGranted);
      session.ReleaseBuffers();
      if (session.wakes() < 3) {
        EXPECT_EQ(session.Pair(), kWaiting);
      }
    };
    ASSERT_EQ(session.Pair(), kWaiting);
  }
  service_.GiveBack(2);
  EXPECT_EQ(log_, "abcabcabc");
  EXPECT_EQ(service_.Waiting(), 0u);
  EXPECT_EQ(service_.Free(), 2u);
}

// No wake-up is lost between a release and a subscription: whichever of the two
// comes first, the buffers and the waiter meet.
TEST_F(WaitingTest, NoWakeUpIsLostBetweenReleaseAndSubscription) {
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
  WaitingSession session(service);
  for (int i = 1; i <= rounds; ++i) {
    while (turn != 2 * i - 1) std::this_thread::yield();
    if (session.AllocateBuffers(Waker{}) == kWaiting) {
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
