#ifndef TANDEM_TESTS_SESSION_STOPPED_SESSION_H_
#define TANDEM_TESTS_SESSION_STOPPED_SESSION_H_

#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/pool/stepper.h"
#include "tandem/tests/pool/testing.h"
#include "tandem/tests/support/service.h"
#include "tandem/tests/support/waiting_session.h"

namespace tandem {

enum class Kind { kReceive, kPair, kLate };

// The class of kLate.
inline constexpr char kLateName[] = "late";
inline constexpr uint32_t kLateKeep = 4;

// A session that knows its place in the order of wake-ups.
class Party {
 public:
  Party(Service& service, std::atomic<int>& turns)
      : late_(service.sessions().FindClass(kLateName).value()),
        session_(service) {
    session_.on_wake = [this, &turns] { place_ = ++turns; };
  }

  Allocation Ask(Kind kind) {
    const Allocation answer = kind == Kind::kPair      ? session_.Pair()
                              : kind == Kind::kReceive ? session_.Receive()
                                                       : session_.As(late_);
    waits_ = answer == Allocation::kWaiting;
    status_ = waits_ ? WaitStatus::kWaiting : WaitStatus::kGranted;
    return answer;
  }
  void Cancel() { cancelled_ = session_.CancelWait(); }
  void Release() {
    for (const Side side : kSides) Drain(session_, side);
    session_.ReleaseBuffers();
  }

  bool IsServed() {
    if (status_ == WaitStatus::kWaiting) status_ = session_.FinishWait();
    return status_ == WaitStatus::kGranted;
  }
  // 0: not yet.
  int place() const { return place_; }

  // At the end: exactly one of wake-up and cancel has ended each wait.
  void End() {
    EXPECT_NE(IsServed(), cancelled_);
    EXPECT_EQ(session_.wakes(), waits_ && !cancelled_ ? 1 : 0);
    Release();
  }

  SessionBuffers& session() { return session_; }

 private:
  const ClassId late_;
  WaitingSession session_;
  std::atomic<int> place_{0};
  WaitStatus status_ = WaitStatus::kGranted;
  bool waits_ = false;
  bool cancelled_ = false;
};

// A thread is stopped forever, before any instruction of a session's
// operations. Meanwhile others finish a fixed number of operations, get every
// buffer except those in its hands, wait, leave, and are served.
class StoppedSessionTest : public BothWaysTest {
 protected:
  static constexpr uint32_t kCapacity = 24;
  static constexpr uint32_t kCacheSize = 8;
  // What another thread finishes while one is stopped, beside taking all
  // buffers: this many allocations of both kinds, with a release for each; and
  // rounds in which two sessions wait and are served, and one waits and leaves.
  static constexpr int kRoundsOfOthers = 250;
  static constexpr int kWaitsOfOthers = 10;

  void SetUp() override {
    if (!Stepper::Works()) GTEST_SKIP() << "needs single steps";
  }

  // Creates `stopped_`, and fills this thread's cache and another thread's.
  void Start(uint32_t reserve, uint32_t max_overtakes = 64) {
    service_.emplace(
        PoolOptions{.capacity = kCapacity,
                    .reserve = reserve,
                    .cache_size = kCacheSize,
                    .bias = GetParam()},
        SessionOptions{
            .max_overtakes = max_overtakes,
            .classes = {{.name = kLateName, .keep = kLateKeep, .rank = 250}}});
    FillCache(service_->pool());
    companion_.Run([&] { FillCache(service_->pool()); });
    stopped_.emplace(*service_, turns_);
  }
  void OtherWaits() {
    ASSERT_EQ(others_.emplace_back(*service_, turns_).Ask(kind_),
              Allocation::kWaiting);
  }

  // Stops this thread before every instruction of `operation` in turn, and
  // checks that another thread continues, while up to `in_hands` buffers are
  // out of its reach. Then lets the operation end, and checks that nothing
  // is lost.
  void CheckStops(uint32_t in_hands, const Stepper::Function& operation) {
    Stepper::InterruptEverywhere(
        operation,
        [&] {
          alarm(20);  // Ends who waits for the stopped one.
          std::thread([&] {
            CheckService();
            CheckRounds();
            CheckWaits(in_hands);
          }).join();
        },
        [&] {
          service_->GiveBackAll();
          if (stopped_) stopped_->End();
          for (Party& other : others_) other.End();
          ExpectAtRest(service_->pool(), 0);
          ExpectCanTake(service_->pool(), kCapacity);
          EXPECT_EQ(service_->pool().Snapshot().refusals, 0u);
        });
  }

  // The waiters, and one more that comes now, are served in order. At most one
  // has its buffers but not yet its wake-up, which the stopped thread has in
  // its hands.
  void CheckService() {
    Party& last = others_.emplace_back(*service_, turns_);
    if (others_.size() > 1) {
      EXPECT_EQ(last.Ask(kind_), Allocation::kWaiting);
    } else {
      EXPECT_EQ(last.Ask(kind_), Allocation::kGranted);
      return;
    }
    service_->GiveBackAll();
    int undelivered = 0;
    int place = 0;
    for (Party& other : others_) {
      EXPECT_TRUE(other.IsServed());
      if (other.place() == 0) {
        ++undelivered;
      } else {
        EXPECT_GT(other.place(), place);
        place = other.place();
      }
    }
    EXPECT_LE(undelivered, 1);
  }

  void CheckRounds() {
    for (Party& other : others_) other.Release();
    Party passing(*service_, turns_);
    for (int i = 0; i < kRoundsOfOthers; ++i) {
      EXPECT_EQ(passing.Ask(Kind::kPair), Allocation::kGranted);
      passing.Release();
      EXPECT_EQ(passing.Ask(Kind::kReceive), Allocation::kGranted);
      passing.Release();
    }
  }

  // Takes all buffers; then others wait, leave, and are served.
  void CheckWaits(uint32_t in_hands) {
    BufferPool& pool = service_->pool();
    std::vector<std::byte*> taken = TakeAll(pool);
    ASSERT_GE(taken.size() + in_hands, kCapacity);
    const std::span<std::byte*> four = std::span(taken).first<4>();
    for (int i = 0; i < kWaitsOfOthers; ++i) {
      std::deque<Party> parties;
      for (int n = 0; n < 3; ++n) {
        EXPECT_EQ(parties.emplace_back(*service_, turns_).Ask(Kind::kPair),
                  Allocation::kWaiting);
      }
      parties[1].Cancel();
      pool.ReleaseMany(four.first<2>());
      EXPECT_TRUE(parties[0].IsServed());
      EXPECT_FALSE(parties[2].IsServed());
      pool.ReleaseMany(four.last<2>());
      EXPECT_TRUE(parties[2].IsServed());
      EXPECT_LT(parties[0].place(), parties[2].place());
      for (Party& party : parties) party.End();
      EXPECT_TRUE(pool.AcquireMany(four));
    }
    pool.ReleaseMany(taken);
  }

  std::optional<Service> service_;
  Companion companion_;
  std::atomic<int> turns_{0};
  std::optional<Party> stopped_;
  std::deque<Party> others_;
  Kind kind_ = Kind::kPair;  // what the others wait for
};

}  // namespace tandem

#endif  // TANDEM_TESTS_SESSION_STOPPED_SESSION_H_
