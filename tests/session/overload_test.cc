// S7: the number of waiters is bounded; past the bound an allocation is refused
// at once.

#include <atomic>
#include <cstdint>
#include <deque>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/support/service.h"
#include "tandem/tests/support/waiting_session.h"

namespace tandem {
namespace {

TEST(OverloadTest, TellsWhoComesWhenAllPlacesAreTaken) {
  Service service({.capacity = 8}, {.max_waiters = 3});
  service.TakeAllBut(0);
  std::deque<SessionBuffers> waiters;
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(waiters.emplace_back(service.sessions()).AllocateBuffers(Waker{}),
              Allocation::kWaiting);
  }
  WaitingSession session(service);
  EXPECT_EQ(session.Pair(), Allocation::kOverloaded);
  EXPECT_EQ(session.Receive(), Allocation::kOverloaded);
  EXPECT_EQ(service.Waiting(), 3u);
  EXPECT_EQ(session.FinishWait(), WaitStatus::kNone);
  EXPECT_FALSE(session.CancelWait());
  service.GiveBackAll();
  EXPECT_EQ(session.wakes(), 0);
}

TEST(OverloadTest, IsOverWhenSomebodyLeaves) {
  Service service({.capacity = 8}, {.max_waiters = 1});
  service.TakeAllBut(0);
  SessionBuffers first(service.sessions());
  SessionBuffers second(service.sessions());
  for (int i = 0; i < 2000; ++i) {
    ASSERT_EQ(first.AllocateBuffers(Waker{}), Allocation::kWaiting);
    ASSERT_EQ(second.AllocateBuffers(Waker{}), Allocation::kOverloaded);
    ASSERT_TRUE(first.CancelWait());
  }
  EXPECT_EQ(second.AllocateBuffers(Waker{}), Allocation::kWaiting);
}

// A complete holds a buffer that the others wait for: it is not refused, and a
// buffer that a refused session gives back serves it.
TEST(OverloadTest, FindsRoomForWhoHoldsDataAndGivesBackWhatIsEmpty) {
  Service service({.capacity = 8}, {.max_waiters = 1});
  SessionBuffers full(service.sessions());
  HoldOne(full);
  SessionBuffers empty(service.sessions());
  ASSERT_EQ(empty.AllocateReceiveBuffer(Side::kRequest), Allocation::kGranted);
  service.TakeAllBut(0);
  SessionBuffers waiter(service.sessions());
  ASSERT_EQ(waiter.AllocateBuffers(Waker{}), Allocation::kWaiting);
  EXPECT_EQ(full.AllocateBuffers(Waker{}), Allocation::kWaiting);
  EXPECT_EQ(full.ring(Side::kRequest).size(), 1u);
  EXPECT_EQ(empty.AllocateBuffers(Waker{}), Allocation::kOverloaded);
  EXPECT_FALSE(empty.has_buffer(Side::kRequest));
  EXPECT_EQ(full.FinishWait(), WaitStatus::kGranted);
}

TEST(OverloadTest, DoesNotConcernWhoCanBeServed) {
  Service service({.capacity = 8, .reserve = 4}, {.max_waiters = 1});
  service.TakeAllBut(4);
  SessionBuffers waiter(service.sessions());
  ASSERT_EQ(waiter.AllocateReceiveBuffer(Side::kRequest, Waker{}),
            Allocation::kWaiting);
  SessionBuffers pair(service.sessions());
  EXPECT_EQ(pair.AllocateBuffers(Waker{}), Allocation::kGranted);
}

TEST(OverloadTest, BoundHoldsUnderContention) {
  constexpr uint32_t kPlaces = 2;
  Service service({.capacity = 4}, {.max_waiters = kPlaces});
  service.TakeAllBut(0);
  std::atomic<uint32_t> waiting{0};
  std::atomic<uint32_t> most{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      SessionBuffers session(service.sessions());
      for (int i = 0; i < Rounds(100'000); ++i) {
        if (session.AllocateBuffers(Waker{}) != Allocation::kWaiting) continue;
        const uint32_t now = ++waiting;
        uint32_t seen = most;
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        --waiting;
        ASSERT_TRUE(session.CancelWait());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(most, 1u);
  EXPECT_LE(most, kPlaces);
}

}  // namespace
}  // namespace tandem
