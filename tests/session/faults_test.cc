// S4, S5, S7: wake-ups that call every function again, and deadlines at the
// ends of time.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/session/blocking_wait.h"
#include "tandem/session/deadline_list.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/pool/testing.h"
#include "tandem/tests/support/full_service.h"
#include "tandem/tests/support/service.h"

namespace tandem {
namespace {

// Sessions of two pools. Each wake-up does something random, several times,
// with any session of either pool: asks, in every class, waits again, releases,
// cancels, destroys, takes buffers without a session, trims, looks.
class Swarm {
 public:
  explicit Swarm(uint64_t seed) : random_(seed) {
    for (size_t i = 0; i < kMembers; ++i) {
      Service& service = services_[i % 2];
      members_.push_back(std::make_unique<Member>(*this, service));
    }
  }

  void Run(int steps) {
    for (int i = 0; i < steps; ++i) {
      budget_ = 100;
      Act();
    }
  }

  // Ends all sessions. All buffers are there again, and each wait has ended in
  // one way.
  void End() {
    budget_ = 0;
    members_.clear();
    for (Service& service : services_) {
      EXPECT_EQ(service.Waiting(), 0u);
      EXPECT_EQ(service.Free(), kCapacity);
      for (const auto& c : service.sessions().Snapshot().classes) {
        EXPECT_EQ(c.waits, c.grants + c.cancels) << c.name;
      }
    }
  }

  int wakes() const { return wakes_; }
  int deepest() const { return deepest_; }

 private:
  static constexpr size_t kMembers = 24;
  static constexpr uint32_t kCapacity = 6;

  struct Member {
    Member(Swarm& all, Service& of)
        : swarm(all),
          service(of),
          session(std::make_unique<SessionBuffers>(of.sessions())) {}
    operator Waker() { return {Wake, this}; }  // NOLINT: as a waker it is used

    Swarm& swarm;
    Service& service;
    std::unique_ptr<SessionBuffers> session;
    bool in_use = false;  // by a call that has not returned
  };

  static void Wake(void* context) noexcept {
    Swarm& swarm = static_cast<Member*>(context)->swarm;
    ++swarm.wakes_;
    swarm.deepest_ = std::max(swarm.deepest_, ++swarm.depth_);
    for (int i = 0; i < 4 && swarm.budget_-- > 0; ++i) swarm.Act();
    --swarm.depth_;
  }

  void Act() {
    Member& member = *members_[random_() % kMembers];
    if (member.in_use) return;
    member.in_use = true;
    SessionBuffers& session = *member.session;
    switch (random_() % 13) {
      case 0:
      case 1:
        (void)session.AllocateBuffers(member);
        break;
      case 2:
        (void)session.AllocateReceiveBuffer(Side::kResponse, member);
        break;
      case 3:
        (void)session.AllocateBuffers();
        break;
      case 4:
        session.FinishWait();
        session.ReleaseBuffers();
        break;
      case 5:
        session.CancelWait();
        break;
      case 6:
        member.session =
            std::make_unique<SessionBuffers>(member.service.sessions());
        break;
      case 7:
        if (std::byte* const buffer = member.service.pool().Acquire()) {
          member.service.pool().Release(buffer);
        }
        break;
      case 8:
        TakeMany(member.service.pool());
        break;
      case 9:
        EXPECT_TRUE(member.service.pool().Trim().ok());
        break;
      case 10:
        Look(member.service);
        break;
      case 11:
      case 12:
        (void)session.AllocateBufferAs(
            *member.service.sessions().FindClass("late"), Side::kRequest,
            member);
        break;
    }
    member.in_use = false;
  }

  static void TakeMany(BufferPool& pool) {
    std::array<std::byte*, 3> several;
    if (pool.AcquireMany(several)) pool.ReleaseMany(several);
  }

  void Look(const Service& service) {
    const SessionSnapshot now = service.sessions().Snapshot();
    EXPECT_LE(now.pool.available + now.pool.cached, kCapacity);
    EXPECT_LE(now.pool.waiting, kMembers);
    for (const auto& c : now.classes) EXPECT_LE(c.waiting, kMembers) << c.name;
  }

  static Service NewService() {
    return Service({.capacity = kCapacity, .cache_size = 2},
                   {.classes = {{.name = "late", .keep = 3, .rank = 250}}});
  }

  std::array<Service, 2> services_ = {NewService(), NewService()};
  std::vector<std::unique_ptr<Member>> members_;
  std::mt19937_64 random_;
  int budget_ = 0;
  int depth_ = 0;
  int deepest_ = 0;
  int wakes_ = 0;
};

// S4, S5: wake-ups nest at most once for each pool, and lose nothing.
TEST(ReentryTest, WakeUpsMayUseEverythingAgain) {
  Swarm swarm(TestSeed());
  swarm.Run(Rounds(600'000));
  EXPECT_GT(swarm.wakes(), Rounds(10'000));
  EXPECT_EQ(swarm.deepest(), 2);
  swarm.End();
}

// Counts how often its deadline has passed.
struct CountingNode : DeadlineList::Node {
  CountingNode() {
    on_expired = [](DeadlineList::Node& node) {
      ++static_cast<CountingNode&>(node).calls;
    };
  }
  int calls = 0;
};

class FarDeadlineTest : public FullServiceTest<> {
 protected:
  using Time = DeadlineList::Time;

  FarDeadlineTest() : FullServiceTest({.capacity = 8}) {}
};

// S7
TEST_F(FarDeadlineTest, BeginningOfTimeEndsTheWaitAtOnce) {
  ASSERT_EQ(session_.AllocateBuffers(BlockingWaker()), Allocation::kWaiting);
  EXPECT_EQ(BlockUntilServed(session_, Time::min()), WaitStatus::kCancelled);
  EXPECT_EQ(service_.Waiting(), 0u);
}

// S7: neither "forever" nor the last moments before it are in the past.
TEST_F(FarDeadlineTest, EndOfTimeLeavesTheWaitToItsBuffers) {
  constexpr std::array kEnds = {Time::max(), Time::max() - Time::duration(1),
                                Time::max() - std::chrono::hours(1)};
  for (const Time end : kEnds) {
    ASSERT_EQ(session_.AllocateBuffers(BlockingWaker()), Allocation::kWaiting);
    std::thread releaser([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      service_.GiveBack(2);
    });
    EXPECT_EQ(BlockUntilServed(session_, end), WaitStatus::kGranted);
    releaser.join();
    session_.ReleaseBuffers();
    service_.TakeAllBut(0);
  }
}

// S7: both ends of time on one list.
TEST_F(FarDeadlineTest, ListKeepsBothEndsOfTime) {
  DeadlineList deadlines;
  CountingNode never, past;
  deadlines.Add(never, Time::max());
  EXPECT_EQ(deadlines.earliest(), Time::max());
  EXPECT_EQ(deadlines.Expire(Time::clock::now()), 0u);
  deadlines.Add(past, Time::min());
  EXPECT_EQ(deadlines.earliest(), Time::min());
  EXPECT_EQ(deadlines.Expire(Time::clock::now()), 1u);
  EXPECT_EQ(past.calls, 1);
  EXPECT_EQ(never.calls, 0);
  EXPECT_EQ(deadlines.earliest(), Time::max());
  deadlines.Remove(never);
}

// S7: a function that throws ends an Expire; the next one calls the others.
TEST_F(FarDeadlineTest, FieldOneThatThrowsLosesNoOtherDeadline) {
  struct Thrower : DeadlineList::Node {
  } thrower;
  thrower.on_expired = [](DeadlineList::Node&) {
    throw std::runtime_error("thrown");
  };
  const Time now = Time::clock::now();
  DeadlineList deadlines;
  CountingNode first, removed, last, later;
  deadlines.Add(first, now);
  deadlines.Add(thrower, now);
  deadlines.Add(removed, now);
  deadlines.Add(last, now);
  deadlines.Add(later, now + std::chrono::seconds(1));
  EXPECT_THROW(deadlines.Expire(now), std::runtime_error);
  EXPECT_EQ(first.calls, 1);
  EXPECT_LE(deadlines.earliest(), now);
  deadlines.Remove(removed);
  EXPECT_EQ(deadlines.Expire(now), 1u);
  EXPECT_EQ(removed.calls, 0);
  EXPECT_EQ(last.calls, 1);
  EXPECT_EQ(deadlines.earliest(), now + std::chrono::seconds(1));
  EXPECT_EQ(deadlines.Expire(now + std::chrono::seconds(1)), 1u);
  EXPECT_EQ(later.calls, 1);
}

// S7: a clock that jumps ahead ends what is due by then; one that jumps back
// ends nothing, and brings nothing back.
TEST_F(FarDeadlineTest, ClockMayJump) {
  using std::chrono::hours;
  const Time now = Time::clock::now();
  DeadlineList deadlines;
  CountingNode soon, late;
  deadlines.Add(soon, now + std::chrono::seconds(1));
  deadlines.Add(late, now + hours(10));
  EXPECT_EQ(deadlines.Expire(now - hours(1)), 0u);
  EXPECT_EQ(deadlines.Expire(now + hours(5)), 1u);
  EXPECT_EQ(deadlines.Expire(now), 0u);
  EXPECT_EQ(deadlines.Expire(now + hours(5)), 0u);
  EXPECT_EQ(soon.calls, 1);
  EXPECT_EQ(late.calls, 0);
  EXPECT_EQ(deadlines.earliest(), now + hours(10));
  EXPECT_EQ(deadlines.Expire(now + hours(10)), 1u);
  EXPECT_EQ(late.calls, 1);
}

}  // namespace
}  // namespace tandem
