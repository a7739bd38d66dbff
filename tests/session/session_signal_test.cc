// P10: sessions allocate, wait, cancel and release in signal handlers that
// interrupted any of these on the same thread.

#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/support/interruptions.h"
#include "tandem/tests/support/service.h"
#include "tandem/tests/support/waiting_session.h"

namespace tandem {
namespace {

// One party of the two on the thread, with sessions of its own: what it asks
// for goes round all operations. Each holder of a buffer has marked it.
class Party {
 public:
  Party(Service& service, std::byte mark)
      : first_(service), second_(service), mark_(mark) {}

  void Step() {
    const uint32_t step = steps_++;
    switch (step % 7) {
      case 0:
        Note(first_, first_.AllocateReceiveBuffer(Side::kRequest));
        break;
      case 1:
        Note(second_, second_.Pair());
        break;
      case 2:
        Note(first_, first_.AllocateBuffers());
        break;
      case 3:
        Note(first_, first_.Receive(Side::kResponse));
        break;
      case 4:
        if (step % 2 == 0) cancels_ += second_.CancelWait();
        Finish(second_);
        break;
      case 5:
        if (step % 3 == 0) cancels_ += first_.CancelWait();
        Finish(first_);
        break;
      case 6:
        Release(second_);
        Release(first_);
        break;
    }
  }

  // Ends everything. Must be called when no handler can come any more.
  void End() {
    for (SessionBuffers* session : {&first_, &second_}) {
      cancels_ += session->CancelWait();
      Finish(*session);
      Release(*session);
    }
    EXPECT_EQ(waits_, first_.wakes() + second_.wakes() + cancels_);
  }

  uint32_t steps() const { return steps_; }
  int waits() const { return waits_; }
  bool sound() const { return sound_; }

 private:
  void Note(SessionBuffers& session, Allocation result) {
    // A session that waits already also gets this answer.
    if (result == Allocation::kWaiting) {
      bool& waits = &session == &first_ ? first_waits_ : second_waits_;
      if (!waits) ++waits_;
      waits = true;
      return;
    }
    Ended(session);
  }
  void Finish(SessionBuffers& session) {
    if (session.FinishWait() != WaitStatus::kWaiting) Ended(session);
  }
  void Ended(SessionBuffers& session) {
    (&session == &first_ ? first_waits_ : second_waits_) = false;
    for (const Side side : kSides) {
      if (session.has_buffer(side)) {
        *session.buffer(side) = mark_;
      }
    }
  }
  void Release(SessionBuffers& session) {
    for (const Side side : kSides) {
      if (session.has_buffer(side) && *session.buffer(side) != mark_) {
        sound_ = false;
      }
    }
    session.ReleaseBuffers();
  }

  WaitingSession first_;
  WaitingSession second_;
  const std::byte mark_;
  std::atomic<uint32_t> steps_{0};  // read while a handler counts
  int waits_ = 0;
  int cancels_ = 0;
  bool first_waits_ = false;
  bool second_waits_ = false;
  bool sound_ = true;
};

Party* in_handler = nullptr;

void StepInHandler(int) {
  for (int i = 0; i < 3; ++i) in_handler->Step();
}

class SessionSignalTest : public ::testing::TestWithParam<uint32_t> {};

// The parameter is the pool's capacity: from no waits at all to waits
// nearly always.
TEST_P(SessionSignalTest, HandlersMayDoWhatTheyInterrupted) {
  Service service({.capacity = GetParam(), .reserve = 1, .cache_size = 4});
  Party main(service, std::byte{1});
  Party handler(service, std::byte{2});
  main.Step();  // The thread has used the pool before.
  {
    in_handler = &handler;
    const Interruptions interruptions(StepInHandler);
    const uint32_t enough = kSanitized ? 3'000 : 30'000;
    while (handler.steps() < enough) {
      for (int i = 0; i < 100; ++i) main.Step();
    }
  }
  main.End();
  handler.End();
  EXPECT_TRUE(main.sound());
  EXPECT_TRUE(handler.sound());
  EXPECT_EQ(service.Free(), GetParam());
  EXPECT_EQ(service.Waiting(), 0u);
  if (GetParam() <= 4) {
    EXPECT_GT(main.waits(), 0);
    EXPECT_GT(handler.waits(), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Capacities, SessionSignalTest,
                         ::testing::Values(2, 3, 4, 5, 8, 32));

// The two buffers of a pool, which the handler releases on request.
struct Release {
  BufferPool* pool;
  std::array<std::byte*, 2> buffers;
  std::atomic<bool> armed{false};
  std::atomic<int> releases{0};
} release;

void ReleaseInHandler(int) {
  if (!release.armed.exchange(false)) return;
  for (std::byte* const buffer : release.buffers) {
    release.pool->Release(buffer);
  }
  ++release.releases;
}

// S4: a release that comes anywhere within a subscription serves it, or is seen
// by it.
TEST(SessionSignalReleaseTest, NoReleaseIsLostOnTheSubscriberItInterrupted) {
  Service service({.capacity = 2, .reserve = 0});
  release.pool = &service.pool();
  release.releases = 0;
  ASSERT_TRUE(service.pool().AcquireMany(release.buffers));
  WaitingSession session(service);
  const Interruptions interruptions(ReleaseInHandler);
  int waits = 0;
  while (release.releases < Rounds(20'000)) {
    release.armed = true;
    bool waited = session.Pair() == Allocation::kWaiting;
    waits += waited;
    if (release.armed.exchange(false)) {
      ASSERT_TRUE(waited);
      ASSERT_TRUE(session.CancelWait());
      ASSERT_EQ(session.FinishWait(), WaitStatus::kCancelled);
      continue;
    }
    if (waited) {
      ASSERT_EQ(session.FinishWait(), WaitStatus::kGranted) << "a lost release";
    }
    ASSERT_TRUE(session.has_buffer(Side::kResponse));
    session.ReleaseBuffers();
    ASSERT_TRUE(service.pool().AcquireMany(release.buffers));
  }
  EXPECT_LE(session.wakes(), waits);
  service.pool().ReleaseMany(release.buffers);
}

// The wait that the handler cancels on request.
struct Cancelling {
  SessionBuffers* session;
  std::atomic<bool> armed{false};
  std::atomic<bool> won{false};
  std::atomic<int> tries{0};
} cancelling;

void CancelInHandler(int) {
  if (!cancelling.armed.exchange(false)) return;
  cancelling.won = cancelling.session->CancelWait();
  ++cancelling.tries;
}

// S5: a cancel that comes anywhere within the service of its wait wins or
// loses; nothing leaks.
TEST(SessionSignalCancelTest, CancelWithinTheServiceOfItsWaitLeaksNothing) {
  Service service({.capacity = 2, .reserve = 0});
  std::array<std::byte*, 2> buffers;
  ASSERT_TRUE(service.pool().AcquireMany(buffers));
  WaitingSession session(service);
  cancelling.session = &session;
  cancelling.tries = 0;
  int granted = 0;
  const Interruptions interruptions(CancelInHandler);
  while (cancelling.tries < Rounds(5'000)) {
    ASSERT_EQ(session.Pair(), Allocation::kWaiting);
    cancelling.won = false;
    cancelling.armed = true;
    service.pool().ReleaseMany(buffers);
    cancelling.armed = false;
    const bool cancelled = cancelling.won;
    ASSERT_EQ(session.FinishWait(),
              cancelled ? WaitStatus::kCancelled : WaitStatus::kGranted);
    ASSERT_EQ(session.has_buffer(Side::kResponse), !cancelled);
    granted += !cancelled;
    ASSERT_EQ(session.wakes(), granted);
    session.ReleaseBuffers();
    ASSERT_TRUE(service.pool().AcquireMany(buffers)) << "a leak";
  }
  service.pool().ReleaseMany(buffers);
}

// Deterministically inside: the handler comes while a wake-up is delivered.
TEST(SessionSignalInWakeUpTest, HandlerIsServedAfterwards) {
  Service service({.capacity = 4, .reserve = 0});
  service.TakeAllBut(0);
  static WaitingSession* handlers;
  static int wakes_within;
  WaitingSession session(service), other(service);
  handlers = &other;
  struct sigaction action = {}, before;
  action.sa_handler = [](int) {
    // Subscribes in the middle of serving: it is served when the
    // serving continues.
    EXPECT_EQ(handlers->Pair(), Allocation::kWaiting);
    wakes_within = handlers->wakes();
  };
  sigaction(SIGUSR1, &action, &before);
  session.on_wake = [] { raise(SIGUSR1); };
  ASSERT_EQ(session.Pair(), Allocation::kWaiting);
  service.GiveBackAll();
  sigaction(SIGUSR1, &before, nullptr);
  EXPECT_EQ(wakes_within, 0);
  EXPECT_EQ(other.wakes(), 1);
  EXPECT_EQ(session.FinishWait(), WaitStatus::kGranted);
  EXPECT_EQ(other.FinishWait(), WaitStatus::kGranted);
}

}  // namespace
}  // namespace tandem
