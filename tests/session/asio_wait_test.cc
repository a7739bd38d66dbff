// Waits in an Asio event loop: the loop's thread continues, not the serving
// thread (S4); waits end by deadline and by cancellation (S5, S7).

#include "tandem/session/asio_wait.h"

#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/use_awaitable.hpp>
#include <atomic>
#include <chrono>
#include <deque>
#include <exception>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/support/full_service.h"
#include "tandem/tests/support/service.h"

namespace tandem {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

class AsioWaitTest : public FullServiceTest<> {
 protected:
  AsioWaitTest() : FullServiceTest({.capacity = 4}) {}

  // Starts a coroutine that awaits both buffers; runs it until it waits.
  void Pair(SessionBuffers& session, char name,
            AsioWait::Time deadline = AsioWait::Time::max()) {
    asio::co_spawn(
        context_,
        [this, &session, name, deadline]() -> asio::awaitable<void> {
          const Allocation got = co_await BuffersFor(session, *loop_, deadline);
          Note(name, got);
        },
        asio::detached);
    context_.poll();
  }

  void Receive(SessionBuffers& session, Side side, char name) {
    asio::co_spawn(
        context_,
        [this, &session, side, name]() -> asio::awaitable<void> {
          const Allocation got =
              co_await ReceiveBufferFor(session, side, *loop_);
          Note(name, got);
        },
        asio::detached);
    context_.poll();
  }

  // Runs the loop until the log has this length.
  void RunUntil(size_t letters) {
    while (log_.size() < letters) context_.run_one();
  }

  asio::io_context context_;
  std::unique_ptr<AsioLoop> loop_ = AsioLoop::Create(context_).value();
};

TEST_F(AsioWaitTest, GoesOnAtOnceIfItsBuffersAreThere) {
  Service service({.capacity = 8});
  SessionBuffers session(service.sessions());
  Pair(session, 'a');
  EXPECT_EQ(log_, "A");
  EXPECT_TRUE(session.has_buffer(Side::kRequest));
  EXPECT_TRUE(session.has_buffer(Side::kResponse));
}

TEST_F(AsioWaitTest, S4IsResumedByItsLoopWithItsBuffers) {
  Pair(session_, 'a');
  std::thread([&] { service_.GiveBack(2); }).join();
  EXPECT_EQ(log_, "");
  RunUntil(1);
  EXPECT_EQ(log_, "A");
  EXPECT_TRUE(session_.has_buffer(Side::kRequest));
  EXPECT_TRUE(session_.has_buffer(Side::kResponse));
}

TEST_F(AsioWaitTest, S1AwaitsAReceiveBufferThatLeavesTheReserve) {
  Service service({.capacity = 4, .reserve = 2});
  service.TakeAllBut(2);
  SessionBuffers session(service.sessions());
  Receive(session, Side::kResponse, 'a');
  EXPECT_EQ(log_, "");
  service.GiveBack(1);
  RunUntil(1);
  EXPECT_EQ(log_, "A");
  EXPECT_TRUE(session.has_buffer(Side::kResponse));
  EXPECT_EQ(service.Free(), 2u);
  service.GiveBackAll();
}

TEST_F(AsioWaitTest, S4ResumesInOrder) {
  Service service({.capacity = 6});
  service.TakeAllBut(0);
  std::deque<SessionBuffers> sessions;
  for (char name = 'a'; name <= 'c'; ++name) {
    Pair(sessions.emplace_back(service.sessions()), name);
  }
  service.GiveBackAll();
  RunUntil(3);
  EXPECT_EQ(log_, "ABC");
}

TEST_F(AsioWaitTest, S7EndsAtItsDeadline) {
  SessionBuffers hasty(service_.sessions());
  SessionBuffers patient(service_.sessions());
  Pair(patient, 'p', steady_clock::now() + hours(1));
  Pair(hasty, 'h', steady_clock::now() + milliseconds(1));
  RunUntil(1);
  EXPECT_EQ(log_, "h");
  EXPECT_EQ(service_.Waiting(), 1u);
  service_.GiveBackAll();
  RunUntil(2);
  EXPECT_EQ(log_, "hP");
}

TEST_F(AsioWaitTest, ADeadlineIsForgottenWithItsWait) {
  Service service({.capacity = 4});
  SessionBuffers session(service.sessions());
  service.TakeAllBut(0);
  const auto soon = steady_clock::now() + milliseconds(5);
  Pair(session, 'a', soon);
  service.GiveBackAll();
  RunUntil(1);
  session.ReleaseBuffers();
  service.TakeAllBut(0);
  Pair(session, 'b');
  asio::steady_timer after(context_, soon + milliseconds(1));
  after.async_wait([&](asio::error_code) { log_ += '|'; });
  RunUntil(2);
  EXPECT_EQ(log_, "A|");
  service.GiveBackAll();
  RunUntil(3);
  EXPECT_EQ(log_, "A|B");
}

TEST_F(AsioWaitTest, S5IsCancelledByAnotherThread) {
  Pair(session_, 'a');
  std::thread([&] { EXPECT_TRUE(session_.CancelWait()); }).join();
  RunUntil(1);
  EXPECT_EQ(log_, "a");
  service_.GiveBackAll();
  Pair(session_, 'b');
  EXPECT_EQ(log_, "aB");
}

TEST_F(AsioWaitTest, S5IsCancelledThroughItsSlot) {
  AsioWait wait(*loop_, session_);
  asio::cancellation_signal cancel;
  ASSERT_EQ(session_.AllocateBuffers(wait.waker()), Allocation::kWaiting);
  wait.AsyncFinish(asio::bind_cancellation_slot(
      cancel.slot(), [&](Allocation got) { Note('a', got); }));
  cancel.emit(asio::cancellation_type::terminal);
  RunUntil(1);
  EXPECT_EQ(log_, "a");
  // A finished wait stays finished: a late signal does not reach the next wait.
  ASSERT_EQ(session_.AllocateBuffers(wait.waker()), Allocation::kWaiting);
  wait.AsyncFinish([&](Allocation got) { Note('b', got); });
  cancel.emit(asio::cancellation_type::terminal);
  service_.GiveBackAll();
  RunUntil(2);
  EXPECT_EQ(log_, "aB");
}

TEST_F(AsioWaitTest, S5ACancelledCoroutineGetsAnAnswer) {
  asio::cancellation_signal cancel;
  asio::co_spawn(
      context_,
      [&]() -> asio::awaitable<void> {
        const Allocation got = co_await BuffersFor(session_, *loop_);
        Note('a', got);
      },
      asio::bind_cancellation_slot(cancel.slot(), asio::detached));
  context_.poll();
  cancel.emit(asio::cancellation_type::terminal);
  RunUntil(1);
  EXPECT_EQ(log_, "a");
  EXPECT_EQ(service_.Waiting(), 0u);
}

TEST_F(AsioWaitTest, S7SaysAtOnceThatTooManyWait) {
  Service service({.capacity = 4}, {.max_waiters = 1});
  service.TakeAllBut(0);
  SessionBuffers first(service.sessions());
  SessionBuffers second(service.sessions());
  Pair(first, 'a');
  Pair(second, 'b');
  EXPECT_EQ(log_, "b!");
  EXPECT_EQ(service.sessions().waiting(), 1u);
  service.GiveBackAll();
  RunUntil(3);
  EXPECT_EQ(log_, "b!A");
  EXPECT_EQ(service.sessions().waiting(), 0u);
}

TEST_F(AsioWaitTest, CompletesInTheContextOfItsHandler) {
  AsioWait wait(*loop_, session_);
  asio::io_context other;
  ASSERT_EQ(session_.AllocateBuffers(wait.waker()), Allocation::kWaiting);
  wait.AsyncFinish(asio::bind_executor(
      other.get_executor(), [&](Allocation got) { Note('a', got); }));
  // The context has work until the handler has been called.
  EXPECT_EQ(other.poll(), 0u);
  EXPECT_FALSE(other.stopped());
  service_.GiveBackAll();
  while (other.poll() == 0) context_.run_one();
  EXPECT_EQ(log_, "A");
}

// Handlers without an executor of their own run on the context, and what
// they throw leaves run(), as with Asio's own operations. Other waits are
// not affected.
TEST_F(AsioWaitTest, FieldWhatAHandlerThrowsLeavesRun) {
  Service service({.capacity = 6});
  service.TakeAllBut(0);
  std::deque<SessionBuffers> sessions;
  std::deque<AsioWait> waits;
  for (char name = 'a'; name <= 'c'; ++name) {
    SessionBuffers& session = sessions.emplace_back(service.sessions());
    AsioWait& wait = waits.emplace_back(*loop_, session);
    ASSERT_EQ(session.AllocateBuffers(wait.waker()), Allocation::kWaiting);
    wait.AsyncFinish([this, name](Allocation got) {
      if (name == 'b') throw std::runtime_error("thrown");
      Note(name, got);
      if (name == 'c') loop_->Stop();
    });
  }
  service.GiveBackAll();
  EXPECT_THROW(context_.run(), std::runtime_error);
  EXPECT_EQ(log_, "A");
  context_.run();
  EXPECT_EQ(log_, "AC");
  for (SessionBuffers& session : sessions) session.ReleaseBuffers();
  EXPECT_EQ(service.Free(), 6u);
}

TEST_F(AsioWaitTest, FieldWhatACoroutineThrowsLeavesRun) {
  SessionBuffers first(service_.sessions());
  SessionBuffers second(service_.sessions());
  asio::co_spawn(
      context_,
      [&]() -> asio::awaitable<void> {
        const Allocation got = co_await BuffersFor(first, *loop_);
        if (got == Allocation::kGranted) throw std::runtime_error("thrown");
      },
      [](std::exception_ptr error) {
        if (error) std::rethrow_exception(error);
      });
  Pair(second, 'b');
  service_.GiveBackAll();
  EXPECT_THROW(context_.run(), std::runtime_error);
  RunUntil(1);
  EXPECT_EQ(log_, "B");
}

TEST_F(AsioWaitTest, FieldStopEndsTheWaits) {
  SessionBuffers first(service_.sessions());
  SessionBuffers second(service_.sessions());
  Pair(first, 'a');
  Pair(second, 'b', steady_clock::now() + hours(1));
  loop_->Stop();
  EXPECT_EQ(log_, "");
  EXPECT_EQ(service_.Waiting(), 0u);
  context_.run();
  EXPECT_EQ(log_, "ab");
  // So do waits that begin later.
  context_.restart();
  Pair(first, 'a');
  EXPECT_EQ(log_, "aba");
  loop_->Stop();
  service_.GiveBackAll();
  EXPECT_EQ(service_.Free(), 4u);
}

TEST_F(AsioWaitTest, FieldStopLeavesBuffersToWhoWasServed) {
  SessionBuffers first(service_.sessions());
  SessionBuffers second(service_.sessions());
  Pair(first, 'a');
  Pair(second, 'b');
  service_.GiveBack(2);
  loop_->Stop();
  context_.run();
  EXPECT_EQ(log_, "Ab");
  EXPECT_TRUE(first.has_buffer(Side::kRequest));
}

// Nothing is touched after its end, although the context still has to run a
// timer and a wake-up.
TEST_F(AsioWaitTest, FieldDestroyedWithWaitersTheLoopEndsTheirWaits) {
  Service service({.capacity = 6});
  service.TakeAllBut(0);
  std::deque<SessionBuffers> sessions;
  Pair(sessions.emplace_back(service.sessions()), 'a');
  Pair(sessions.emplace_back(service.sessions()), 'b');
  asio::post(context_, [&] {
    const auto soon = steady_clock::now() + milliseconds(5);
    Pair(sessions.emplace_back(service.sessions()), 'c', soon);
    std::this_thread::sleep_until(soon);
    service.GiveBack(2);
    // The context looks for due work, and finds this first.
    asio::post(context_, [&] { loop_.reset(); });
  });
  context_.run();
  for (const char* ended : {"A", "b", "c"}) {
    EXPECT_NE(log_.find(ended), std::string::npos) << log_;
  }
  EXPECT_EQ(log_.size(), 3u);
  service.GiveBackAll();
  EXPECT_EQ(service.Free(), 4u);
}

// A server ends in the middle of waits: neither frames nor buffers leak.
TEST(AsioEndTest, FieldLoopAndContextMayGoWhileCoroutinesWait) {
  Service service({.capacity = 4});
  service.TakeAllBut(0);
  const auto alive = std::make_shared<int>(0);
  for (const bool served : {false, true}) {
    asio::io_context context;
    const auto loop = AsioLoop::Create(context).value();
    for (int i = 0; i < 3; ++i) {
      asio::co_spawn(
          context,
          [&service, &loop, alive]() -> asio::awaitable<void> {
            const std::shared_ptr<int> in_frame = alive;
            SessionBuffers session(service.sessions());
            const Allocation got = co_await BuffersFor(session, *loop);
            ADD_FAILURE() << static_cast<int>(got);
          },
          asio::detached);
    }
    context.poll();
    EXPECT_EQ(service.Waiting(), 3u);
    EXPECT_GT(alive.use_count(), 1);
    if (served) service.GiveBackAll();
  }
  EXPECT_EQ(alive.use_count(), 1);
  EXPECT_EQ(service.Waiting(), 0u);
  EXPECT_EQ(service.Free(), 4u);
}

TEST_F(AsioWaitTest, FieldDestroyedWhileItWaitsItEndsTheWait) {
  asio::cancellation_signal cancel;
  {
    AsioWait wait(*loop_, session_);
    ASSERT_EQ(session_.AllocateBuffers(wait.waker()), Allocation::kWaiting);
    wait.AsyncFinish(
        asio::bind_cancellation_slot(cancel.slot(),
                                     [&](Allocation got) { Note('a', got); }),
        steady_clock::now() + hours(1));
  }
  EXPECT_EQ(service_.Waiting(), 0u);
  EXPECT_EQ(log_, "");

  // Its slot no longer cancels: the session waits again.
  AsioWait next(*loop_, session_);
  ASSERT_EQ(session_.AllocateBuffers(next.waker()), Allocation::kWaiting);
  cancel.emit(asio::cancellation_type::terminal);
  EXPECT_EQ(service_.Waiting(), 1u);
  next.AsyncFinish([&](Allocation got) { Note('b', got); });
  RunUntil(1);
  EXPECT_EQ(log_, "a");
  service_.GiveBackAll();
  RunUntil(2);
  EXPECT_EQ(log_, "aB");
}

TEST_F(AsioWaitTest, AwaitsAtEveryPlaceOfAnExpression) {
  Service service({.capacity = 20});
  service.TakeAllBut(0);
  std::deque<SessionBuffers> sessions;
  const auto wait = [&] {
    return BuffersFor(sessions.emplace_back(service.sessions()), *loop_);
  };
  asio::co_spawn(
      context_,
      [&]() -> asio::awaitable<void> {
        constexpr Allocation kGranted = Allocation::kGranted;
        const auto both = [](Allocation a, Allocation b) { return a == b; };
        const auto inner = [&]() -> asio::awaitable<Allocation> {
          co_return co_await wait();
        };
        int rounds = 0;
        if (co_await wait() != kGranted) co_return;
        while (co_await wait() == kGranted && rounds < 2) ++rounds;
        if (!both(co_await wait(), co_await wait())) co_return;
        const Allocation got =
            co_await inner() == kGranted ? co_await wait() : kGranted;
        if (got == kGranted && co_await inner() == kGranted) Note('a', got);
      },
      [](std::exception_ptr error) {
        if (error) std::rethrow_exception(error);
      });
  for (int waits = 0; log_.empty(); ++waits) {
    context_.poll();
    if (!log_.empty()) {
      EXPECT_EQ(waits, 9);
      break;
    }
    ASSERT_EQ(service.Waiting(), 1u);
    service.GiveBack(2);
  }
  EXPECT_EQ(log_, "A");
  service.GiveBackAll();
}

TEST_F(AsioWaitTest, StopLetsTheContextEnd) {
  loop_->Stop();
  context_.run();
}

TEST_F(AsioWaitTest, StopByWhoWasServedLetsTheContextEnd) {
  AsioWait wait(*loop_, session_);
  ASSERT_EQ(session_.AllocateBuffers(wait.waker()), Allocation::kWaiting);
  wait.AsyncFinish([&](Allocation got) {
    Note('a', got);
    loop_->Stop();
  });
  service_.GiveBackAll();
  context_.run();
  EXPECT_EQ(log_, "A");
}

// Sessions of several loops that take, hold and return, with deadlines that
// pass about when they are served: each wait ends once, nothing leaks (S5).
TEST(AsioWaitRaceTest, S5EveryWaitEndsOnceHoweverLoopsRace) {
  constexpr int kLoops = 3;
  constexpr int kSessions = 8;
  const uint32_t seed = std::random_device()();
  RecordProperty("seed", std::to_string(seed));
  SCOPED_TRACE(seed);
  const int rounds = Rounds(500);
  Service service({.capacity = 4});
  std::vector<std::thread> threads;
  std::atomic<int> ended{0};
  for (int i = 0; i < kLoops; ++i) {
    threads.emplace_back([&, i] {
      asio::io_context context;
      const auto loop = AsioLoop::Create(context).value();
      std::deque<SessionBuffers> sessions;
      std::minstd_rand random(seed + static_cast<uint32_t>(i));
      int open = kSessions;
      for (int j = 0; j < kSessions; ++j) {
        asio::co_spawn(
            context,
            [&, session = &sessions.emplace_back(
                    service.sessions())]() -> asio::awaitable<void> {
              for (int round = 0; round < rounds; ++round) {
                const auto deadline =
                    steady_clock::now() + microseconds(random() % 200);
                const Allocation got =
                    co_await BuffersFor(*session, *loop, deadline);
                if (got == Allocation::kGranted) {
                  co_await asio::post(context, asio::use_awaitable);
                  session->ReleaseBuffers();
                }
                ++ended;
              }
              if (--open == 0) loop->Stop();
            },
            [](std::exception_ptr error) {
              if (error) std::rethrow_exception(error);
            });
      }
      context.run();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ended, kLoops * kSessions * rounds);
  EXPECT_EQ(service.Free(), 4u);
  EXPECT_EQ(service.Waiting(), 0u);
}

// Several threads run one context, one strand a session: takes, holds, returns,
// deadlines, cancels through slots, and in the end Stop while some wait.
TEST(AsioWaitRaceTest, FieldSeveralThreadsMayRunOneContext) {
  constexpr int kThreads = 3;
  constexpr int kSessions = 12;
  const uint32_t seed = std::random_device()();
  RecordProperty("seed", std::to_string(seed));
  SCOPED_TRACE(seed);
  const int rounds = Rounds(1'000);
  Service service({.capacity = 4});
  asio::io_context context(kThreads);
  auto loop = AsioLoop::Create(context).value();
  struct Client {
    Client(SessionAllocator& allocator, asio::io_context& on, uint32_t with)
        : session(allocator), strand(asio::make_strand(on)), random(with) {}
    SessionBuffers session;
    asio::strand<asio::io_context::executor_type> strand;
    asio::cancellation_signal cancel;
    std::minstd_rand random;
    int inside = 0;  // not atomic: the strand's
  };
  std::deque<Client> clients;
  std::atomic<int> open{kSessions};
  std::atomic<int> ended{0};
  for (uint32_t i = 0; i < kSessions; ++i) {
    Client& client =
        clients.emplace_back(service.sessions(), context, seed + i);
    asio::co_spawn(
        client.strand,
        [&]() -> asio::awaitable<void> {
          for (int round = 0; round < rounds; ++round) {
            auto deadline = AsioWait::Time::max();
            if (client.random() % 4 == 0) {
              deadline =
                  steady_clock::now() + microseconds(client.random() % 200);
            }
            if (client.random() % 8 == 0) {
              asio::post(client.strand, [&] {
                client.cancel.emit(asio::cancellation_type::terminal);
              });
            }
            AsioWait wait(*loop, client.session);
            Allocation got = client.session.AllocateBuffers(wait.waker());
            if (got == Allocation::kWaiting) {
              got = co_await wait.AsyncFinish(
                  asio::bind_cancellation_slot(client.cancel.slot(),
                                               asio::use_awaitable),
                  deadline);
            }
            EXPECT_EQ(client.inside++, 0);
            if (got == Allocation::kGranted) {
              --client.inside;
              co_await asio::post(client.strand, asio::use_awaitable);
              ++client.inside;
              client.session.ReleaseBuffers();
            }
            --client.inside;
            ++ended;
          }
          if (--open == 1) loop->Stop();
        },
        [](std::exception_ptr error) {
          if (error) std::rethrow_exception(error);
        });
  }
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] { context.run(); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ended, kSessions * rounds);
  EXPECT_EQ(service.Free(), 4u);
  EXPECT_EQ(service.Waiting(), 0u);
}

}  // namespace
}  // namespace tandem
