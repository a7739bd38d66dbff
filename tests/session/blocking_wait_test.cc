// The blocking adapter: a thread sleeps until it is served, cancelled, or its
// deadline has passed (S4, S5, S7).

#include "tandem/session/blocking_wait.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/support/full_service.h"
#include "tandem/tests/support/interruptions.h"
#include "tandem/tests/support/service.h"

namespace tandem {
namespace {

using std::chrono::steady_clock;

constexpr auto kSoon = std::chrono::milliseconds(5);

class BlockingWaitTest : public FullServiceTest<> {
 protected:
  BlockingWaitTest() : FullServiceTest({.capacity = 8}) {}
};

TEST_F(BlockingWaitTest, WithoutAWaitReturnsAtOnce) {
  EXPECT_EQ(BlockUntilServed(session_), WaitStatus::kNone);
}

TEST_F(BlockingWaitTest, SleepsUntilItIsServed) {
  ASSERT_EQ(session_.AllocateBuffers(BlockingWaker()), Allocation::kWaiting);
  std::atomic<bool> released{false};
  std::thread releaser([&] {
    std::this_thread::sleep_for(kSoon);
    released = true;
    service_.GiveBack(2);
  });
  EXPECT_EQ(BlockUntilServed(session_), WaitStatus::kGranted);
  EXPECT_TRUE(released);
  EXPECT_TRUE(session_.has_buffer(Side::kResponse));
  releaser.join();
}

TEST_F(BlockingWaitTest, EndsWithoutBuffersAtItsDeadline) {
  ASSERT_EQ(session_.AllocateBuffers(BlockingWaker()), Allocation::kWaiting);
  const auto deadline = steady_clock::now() + kSoon;
  EXPECT_EQ(BlockUntilServed(session_, deadline), WaitStatus::kCancelled);
  EXPECT_GE(steady_clock::now(), deadline);
  EXPECT_EQ(service_.Waiting(), 0u);
  EXPECT_FALSE(session_.has_buffer(Side::kRequest));
}

TEST_F(BlockingWaitTest, DeadlineThatHasPassedEndsTheWaitAtOnce) {
  ASSERT_EQ(session_.AllocateBuffers(BlockingWaker()), Allocation::kWaiting);
  EXPECT_EQ(BlockUntilServed(session_, steady_clock::now() - kSoon),
            WaitStatus::kCancelled);
}

TEST_F(BlockingWaitTest, BuffersThatAreThereCountMoreThanTheDeadline) {
  ASSERT_EQ(session_.AllocateBuffers(BlockingWaker()), Allocation::kWaiting);
  service_.GiveBack(2);
  EXPECT_EQ(BlockUntilServed(session_, steady_clock::now() - kSoon),
            WaitStatus::kGranted);
}

TEST_F(BlockingWaitTest, CancelFromAnotherThreadWakesTheSleeper) {
  ASSERT_EQ(session_.AllocateBuffers(BlockingWaker()), Allocation::kWaiting);
  std::thread canceller([&] {
    std::this_thread::sleep_for(kSoon);
    EXPECT_TRUE(session_.CancelWait());
  });
  EXPECT_EQ(BlockUntilServed(session_), WaitStatus::kCancelled);
  canceller.join();
}

// What ends the wait, at any instruction on the way to sleep.
struct Ending {
  SessionBuffers* session;
  std::atomic<bool> armed{false};
  std::atomic<int> ended{0};
  std::atomic<int> ticks{0};  // since then
} ending;

void EndInHandler(int) {
  if (ending.armed.exchange(false)) {
    ending.ticks = 0;
    ending.ended += ending.session->CancelWait();
  } else if (++ending.ticks > 200'000) {
    // Ten seconds: no thread will wake it.
    constexpr char kMessage[] = "a thread sleeps on a wait that is over\n";
    (void)!write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1);
    abort();
  }
}

TEST_F(BlockingWaitTest, NeverSleepsOnAWaitThatIsOver) {
  if (kTsan) {
    GTEST_SKIP() << "it holds signals back from a thread that sleeps in a "
                    "system call of its own";
  }
  ending.session = &session_;
  ending.ended = 0;
  const Interruptions interruptions(EndInHandler);
  for (int round = 0; ending.ended < Rounds(20'000); ++round) {
    ASSERT_EQ(session_.AllocateBuffers(BlockingWaker()), Allocation::kWaiting);
    ending.armed = true;
    // Each time a little later, so that the signal comes on the way to sleep
    // and not always in it.
    const auto start =
        steady_clock::now() + std::chrono::nanoseconds(round * 137 % 70'000);
    while (steady_clock::now() < start) {
    }
    ASSERT_EQ(BlockUntilServed(session_), WaitStatus::kCancelled);
  }
}

// Sleepers, and threads that release or cancel, meet at every point of each
// other's way. A thread that goes to sleep too late would sleep forever.
TEST_F(BlockingWaitTest, NeverMissesAReleaseOrACancel) {
  std::atomic<int> begun{0};
  std::atomic<int> done{0};
  const int rounds = Rounds(20'000);
  std::thread other([&] {
    for (int i = 1; i <= rounds; ++i) {
      while (begun < i) std::this_thread::yield();
      // Each time a little later, so as to meet the other before it sleeps, on
      // its way to sleep, and asleep.
      const auto start =
          steady_clock::now() + std::chrono::nanoseconds(i * 137 % 20'000);
      while (steady_clock::now() < start) {
      }
      if (i % 2 == 0) {
        service_.GiveBack(2);
      } else {
        EXPECT_TRUE(session_.CancelWait());
      }
      done = i;
    }
  });
  for (int i = 1; i <= rounds; ++i) {
    ASSERT_EQ(session_.AllocateBuffers(BlockingWaker()), Allocation::kWaiting);
    begun = i;
    ASSERT_EQ(BlockUntilServed(session_),
              i % 2 == 0 ? WaitStatus::kGranted : WaitStatus::kCancelled);
    while (done < i) std::this_thread::yield();
    session_.ReleaseBuffers();
    service_.TakeAllBut(0);
  }
  other.join();
}

}  // namespace
}  // namespace tandem
