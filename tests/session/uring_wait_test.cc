// Waits that end as completions of a server's io_uring (S4, S5).

#include "tandem/session/uring_wait.h"

#include <liburing.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <deque>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/session/uring_test_util.h"
#include "tandem/tests/support/coroutines.h"
#include "tandem/tests/support/full_service.h"
#include "tandem/tests/support/service.h"

namespace tandem {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

class UringWaitTest : public FullServiceTest<UringTest> {
 protected:
  // A session that waits as a callback, and notes how each wait ended.
  struct Caller {
    Caller(UringWaitTest& of, char name)
        : test(of),
          letter(name),
          session(of.service_.sessions()),
          wait(std::in_place, *of.loop_, session, OnEnd, this) {}
    static void OnEnd(void* context, Allocation result) {
      auto& self = *static_cast<Caller*>(context);
      EXPECT_NE(result, Allocation::kWaiting);
      EXPECT_NE(result, Allocation::kOverloaded);
      self.test.Note(self.letter, result);
    }

    UringWaitTest& test;
    const char letter;
    SessionBuffers session;
    std::optional<UringWait> wait;
  };

  UringWaitTest() : FullServiceTest({.capacity = 4, .reserve = 2}) {}

  Caller NewCaller(char name) { return {*this, name}; }
  // Turns until so many waits have ended.
  void TurnUntil(size_t ended) {
    while (log_.size() < ended) Turn();
  }
  Detached Pair(SessionBuffers& session, char name,
                DeadlineList::Time deadline = DeadlineList::Time::max()) {
    Note(name, co_await BuffersFor(session, *loop_, deadline));
  }
  Detached Receive(SessionBuffers& session, char name) {
    Note(name, co_await ReceiveBufferFor(session, Side::kResponse, *loop_));
  }
};

TEST_P(UringWaitTest, NobodyWaitsWhileThereAreBuffers) {
  service_.GiveBackAll();
  Caller a = NewCaller('a');
  EXPECT_EQ(a.wait->AllocateBuffers(), Allocation::kGranted);
  EXPECT_EQ(log_, "");
}

TEST_P(UringWaitTest, GrantIsToldByACompletion) {
  Caller a = NewCaller('a');
  EXPECT_EQ(a.wait->AllocateBuffers(), Allocation::kWaiting);
  EXPECT_EQ(a.wait->AllocateBuffers(), Allocation::kWaiting);
  service_.GiveBackAll();
  EXPECT_EQ(log_, "");  // not in place
  TurnUntil(1);
  EXPECT_EQ(log_, "A");
  EXPECT_TRUE(a.session.has_buffer(Side::kRequest));
  EXPECT_TRUE(a.session.has_buffer(Side::kResponse));
}

TEST_P(UringWaitTest, ReceiveWaitsForOneBuffer) {
  service_.GiveBack(2);  // the reserve
  Caller a = NewCaller('a');
  EXPECT_EQ(a.wait->AllocateReceiveBuffer(Side::kResponse),
            Allocation::kWaiting);
  service_.GiveBack(1);
  TurnUntil(1);
  EXPECT_EQ(log_, "A");
  EXPECT_FALSE(a.session.has_buffer(Side::kRequest));
  EXPECT_TRUE(a.session.has_buffer(Side::kResponse));
}

TEST_P(UringWaitTest, AnotherThreadWakesTheRing) {
  for (int i = 0; i < Rounds(200); ++i) {
    service_.TakeAllBut(0);
    Caller a = NewCaller('a');
    ASSERT_EQ(a.wait->AllocateBuffers(), Allocation::kWaiting);
    std::thread other([&] { service_.GiveBackAll(); });
    TurnUntil(log_.size() + 1);
    other.join();
    ASSERT_EQ(log_.back(), 'A');
    a.session.ReleaseBuffers();
  }
}

Service* signal_service;

TEST_P(UringWaitTest, SignalHandlerWakesTheRingInTheMiddleOfASubmission) {
  Caller a = NewCaller('a');
  ASSERT_EQ(a.wait->AllocateBuffers(), Allocation::kWaiting);
  signal_service = &service_;
  std::signal(SIGUSR1, [](int) { signal_service->GiveBackAll(); });
  io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
  std::raise(SIGUSR1);
  io_uring_prep_nop(sqe);
  sqe->user_data = 7;
  std::signal(SIGUSR1, SIG_DFL);
  TurnUntil(1);
  EXPECT_EQ(log_, "A");
  while (own_.empty()) Turn();
  EXPECT_EQ(own_, std::vector<uint64_t>{7});
}

TEST_P(UringWaitTest, WaitersAreCalledInTheOrderInWhichTheyAreServed) {
  std::deque<Caller> callers;
  for (char name = 'a'; name <= 'z'; ++name) {
    callers.emplace_back(*this, name);
    ASSERT_EQ(callers.back().wait->AllocateBuffers(), Allocation::kWaiting);
  }
  service_.GiveBackAll();
  while (log_.size() < callers.size()) {
    const size_t before = log_.size();
    TurnUntil(before + 1);
    for (size_t i = before; i < log_.size(); ++i) {
      callers[i].session.ReleaseBuffers();
    }
  }
  EXPECT_EQ(log_, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
}

TEST_P(UringWaitTest, DeadlineEndsAWait) {
  Caller a = NewCaller('a'), b = NewCaller('b');
  ASSERT_EQ(a.wait->AllocateBuffers(steady_clock::now() + milliseconds(5)),
            Allocation::kWaiting);
  ASSERT_EQ(b.wait->AllocateBuffers(), Allocation::kWaiting);
  TurnUntil(1);
  EXPECT_EQ(log_, "a");
  service_.GiveBackAll();
  TurnUntil(2);
  EXPECT_EQ(log_, "aB");
}

TEST_P(UringWaitTest, PassedDeadlineEndsAWait) {
  Caller a = NewCaller('a'), b = NewCaller('b');
  ASSERT_EQ(a.wait->AllocateBuffers(steady_clock::now()), Allocation::kWaiting);
  ASSERT_EQ(b.wait->AllocateBuffers(steady_clock::time_point::min()),
            Allocation::kWaiting);
  TurnUntil(2);
  EXPECT_EQ(log_.find_first_not_of("ab"), std::string::npos);
}

// The kernel has a timeout for the first one already.
TEST_P(UringWaitTest, EarlierDeadlineComesFirst) {
  Caller a = NewCaller('a'), b = NewCaller('b'), c = NewCaller('c');
  const auto now = steady_clock::now();
  ASSERT_EQ(a.wait->AllocateBuffers(now + hours(1)), Allocation::kWaiting);
  SubmitNop(1);
  Turn();
  ASSERT_EQ(b.wait->AllocateBuffers(now + milliseconds(50)),
            Allocation::kWaiting);
  SubmitNop(2);
  Turn();
  ASSERT_EQ(c.wait->AllocateBuffers(now + milliseconds(5)),
            Allocation::kWaiting);
  TurnUntil(2);
  EXPECT_EQ(log_, "cb");
  service_.GiveBackAll();
  TurnUntil(3);
  EXPECT_EQ(log_, "cbA");
}

TEST_P(UringWaitTest, DeadlineOfAnEarlierWaitEndsNoLaterOne) {
  Caller a = NewCaller('a'), b = NewCaller('b');
  const auto soon = steady_clock::now() + milliseconds(20);
  ASSERT_EQ(a.wait->AllocateBuffers(soon), Allocation::kWaiting);
  service_.GiveBackAll();
  TurnUntil(1);
  a.session.ReleaseBuffers();
  service_.TakeAllBut(0);
  Pair(a.session, 'c');
  ASSERT_EQ(b.wait->AllocateBuffers(soon + milliseconds(5)),
            Allocation::kWaiting);
  TurnUntil(2);
  EXPECT_EQ(log_, "Ab");
  service_.GiveBackAll();
  TurnUntil(3);
  EXPECT_EQ(log_, "AbC");
}

TEST_P(UringWaitTest, AnyThreadMayCancel) {
  Caller a = NewCaller('a');
  ASSERT_EQ(a.wait->AllocateBuffers(), Allocation::kWaiting);
  std::thread other([&] { EXPECT_TRUE(a.session.CancelWait()); });
  TurnUntil(1);
  other.join();
  EXPECT_EQ(log_, "a");
}

// One of the two wins, the call comes once, and the buffers are where it says.
TEST_P(UringWaitTest, CancelAgainstGrant) {
  for (int i = 0; i < Rounds(500); ++i) {
    service_.TakeAllBut(0);
    Caller a = NewCaller('a');
    ASSERT_EQ(a.wait->AllocateBuffers(), Allocation::kWaiting);
    log_.clear();
    std::atomic<bool> go{false};
    bool cancelled = false;
    std::thread other([&] {
      while (!go) {
      }
      cancelled = a.session.CancelWait();
    });
    go = true;
    service_.GiveBackAll();
    TurnUntil(1);
    other.join();
    ASSERT_EQ(log_, cancelled ? "a" : "A");
    ASSERT_EQ(a.session.has_buffer(Side::kRequest), !cancelled);
    ASSERT_EQ(service_.Free(), cancelled ? 4u : 2u);
  }
}

TEST_P(UringWaitTest, DestroyedWaitIsNotCalled) {
  Caller a = NewCaller('a'), b = NewCaller('b'), c = NewCaller('c');
  ASSERT_EQ(a.wait->AllocateBuffers(steady_clock::now()), Allocation::kWaiting);
  ASSERT_EQ(b.wait->AllocateBuffers(), Allocation::kWaiting);
  ASSERT_EQ(c.wait->AllocateBuffers(), Allocation::kWaiting);
  a.wait.reset();
  service_.GiveBackAll();
  b.wait.reset();  // granted: the session has the buffers
  EXPECT_TRUE(b.session.has_buffer(Side::kRequest));
  TurnUntil(1);
  EXPECT_EQ(log_, "C");
}

TEST_P(UringWaitTest, RingMayEndBeforeItsWaits) {
  {
    Caller a = NewCaller('a'), b = NewCaller('b');
    ASSERT_EQ(a.wait->AllocateBuffers(steady_clock::now()),
              Allocation::kWaiting);
    ASSERT_EQ(b.wait->AllocateBuffers(), Allocation::kWaiting);
    SubmitNop(1);
    Turn();  // The kernel has the loop's requests.
    EndRing();
    service_.GiveBack(2);  // for one of them
  }
  EXPECT_EQ(log_.find('B'), std::string::npos);
  service_.GiveBackAll();
  EXPECT_EQ(service_.Free(), 4u);
  EXPECT_EQ(service_.Waiting(), 0u);
}

TEST_P(UringWaitTest, ServersOwnCompletionsAreLeftToIt) {
  SubmitNop(1);
  SubmitNop(reinterpret_cast<uintptr_t>(loop_.get()) - 1);
  SubmitNop(reinterpret_cast<uintptr_t>(loop_.get()) + sizeof(UringLoop));
  while (own_.size() < 3) Turn();
  EXPECT_EQ(own_[0], 1u);
}

TEST_P(UringWaitTest, FullSubmissionQueueIsSubmitted) {
  Caller a = NewCaller('a');
  ASSERT_EQ(a.wait->AllocateBuffers(steady_clock::now() + hours(1)),
            Allocation::kWaiting);
  for (unsigned i = 0; i < kEntries; ++i) SubmitNop(i);
  EXPECT_EQ(io_uring_sq_space_left(&ring_), 0u);
  service_.GiveBackAll();
  TurnUntil(1);
  EXPECT_EQ(log_, "A");
  EXPECT_EQ(own_.size(), kEntries);
}

// The kernel keeps completions beyond those that the queue can hold.
TEST_P(UringWaitTest, FullCompletionQueueLosesNoWakeUp) {
  for (int round = 0; round < 10; ++round) {
    service_.TakeAllBut(0);
    Caller a = NewCaller('a'), b = NewCaller('b');
    ASSERT_EQ(a.wait->AllocateBuffers(), Allocation::kWaiting);
    ASSERT_EQ(b.wait->AllocateBuffers(steady_clock::now()),
              Allocation::kWaiting);
    log_.clear();
    own_.clear();
    unsigned submitted = 0;
    for (int batch = 0; batch < 5; ++batch) {
      (void)loop_->Prepare();
      while (io_uring_sq_space_left(&ring_) != 0) SubmitNop(submitted++);
      io_uring_submit(&ring_);
    }
    service_.GiveBack(2);  // for one of them
    while (log_.size() < 2 || own_.size() < submitted) Turn();
    EXPECT_NE(log_.find('A'), std::string::npos);
    EXPECT_NE(log_.find('b'), std::string::npos);
    a.session.ReleaseBuffers();
    service_.GiveBackAll();
  }
}

// Somebody may cancel all requests of a ring.
TEST_P(UringWaitTest, CancelledRequestsOfTheLoopAreMadeAgain) {
  Caller a = NewCaller('a'), b = NewCaller('b');
  ASSERT_EQ(a.wait->AllocateBuffers(), Allocation::kWaiting);
  ASSERT_EQ(b.wait->AllocateBuffers(steady_clock::now() + milliseconds(50)),
            Allocation::kWaiting);
  SubmitNop(1);
  Turn();
  io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
  io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY);
  sqe->user_data = 2;
  while (own_.size() < 2) Turn();
  EXPECT_EQ(log_, "");
  TurnUntil(1);
  EXPECT_EQ(log_, "b");
  std::thread other([&] { service_.GiveBackAll(); });
  TurnUntil(2);
  other.join();
  EXPECT_EQ(log_, "bA");
}

TEST_P(UringWaitTest, CoroutinesAreResumedByACompletion) {
  SessionBuffers a(service_.sessions()), b(service_.sessions());
  SessionBuffers c(service_.sessions()), d(service_.sessions());
  Pair(a, 'a');
  Pair(b, 'b', steady_clock::now() + milliseconds(5));
  Pair(c, 'c', steady_clock::now() + hours(1));
  EXPECT_EQ(log_, "");
  TurnUntil(1);
  EXPECT_EQ(log_, "b");
  EXPECT_TRUE(c.CancelWait());
  TurnUntil(2);
  EXPECT_EQ(log_, "bc");
  Receive(d, 'd');
  std::thread other([&] { service_.GiveBackAll(); });
  TurnUntil(3);
  other.join();
  EXPECT_EQ(log_, "bcA");
  a.ReleaseBuffers();
  TurnUntil(4);
  EXPECT_EQ(log_, "bcAD");
}

// Sessions of a ring against threads that block: all of them are served, again
// and again, some with deadlines.
TEST_P(UringWaitTest, ManySessionsOfManyThreads) {
  service_.GiveBackAll();
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  constexpr int kSessions = 20;
  const int rounds = Rounds(500);
  std::atomic<bool> over{false};
  std::vector<std::thread> others;
  for (int i = 0; i < 2; ++i) {
    others.emplace_back([&] {
      while (!over) {
        SessionBuffers session(service_.sessions());
        (void)session.AllocateBuffers();
        session.ReleaseBuffers();
      }
    });
  }
  int ended = 0;
  struct Churn {
    static Detached Run(Service& service, UringLoop& loop, int rounds,
                        uint32_t seed, int& ended) {
      std::mt19937 random(seed);
      SessionBuffers session(service.sessions());
      for (int i = 0; i < rounds;) {
        auto deadline = DeadlineList::Time::max();
        if (random() % 4 == 0) {
          deadline =
              steady_clock::now() + std::chrono::microseconds(random() % 200);
        }
        const Allocation got = co_await BuffersFor(session, loop, deadline);
        if (got == Allocation::kGranted) ++i;
        if (random() % 2 == 0) {
          // Holds them while others ask.
          const Allocation none = co_await ReceiveBufferFor(
              session, Side::kRequest, loop, steady_clock::now());
          EXPECT_NE(none, Allocation::kOverloaded);
        }
        session.ReleaseBuffers();
      }
      ++ended;
    }
  };
  for (int i = 0; i < kSessions; ++i) {
    Churn::Run(service_, *loop_, rounds, seed + i, ended);
  }
  while (ended < kSessions) Turn();
  over = true;
  for (std::thread& other : others) other.join();
  EXPECT_EQ(service_.Waiting(), 0u);
  EXPECT_EQ(service_.Free(), 4u);
}

INSTANTIATE_TEST_SUITE_P(, UringWaitTest, kRings, RingName);

TEST(UringLoopTest, RefusesRingsThatItCannotUse) {
  for (const unsigned flags : {IORING_SETUP_IOPOLL, IORING_SETUP_SQPOLL}) {
    io_uring ring;
    if (io_uring_queue_init(8, &ring, flags) != 0) continue;
    EXPECT_EQ(UringLoop::Create(ring).status().code(),
              absl::StatusCode::kInvalidArgument);
    io_uring_queue_exit(&ring);
  }
}

}  // namespace
}  // namespace tandem
