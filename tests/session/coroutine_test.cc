// Coroutines that wait for buffers: their loop resumes them, not the serving
// thread (S4).

#include "tandem/session/coroutine.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "tandem/session/deadline_list.h"
#include "tandem/session/event_notifier.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/session/coroutines.h"
#include "tandem/tests/session/session_test_util.h"

namespace tandem {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

class CoroutineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto notifier = EventNotifier::Create();
    ASSERT_TRUE(notifier.ok()) << notifier.status();
    notifier_ = *std::move(notifier);
  }

  Detached Pair(SessionBuffers& session, char name) {
    Note(name, co_await BuffersFor(session, *notifier_));
  }
  Detached PairUntil(SessionBuffers& session, char name,
                     DeadlineList::Time deadline) {
    Note(name, co_await BuffersFor(session, *notifier_, deadlines_, deadline));
  }
  Detached Receive(SessionBuffers& session, Side side, char name) {
    Note(name, co_await ReceiveBufferFor(session, side, *notifier_));
  }

  // A coroutine that the test can destroy at any time.
  Owned OwnedPair(SessionBuffers& session, char name) {
    Note(name, co_await BuffersFor(session, *notifier_));
  }
  Owned OwnedPairUntil(SessionBuffers& session, char name,
                       DeadlineList::Time deadline) {
    Note(name, co_await BuffersFor(session, *notifier_, deadlines_, deadline));
  }
  // Throws once it is served.
  Owned Thrower(SessionBuffers& session) {
    (void)co_await BuffersFor(session, *notifier_);
    session.ReleaseBuffers();
    throw std::runtime_error("thrown");
  }

  template <class Awaitable>
  Detached Await(Awaitable& awaitable, char name) {
    Note(name, co_await awaitable);
  }

  // Capital letters for those that were served.
  void Note(char name, Allocation result) {
    if (result == Allocation::kGranted) {
      log_ += static_cast<char>(name - 'a' + 'A');
    } else {
      log_ += name;
      log_ += result == Allocation::kOverloaded ? '!' : '.';
    }
  }

  std::unique_ptr<EventNotifier> notifier_;
  DeadlineList deadlines_;
  std::string log_;
};

TEST_F(CoroutineTest, GoesOnAtOnceIfItsBuffersAreThere) {
  Service service({.capacity = 8});
  SessionBuffers session(service.sessions());
  Pair(session, 'a');
  EXPECT_EQ(log_, "A");
  EXPECT_TRUE(session.has_buffer(Side::kRequest));
  EXPECT_EQ(notifier_->Dispatch(), 0u);
}

TEST_F(CoroutineTest, IsResumedByItsLoopAndNotInPlace) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  SessionBuffers session(service.sessions());
  Pair(session, 'a');
  EXPECT_EQ(log_, "");
  service.GiveBackAll();
  EXPECT_EQ(log_, "");
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(log_, "A");
  EXPECT_TRUE(session.has_buffer(Side::kRequest));
  EXPECT_TRUE(session.has_buffer(Side::kResponse));
}

TEST_F(CoroutineTest, IsResumedOnItsLoopsThread) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  SessionBuffers session(service.sessions());
  Receive(session, Side::kResponse, 'a');
  std::thread([&] { service.GiveBackAll(); }).join();
  EXPECT_EQ(log_, "");
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(log_, "A");
  EXPECT_TRUE(session.has_buffer(Side::kResponse));
}

TEST_F(CoroutineTest, ManyAreResumedInTheOrderOfService) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  std::deque<SessionBuffers> sessions;
  for (const char name : {'a', 'b', 'c', 'd'}) {
    Pair(sessions.emplace_back(service.sessions()), name);
  }
  service.GiveBackAll();
  EXPECT_EQ(notifier_->Dispatch(), 4u);
  EXPECT_EQ(log_, "ABCD");
}

TEST_F(CoroutineTest, GoesOnWithoutBuffersAtItsDeadline) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  SessionBuffers session(service.sessions());
  const auto start = steady_clock::now();
  PairUntil(session, 'a', start + seconds(100));
  EXPECT_EQ(deadlines_.earliest(), start + seconds(100));
  EXPECT_EQ(deadlines_.Expire(start + seconds(99)), 0u);
  EXPECT_EQ(service.Waiting(), 1u);
  EXPECT_EQ(deadlines_.Expire(start + seconds(100)), 1u);
  EXPECT_EQ(service.Waiting(), 0u);
  EXPECT_EQ(log_, "");
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(log_, "a.");
  service.GiveBackAll();
  EXPECT_FALSE(session.has_buffer(Side::kRequest));
  EXPECT_EQ(service.Free(), 8u);
}

TEST_F(CoroutineTest, KeepsItsBuffersIfTheyCameBeforeTheDeadline) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  SessionBuffers session(service.sessions());
  const auto start = steady_clock::now();
  PairUntil(session, 'a', start + seconds(100));
  service.GiveBackAll();
  deadlines_.Expire(start + seconds(100));
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(log_, "A");
  EXPECT_EQ(notifier_->Dispatch(), 0u);
}

TEST_F(CoroutineTest, LeavesNoDeadlineBehind) {
  Service service({.capacity = 8});
  SessionBuffers session(service.sessions());
  const auto start = steady_clock::now();
  PairUntil(session, 'a', start + seconds(100));
  EXPECT_EQ(log_, "A");
  EXPECT_EQ(deadlines_.Expire(start + seconds(1000)), 0u);
}

TEST_F(CoroutineTest, DeadlinesExpireEachInItsTurn) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  std::deque<SessionBuffers> sessions;
  const auto start = steady_clock::now();
  PairUntil(sessions.emplace_back(service.sessions()), 'a', start + seconds(3));
  PairUntil(sessions.emplace_back(service.sessions()), 'b', start + seconds(1));
  PairUntil(sessions.emplace_back(service.sessions()), 'c', start + seconds(2));
  EXPECT_EQ(deadlines_.Expire(start + seconds(2)), 2u);
  EXPECT_EQ(deadlines_.earliest(), start + seconds(3));
  EXPECT_EQ(notifier_->Dispatch(), 2u);
  EXPECT_EQ(log_, "b.c.");
  service.GiveBackAll();
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(log_, "b.c.A");
}

TEST_F(CoroutineTest, AnswersOverloadedAtOnce) {
  Service service({.capacity = 8}, {.max_waiters = 1});
  service.TakeAllBut(0);
  SessionBuffers first(service.sessions());
  SessionBuffers second(service.sessions());
  Pair(first, 'a');
  Pair(second, 'b');
  EXPECT_EQ(log_, "b!");
  service.GiveBackAll();
  notifier_->Dispatch();
  EXPECT_EQ(log_, "b!A");
}

TEST_F(CoroutineTest, CancelFromAnotherThreadLetsItGoOn) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  SessionBuffers session(service.sessions());
  auto awaitable = BuffersFor(session, *notifier_);
  Await(awaitable, 'a');
  std::thread([&] {
    EXPECT_TRUE(session.CancelWait());
    EXPECT_FALSE(session.CancelWait());
  }).join();
  EXPECT_EQ(log_, "");
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(log_, "a.");
  service.GiveBackAll();
  EXPECT_EQ(notifier_->Dispatch(), 0u);
}

TEST_F(CoroutineTest, CancelThatComesTooLateChangesNothing) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  SessionBuffers session(service.sessions());
  auto awaitable = BuffersFor(session, *notifier_);
  Await(awaitable, 'a');
  service.GiveBackAll();
  EXPECT_FALSE(session.CancelWait());
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(log_, "A");
}

// A coroutine that is destroyed while it waits ends its wait.
TEST_F(CoroutineTest, FieldDestroyedWhileItWaitsItLeavesTheQueue) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  SessionBuffers session(service.sessions());
  SessionBuffers next(service.sessions());
  {
    const Owned coroutine = OwnedPair(session, 'a');
    Pair(next, 'b');
    EXPECT_EQ(service.Waiting(), 2u);
  }
  EXPECT_EQ(service.Waiting(), 1u);
  service.GiveBackAll();
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(log_, "B");
  EXPECT_FALSE(session.has_buffer(Side::kRequest));
  // The session is usable as before.
  EXPECT_EQ(session.AllocateBuffers(), Allocation::kGranted);
}

TEST_F(CoroutineTest, FieldDestroyedAfterItWasServedItLeavesItsBuffers) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  SessionBuffers session(service.sessions());
  SessionBuffers next(service.sessions());
  {
    const Owned coroutine = OwnedPair(session, 'a');
    Pair(next, 'b');
    service.GiveBackAll();
  }
  EXPECT_TRUE(session.has_buffer(Side::kRequest));
  EXPECT_TRUE(session.has_buffer(Side::kResponse));
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(log_, "B");
  session.ReleaseBuffers();
  next.ReleaseBuffers();
  EXPECT_EQ(service.Free(), 8u);
}

TEST_F(CoroutineTest, FieldDestroyedItLeavesNoDeadlineBehind) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  const auto start = steady_clock::now();
  SessionBuffers session(service.sessions());
  {
    const Owned coroutine = OwnedPairUntil(session, 'a', start + seconds(100));
  }
  EXPECT_EQ(deadlines_.Expire(start + seconds(100)), 0u);
  EXPECT_EQ(notifier_->Dispatch(), 0u);
  EXPECT_EQ(log_, "");
  service.GiveBackAll();
}

// One is served, and destroys the other, which was served as well.
TEST_F(CoroutineTest, FieldDestroyedByAnotherItIsNotResumed) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  SessionBuffers first(service.sessions());
  SessionBuffers second(service.sessions());
  std::optional<Owned> victim;
  [](auto& t, SessionBuffers& session,
     std::optional<Owned>& other) -> Detached {
    const Allocation got = co_await BuffersFor(session, *t.notifier_);
    t.Note('a', got);
    other.reset();
  }(*this, first, victim);
  victim.emplace(OwnedPair(second, 'b'));
  service.GiveBackAll();
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(notifier_->Dispatch(), 0u);
  EXPECT_EQ(log_, "A");
}

// Destroyed while another thread serves it.
TEST_F(CoroutineTest, FieldDestroyedItOutlivesWhoServesIt) {
  Service service({.capacity = 4});
  std::atomic<int> round{0};
  const int rounds = Rounds(5'000);
  std::array<std::byte*, 4> taken;
  std::thread server([&] {
    for (int i = 1; i <= rounds; ++i) {
      while (round != i) std::this_thread::yield();
      service.pool().ReleaseMany(taken);
    }
  });
  for (int i = 1; i <= rounds; ++i) {
    while (!service.pool().AcquireMany(taken)) std::this_thread::yield();
    SessionBuffers session(service.sessions());
    {
      const Owned coroutine = OwnedPair(session, 'a');
      round = i;
      for (int spin = i % 64; spin > 0; --spin) (void)service.Waiting();
    }
    EXPECT_EQ(service.Waiting(), 0u);
    EXPECT_EQ(notifier_->Dispatch(), 0u);
  }
  server.join();
  EXPECT_EQ(log_, "");
  EXPECT_EQ(service.Free(), 4u);
}

// Ten wait, the fourth throws when it is resumed: the others are resumed, and
// no buffer is lost.
TEST_F(CoroutineTest, FieldOneThatThrowsLosesNoOtherWakeUp) {
  Service service({.capacity = 20});
  service.TakeAllBut(0);
  std::deque<SessionBuffers> sessions;
  std::deque<Owned> coroutines;
  for (char name = 'a'; name <= 'j'; ++name) {
    SessionBuffers& session = sessions.emplace_back(service.sessions());
    coroutines.push_back(name == 'd' ? Thrower(session)
                                     : OwnedPair(session, name));
  }
  service.GiveBackAll();
  EXPECT_THROW(notifier_->Dispatch(), std::runtime_error);
  EXPECT_EQ(log_, "ABC");
  EXPECT_EQ(notifier_->Dispatch(), 6u);
  EXPECT_EQ(log_, "ABCEFGHIJ");
  for (SessionBuffers& session : sessions) session.ReleaseBuffers();
  EXPECT_EQ(service.Free(), 20u);
}

}  // namespace
}  // namespace tandem
