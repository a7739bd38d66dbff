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
#include "tandem/tests/session/session_test_util.h"

namespace tandem {
namespace {

TEST(CancelTest, EndsTheWaitWithoutBuffersAndWithoutWakeUp) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  CountingWaker waker;
  SessionBuffers session(service.sessions());
  ASSERT_EQ(session.AllocateBuffers(waker), Allocation::kWaiting);
  EXPECT_TRUE(session.CancelWait());
  EXPECT_EQ(service.Waiting(), 0u);
  service.GiveBackAll();
  EXPECT_EQ(waker.calls(), 0);
  EXPECT_EQ(session.FinishWait(), WaitStatus::kCancelled);
  EXPECT_EQ(session.FinishWait(), WaitStatus::kNone);
  EXPECT_EQ(service.Free(), 8u);
}

// A waker may ask for a call on cancel and have no function.
TEST(CancelTest, FieldOfAWakerWithoutAFunctionTellsNobody) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  SessionBuffers session(service.sessions());
  ASSERT_EQ(session.AllocateBuffers(Waker{.on_cancel = true}),
            Allocation::kWaiting);
  EXPECT_TRUE(session.CancelWait());
  EXPECT_EQ(session.FinishWait(), WaitStatus::kCancelled);
  {
    SessionBuffers destroyed(service.sessions());
    ASSERT_EQ(destroyed.AllocateBuffers(Waker{.on_cancel = true}),
              Allocation::kWaiting);
  }
  EXPECT_EQ(service.Waiting(), 0u);
  int context = 0;
  SessionBuffers served(service.sessions());
  ASSERT_EQ(
      served.AllocateBuffers(Waker{.context = &context, .on_cancel = true}),
      Allocation::kWaiting);
  service.GiveBackAll();
  EXPECT_EQ(served.FinishWait(), WaitStatus::kGranted);
}

TEST(CancelTest, LosesToAWakeUpThatCameFirst) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  CountingWaker waker;
  SessionBuffers session(service.sessions());
  ASSERT_EQ(session.AllocateBuffers(waker), Allocation::kWaiting);
  service.GiveBackAll();
  EXPECT_FALSE(session.CancelWait());
  EXPECT_EQ(waker.calls(), 1);
  EXPECT_EQ(session.FinishWait(), WaitStatus::kGranted);
  EXPECT_TRUE(session.has_buffer(Side::kRequest));
}

TEST(CancelTest, OfNoWaitIsFalse) {
  Service service({.capacity = 8});
  SessionBuffers session(service.sessions());
  EXPECT_FALSE(session.CancelWait());
  EXPECT_EQ(session.FinishWait(), WaitStatus::kNone);
}

TEST(CancelTest, OfACancelledWaitIsFalse) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  SessionBuffers session(service.sessions());
  ASSERT_EQ(session.AllocateBuffers(Waker{}), Allocation::kWaiting);
  EXPECT_TRUE(session.CancelWait());
  EXPECT_FALSE(session.CancelWait());
  service.GiveBackAll();
}

TEST(CancelTest, FromAnotherThreadShowsAtTheNextLook) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  SessionBuffers session(service.sessions());
  ASSERT_EQ(session.AllocateBuffers(Waker{}), Allocation::kWaiting);
  std::thread([&] { EXPECT_TRUE(session.CancelWait()); }).join();
  // The next allocation ends the cancelled wait and begins a new one.
  EXPECT_EQ(session.AllocateBuffers(Waker{}), Allocation::kWaiting);
  service.GiveBackAll();
  EXPECT_EQ(session.FinishWait(), WaitStatus::kGranted);
}

// A session that leaves does not hold up those behind it.
TEST(CancelTest, ServesThoseThatItHeldUp) {
  Service service({.capacity = 8, .reserve = 0});
  service.TakeAllBut(1);
  CountingWaker first, second;
  SessionBuffers pair(service.sessions());
  SessionBuffers receive(service.sessions());
  ASSERT_EQ(pair.AllocateBuffers(first), Allocation::kWaiting);
  ASSERT_EQ(receive.AllocateReceiveBuffer(Side::kRequest, second),
            Allocation::kWaiting);
  EXPECT_TRUE(pair.CancelWait());
  EXPECT_EQ(first.calls(), 0);
  EXPECT_EQ(second.calls(), 1);
  EXPECT_EQ(receive.FinishWait(), WaitStatus::kGranted);
  service.GiveBackAll();
}

TEST(CancelTest, InTheMiddleKeepsTheOrderOfTheOthers) {
  Service service({.capacity = 16});
  service.TakeAllBut(0);
  std::string order;
  std::deque<LetterWaker> wakers;
  std::deque<SessionBuffers> sessions;
  for (const char letter : std::string("abcdefg")) {
    ASSERT_EQ(sessions.emplace_back(service.sessions())
                  .AllocateBuffers(wakers.emplace_back(order, letter)),
              Allocation::kWaiting);
  }
  EXPECT_TRUE(sessions[0].CancelWait());
  EXPECT_TRUE(sessions[3].CancelWait());
  EXPECT_TRUE(sessions[6].CancelWait());
  service.GiveBackAll();
  EXPECT_EQ(order, "bcef");
}

TEST(CancelTest, EndOfASessionLeavesItsWait) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  CountingWaker waker;
  {
    SessionBuffers session(service.sessions());
    ASSERT_EQ(session.AllocateBuffers(waker), Allocation::kWaiting);
  }
  EXPECT_EQ(service.Waiting(), 0u);
  service.GiveBackAll();
  EXPECT_EQ(waker.calls(), 0);
  EXPECT_EQ(service.Free(), 8u);
}

TEST(CancelTest, EndOfASessionReleasesWhatItsWaitHadBeenGranted) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  {
    SessionBuffers session(service.sessions());
    ASSERT_EQ(session.AllocateBuffers(Waker{}), Allocation::kWaiting);
    service.GiveBackAll();
  }
  EXPECT_EQ(service.Free(), 8u);
}

// Exactly one of cancel and wake-up wins, whichever threads call them.
TEST(CancelTest, ExactlyOneOfCancelAndWakeUpWins) {
  Service service({.capacity = 4});
  CountingWaker waker;
  SessionBuffers session(service.sessions());
  std::atomic<int> turn{0};
  std::atomic<bool> cancelled{false};
  const int rounds = Rounds(60'000);
  std::thread canceller([&] {
    for (int i = 1; i <= rounds; ++i) {
      while (turn != 2 * i - 1) std::this_thread::yield();
      cancelled = session.CancelWait();
      turn = 2 * i;
    }
  });
  int granted = 0;
  for (int i = 1; i <= rounds; ++i) {
    service.TakeAllBut(0);
    ASSERT_EQ(session.AllocateBuffers(waker), Allocation::kWaiting);
    turn = 2 * i - 1;
    service.GiveBack(2);
    while (turn != 2 * i) std::this_thread::yield();
    const WaitStatus status = session.FinishWait();
    ASSERT_EQ(status,
              cancelled ? WaitStatus::kCancelled : WaitStatus::kGranted);
    granted += status == WaitStatus::kGranted;
    ASSERT_EQ(waker.calls(), granted);
    ASSERT_EQ(session.has_buffer(Side::kRequest), !cancelled);
    session.ReleaseBuffers();
    service.GiveBackAll();
    ASSERT_EQ(service.Free(), 4u);
  }
  canceller.join();
  EXPECT_EQ(service.Waiting(), 0u);
}

TEST(CancelTest, OfManyThreadsExactlyOneWins) {
  Service service({.capacity = 4});
  service.TakeAllBut(0);
  SessionBuffers session(service.sessions());
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
        wins += session.CancelWait();
        done[t] = i;
      }
    });
  }
  for (int i = 1; i <= rounds; ++i) {
    ASSERT_EQ(session.AllocateBuffers(Waker{}), Allocation::kWaiting);
    round = i;
    for (auto& it : done) {
      while (it < i) std::this_thread::yield();
    }
    ASSERT_EQ(session.FinishWait(), WaitStatus::kCancelled);
    ASSERT_EQ(wins, i);
  }
  for (std::thread& thread : threads) thread.join();
  service.GiveBackAll();
}

// The records of sessions that left return while the head of the queue stays:
// with room for two waiters there are about 500 records, and two million waits.
TEST(CancelTest, MemoryStaysBoundedBehindALiveHead) {
  Service service({.capacity = 4}, {.max_waiters = 2});
  service.TakeAllBut(0);
  SessionBuffers head(service.sessions());
  CountingWaker waker;
  ASSERT_EQ(head.AllocateBuffers(waker), Allocation::kWaiting);
  SessionBuffers session(service.sessions());
  const int rounds = Rounds(200'000);
  for (int i = 0; i < rounds; ++i) {
    ASSERT_EQ(session.AllocateBuffers(Waker{}), Allocation::kWaiting);
    ASSERT_TRUE(session.CancelWait());
  }
  EXPECT_EQ(head.FinishWait(), WaitStatus::kWaiting);
  EXPECT_EQ(session.FinishWait(), WaitStatus::kCancelled);
  service.GiveBackAll();
  EXPECT_EQ(head.FinishWait(), WaitStatus::kGranted);
  EXPECT_EQ(waker.calls(), 1);
}

// A million sessions leave in random order, and no thread ever releases a
// buffer. Nothing is allocated for them.
TEST(CancelTest, MillionWithoutAReleaseTakeNoMemory) {
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
    ASSERT_EQ(wait(session), Allocation::kWaiting);
  }
  bool all_left = true;
  const size_t before = AllocationsSoFar();
  const int rounds = Rounds(1'000'000);
  for (int i = 0; i < rounds; ++i) {
    auto& session = sessions[random() % kSessions];
    all_left &= session->CancelWait();
    all_left &= wait(session) == Allocation::kWaiting;
  }
  EXPECT_EQ(AllocationsSoFar(), before);
  EXPECT_TRUE(all_left);
  EXPECT_EQ(service.Waiting(), kSessions);
  for (auto& session : sessions) session.reset();
  service.GiveBackAll();
  EXPECT_EQ(service.Free(), 8u);
}

// The same from several threads, in all classes, each behind a live head.
TEST(CancelTest, MemoryStaysBoundedUnderContention) {
  Service service({.capacity = 8}, {.max_waiters = 6});
  SessionBuffers complete(service.sessions());
  HoldOne(complete);
  service.TakeAllBut(0);
  SessionBuffers pair(service.sessions());
  SessionBuffers receive(service.sessions());
  ASSERT_EQ(complete.AllocateBuffers(Waker{}), Allocation::kWaiting);
  ASSERT_EQ(pair.AllocateBuffers(Waker{}), Allocation::kWaiting);
  ASSERT_EQ(receive.AllocateReceiveBuffer(Side::kRequest, Waker{}),
            Allocation::kWaiting);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&service, t] {
      SessionBuffers session(service.sessions());
      for (int i = 0; i < Rounds(200'000); ++i) {
        ASSERT_EQ((i + t) % 2 == 0
                      ? session.AllocateBuffers(Waker{})
                      : session.AllocateReceiveBuffer(Side::kRequest, Waker{}),
                  Allocation::kWaiting);
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
