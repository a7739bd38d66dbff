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
#include <thread>

#include "gtest/gtest.h"
#include "tandem/session/deadline_list.h"
#include "tandem/session/event_notifier.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/support/coroutines.h"
#include "tandem/tests/support/full_service.h"
#include "tandem/tests/support/service.h"

namespace tandem {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

class CoroutineTest : public FullServiceTest<> {
 protected:
  CoroutineTest() : FullServiceTest({.capacity = 8}) {}

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

  const std::unique_ptr<EventNotifier> notifier_ =
      EventNotifier::Create().value();
  DeadlineList deadlines_;
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
  Pair(session_, 'a');
  EXPECT_EQ(log_, "");
  service_.GiveBackAll();
  EXPECT_EQ(log_, "");
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(log_, "A");
  EXPECT_TRUE(session_.has_buffer(Side::kRequest));
  EXPECT_TRUE(session_.has_buffer(Side::kResponse));
}

TEST_F(CoroutineTest, IsResumedOnItsLoopsThread) {
  Receive(session_, Side::kResponse, 'a');
  std::thread([&] { service_.GiveBackAll(); }).join();
  EXPECT_EQ(log_, "");
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(log_, "A");
  EXPECT_TRUE(session_.has_buffer(Side::kResponse));
}

TEST_F(CoroutineTest, ManyAreResumedInTheOrderOfService) {
  std::deque<SessionBuffers> sessions;
  for (const char name : {'a', 'b', 'c', 'd'}) {
    Pair(sessions.emplace_back(service_.sessions()), name);
  }
  service_.GiveBackAll();
  EXPECT_EQ(notifier_->Dispatch(), 4u);
  EXPECT_EQ(log_, "ABCD");
}

TEST_F(CoroutineTest, GoesOnWithoutBuffersAtItsDeadline) {
  const auto start = steady_clock::now();
  PairUntil(session_, 'a', start + seconds(100));
  EXPECT_EQ(deadlines_.earliest(), start + seconds(100));
  EXPECT_EQ(deadlines_.Expire(start + seconds(99)), 0u);
  EXPECT_EQ(service_.Waiting(), 1u);
  EXPECT_EQ(deadlines_.Expire(start + seconds(100)), 1u);
  EXPECT_EQ(service_.Waiting(), 0u);
  EXPECT_EQ(log_, "");
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(log_, "a");
  service_.GiveBackAll();
  EXPECT_FALSE(session_.has_buffer(Side::kRequest));
  EXPECT_EQ(service_.Free(), 8u);
}

TEST_F(CoroutineTest, KeepsItsBuffersIfTheyCameBeforeTheDeadline) {
  const auto start = steady_clock::now();
  PairUntil(session_, 'a', start + seconds(100));
  service_.GiveBackAll();
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
  std::deque<SessionBuffers> sessions;
  const auto start = steady_clock::now();
  PairUntil(sessions.emplace_back(service_.sessions()), 'a',
            start + seconds(3));
  PairUntil(sessions.emplace_back(service_.sessions()), 'b',
            start + seconds(1));
  PairUntil(sessions.emplace_back(service_.sessions()), 'c',
            start + seconds(2));
  EXPECT_EQ(deadlines_.Expire(start + seconds(2)), 2u);
  EXPECT_EQ(deadlines_.earliest(), start + seconds(3));
  EXPECT_EQ(notifier_->Dispatch(), 2u);
  EXPECT_EQ(log_, "bc");
  service_.GiveBackAll();
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(log_, "bcA");
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
  auto awaitable = BuffersFor(session_, *notifier_);
  Await(awaitable, 'a');
  std::thread([&] {
    EXPECT_TRUE(session_.CancelWait());
    EXPECT_FALSE(session_.CancelWait());
  }).join();
  EXPECT_EQ(log_, "");
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(log_, "a");
  service_.GiveBackAll();
  EXPECT_EQ(notifier_->Dispatch(), 0u);
}

TEST_F(CoroutineTest, CancelThatComesTooLateChangesNothing) {
  auto awaitable = BuffersFor(session_, *notifier_);
  Await(awaitable, 'a');
  service_.GiveBackAll();
  EXPECT_FALSE(session_.CancelWait());
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(log_, "A");
}

// A coroutine that is destroyed while it waits ends its wait.
TEST_F(CoroutineTest, FieldDestroyedWhileItWaitsItLeavesTheQueue) {
  SessionBuffers next(service_.sessions());
  {
    const Owned coroutine = OwnedPair(session_, 'a');
    Pair(next, 'b');
    EXPECT_EQ(service_.Waiting(), 2u);
  }
  EXPECT_EQ(service_.Waiting(), 1u);
  service_.GiveBackAll();
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(log_, "B");
  EXPECT_FALSE(session_.has_buffer(Side::kRequest));
  // The session is usable as before.
  EXPECT_EQ(session_.AllocateBuffers(), Allocation::kGranted);
}

TEST_F(CoroutineTest, FieldDestroyedAfterItWasServedItLeavesItsBuffers) {
  SessionBuffers next(service_.sessions());
  {
    const Owned coroutine = OwnedPair(session_, 'a');
    Pair(next, 'b');
    service_.GiveBackAll();
  }
  EXPECT_TRUE(session_.has_buffer(Side::kRequest));
  EXPECT_TRUE(session_.has_buffer(Side::kResponse));
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(log_, "B");
  session_.ReleaseBuffers();
  next.ReleaseBuffers();
  EXPECT_EQ(service_.Free(), 8u);
}

TEST_F(CoroutineTest, FieldDestroyedItLeavesNoDeadlineBehind) {
  const auto start = steady_clock::now();
  {
    const Owned coroutine = OwnedPairUntil(session_, 'a', start + seconds(100));
  }
  EXPECT_EQ(deadlines_.Expire(start + seconds(100)), 0u);
  EXPECT_EQ(notifier_->Dispatch(), 0u);
  EXPECT_EQ(log_, "");
}

// One is served, and destroys the other, which was served as well.
TEST_F(CoroutineTest, FieldDestroyedByAnotherItIsNotResumed) {
  SessionBuffers first(service_.sessions());
  SessionBuffers second(service_.sessions());
  std::optional<Owned> victim;
  [](auto& t, SessionBuffers& session,
     std::optional<Owned>& other) -> Detached {
    const Allocation got = co_await BuffersFor(session, *t.notifier_);
    t.Note('a', got);
    other.reset();
  }(*this, first, victim);
  victim.emplace(OwnedPair(second, 'b'));
  service_.GiveBackAll();
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
