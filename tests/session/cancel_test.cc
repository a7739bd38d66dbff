// S5: leaving a wait at any moment, from any thread.

#include <array>
#include <atomic>
#include <cstddef>
#include <deque>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/pool/arena.h"
#include "tandem/tests/pool/testing.h"
#include "tandem/tests/support/full_service.h"
#include "tandem/tests/support/service.h"
#include "tandem/tests/support/waiting_session.h"

namespace tandem {
namespace {

using enum Allocation;

class CancelTest : public FullServiceTest<> {
 protected:
  CancelTest() : FullServiceTest({.capacity = 8}) {}
};

TEST_F(CancelTest, EndsTheWaitWithoutBuffersAndWithoutWakeUp) {
  ASSERT_EQ(session_.Pair(), kWaiting);
  EXPECT_TRUE(session_.CancelWait());
  EXPECT_EQ(service_.Waiting(), 0u);
  service_.GiveBackAll();
  EXPECT_EQ(session_.wakes(), 0);
  EXPECT_EQ(session_.FinishWait(), WaitStatus::kCancelled);
  EXPECT_EQ(session_.FinishWait(), WaitStatus::kNone);
  EXPECT_EQ(service_.Free(), 8u);
}

// A waker may ask for a call on cancel and have no function.
TEST_F(CancelTest, FieldOfAWakerWithoutAFunctionTellsNobody) {
  ASSERT_EQ(session_.AllocateBuffers(Waker{.on_cancel = true}), kWaiting);
  EXPECT_TRUE(session_.CancelWait());
  EXPECT_EQ(session_.FinishWait(), WaitStatus::kCancelled);
  {
    SessionBuffers destroyed(service_.sessions());
    ASSERT_EQ(destroyed.AllocateBuffers(Waker{.on_cancel = true}), kWaiting);
  }
  EXPECT_EQ(service_.Waiting(), 0u);
  int context = 0;
  SessionBuffers served(service_.sessions());
  ASSERT_EQ(
      served.AllocateBuffers(Waker{.context = &context, .on_cancel = true}),
      kWaiting);
  service_.GiveBackAll();
  EXPECT_EQ(served.FinishWait(), WaitStatus::kGranted);
}

TEST_F(CancelTest, LosesToAWakeUpThatCameFirst) {
  ASSERT_EQ(session_.Pair(), kWaiting);
  service_.GiveBackAll();
  EXPECT_FALSE(session_.CancelWait());
  EXPECT_EQ(session_.wakes(), 1);
  EXPECT_EQ(session_.FinishWait(), WaitStatus::kGranted);
  EXPECT_TRUE(session_.has_buffer(Side::kRequest));
}

TEST_F(CancelTest, OfNoWaitIsFalse) {
  EXPECT_FALSE(session_.CancelWait());
  EXPECT_EQ(session_.FinishWait(), WaitStatus::kNone);
}

TEST_F(CancelTest, OfACancelledWaitIsFalse) {
  ASSERT_EQ(session_.Pair(), kWaiting);
  EXPECT_TRUE(session_.CancelWait());
  EXPECT_FALSE(session_.CancelWait());
}

TEST_F(CancelTest, FromAnotherThreadShowsAtTheNextLook) {
  ASSERT_EQ(session_.Pair(), kWaiting);
  std::thread([&] { EXPECT_TRUE(session_.CancelWait()); }).join();
  // The next allocation ends the cancelled wait and begins a new one.
  EXPECT_EQ(session_.Pair(), kWaiting);
  service_.GiveBackAll();
  EXPECT_EQ(session_.FinishWait(), WaitStatus::kGranted);
}

// A session that leaves does not hold up those behind it.
TEST_F(CancelTest, ServesThoseThatItHeldUp) {
  Service service({.capacity = 8, .reserve = 0});
  service.TakeAllBut(1);
  WaitingSession pair(service), receive(service);
  ASSERT_EQ(pair.Pair(), kWaiting);
  ASSERT_EQ(receive.Receive(), kWaiting);
  EXPECT_TRUE(pair.CancelWait());
  EXPECT_EQ(pair.wakes(), 0);
  EXPECT_EQ(receive.wakes(), 1);
  EXPECT_EQ(receive.FinishWait(), WaitStatus::kGranted);
}

TEST_F(CancelTest, InTheMiddleKeepsTheOrderOfTheOthers) {
  std::deque<WaitingSession> sessions;
  for (const char letter : std::string("abcdefg")) {
    ASSERT_EQ(sessions.emplace_back(service_, &log_, letter).Pair(), kWaiting);
  }
  EXPECT_TRUE(sessions[0].CancelWait());
  EXPECT_TRUE(sessions[3].CancelWait());
  EXPECT_TRUE(sessions[6].CancelWait());
  service_.GiveBackAll();
  EXPECT_EQ(log_, "bcef");
}

TEST_F(CancelTest, EndOfASessionLeavesItsWait) {
  ASSERT_EQ(Named('a').Pair(), kWaiting);  // and ends at once
  EXPECT_EQ(service_.Waiting(), 0u);
  service_.GiveBackAll();
  EXPECT_EQ(log_, "");
  EXPECT_EQ(service_.Free(), 8u);
}

TEST_F(CancelTest, EndOfASessionReleasesWhatItsWaitHadBeenGranted) {
  {
    WaitingSession session(service_);
    ASSERT_EQ(session.Pair(), kWaiting);
    service_.GiveBackAll();
  }
  EXPECT_EQ(service_.Free(), 8u);
}

// Exactly one of cancel and wake-up wins, whichever threads call them.
TEST_F(CancelTest, ExactlyOneOfCancelAndWakeUpWins) {
  std::atomic<int> turn{0};
  std::atomic<bool> cancelled{false};
  const int rounds = Rounds(60'000);
  std::thread canceller([&] {
    for (int i = 1; i <= rounds; ++i) {
      while (turn != 2 * i - 1) std::this_thread::yield();
      cancelled = session_.CancelWait();
      turn = 2 * i;
    }
  });
  int granted = 0;
  for (int i = 1; i <= rounds; ++i) {
    ASSERT_EQ(session_.Pair(), kWaiting);
    turn = 2 * i - 1;
    service_.GiveBack(2);
    while (turn != 2 * i) std::this_thread::yield();
    const WaitStatus status = session_.FinishWait();
    ASSERT_EQ(status,
              cancelled ? WaitStatus::kCancelled : WaitStatus::kGranted);
    granted += status == WaitStatus::kGranted;
    ASSERT_EQ(session_.wakes(), granted);
    ASSERT_EQ(session_.has_buffer(Side::kRequest), !cancelled);
    session_.ReleaseBuffers();
    ASSERT_EQ(service_.Free(), 2u);
    service_.TakeAllBut(0);
  }
  canceller.join();
  EXPECT_EQ(service_.Waiting(), 0u);
}

TEST_F(CancelTest, OfManyThreadsExactlyOneWins) {
  constexpr int kThreads = 3;
  std::atomic<int> round{0};
  std::array<std::atomic<int>, kThreads> done = {};
  std::atomic<int> wins{0};
  const int rounds = Rounds(20'000);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 1; i <= rounds; ++i) {
        while (round < i) std::this_thread::yield();
        wins += session_.CancelWait();
        done[t] = i;
      }
    });
  }
  for (int i = 1; i <= rounds; ++i) {
    ASSERT_EQ(session_.Pair(), kWaiting);
    round = i;
    for (auto& it : done) {
      while (it < i) std::this_thread::yield();
    }
    ASSERT_EQ(session_.FinishWait(), WaitStatus::kCancelled);
    ASSERT_EQ(wins, i);
  }
  for (std::thread& thread : threads) thread.join();
}

// The records of sessions that left return while the head of the queue stays:
// with room for two waiters there are about 500 records, and two million waits.
TEST_F(CancelTest, MemoryStaysBoundedBehindALiveHead) {
  Service service({.capacity = 4}, {.max_waiters = 2});
  service.TakeAllBut(0);
  WaitingSession head(service), session(service);
  ASSERT_EQ(head.Pair(), kWaiting);
  const int rounds = Rounds(200'000);
  for (int i = 0; i < rounds; ++i) {
    ASSERT_EQ(session.Pair(), kWaiting);
    ASSERT_TRUE(session.CancelWait());
  }
  EXPECT_EQ(head.FinishWait(), WaitStatus::kWaiting);
  EXPECT_EQ(session.FinishWait(), WaitStatus::kCancelled);
  service.GiveBackAll();
  EXPECT_EQ(head.FinishWait(), WaitStatus::kGranted);
  EXPECT_EQ(head.wakes(), 1);
}

// A million sessions leave in random order, and no thread ever releases a
// buffer. Nothing is allocated for them.
TEST_F(CancelTest, MillionWithoutAReleaseTakeNoMemory) {
  constexpr size_t kSessions = 64;
  Service service({.capacity = 8}, {.max_waiters = kSessions});
  service.TakeAllBut(0);
  std::array<std::optional<SessionBuffers>, kSessions> sessions;
  std::mt19937_64 random(TestSeed());
  const auto wait = [&](std::optional<SessionBuffers>& session) {
    session.emplace(service.sessions());
    return random() % 2 == 0
               ? session->AllocateBuffers(Waker{})
               : session->AllocateReceiveBuffer(Side::kRequest, Waker{});
  };
  for (auto& session : sessions) {
    ASSERT_EQ(wait(session), kWaiting);
  }
  bool all_left = true;
  const size_t before = AllocationsSoFar();
  const int rounds = Rounds(1'000'000);
  for (int i = 0; i < rounds; ++i) {
    auto& session = sessions[random() % kSessions];
    all_left &= session->CancelWait();
    all_left &= wait(session) == kWaiting;
  }
  EXPECT_EQ(AllocationsSoFar(), before);
  EXPECT_TRUE(all_left);
  EXPECT_EQ(service.Waiting(), kSessions);
  for (auto& session : sessions) session.reset();
  service.GiveBackAll();
  EXPECT_EQ(service.Free(), 8u);
}

// The same from several threads, in all classes, each behind a live head.
TEST_F(CancelTest, MemoryStaysBoundedUnderContention) {
  Service service({.capacity = 8}, {.max_waiters = 6});
  WaitingSession complete(service), pair(service), receive(service);
  HoldOne(complete);
  service.TakeAllBut(0);
  ASSERT_EQ(complete.Pair(), kWaiting);
  ASSERT_EQ(pair.Pair(), kWaiting);
  ASSERT_EQ(receive.Receive(), kWaiting);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&service, t] {
      WaitingSession session(service);
      for (int i = 0; i < Rounds(200'000); ++i) {
        ASSERT_EQ((i + t) % 2 == 0 ? session.Pair() : session.Receive(),
                  kWaiting);
        ASSERT_TRUE(session.CancelWait());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(service.Waiting(), 3u);
  service.GiveBackAll();
  EXPECT_EQ(complete.FinishWait(), WaitStatus::kGranted);
  EXPECT_EQ(pair.FinishWait(), WaitStatus::kGranted);
  EXPECT_EQ(receive.FinishWait(), WaitStatus::kGranted);
}

}  // namespace
}  // namespace tandem
