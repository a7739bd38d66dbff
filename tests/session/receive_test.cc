// S1: a receive takes one buffer for one side, and leaves the reserve.

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/pool/testing.h"
#include "tandem/tests/support/service.h"

namespace tandem {
namespace {

// Receives on sessions of its own until that fails. Returns how many it got.
uint32_t ReceiveAll(Service& service, std::deque<SessionBuffers>& sessions) {
  uint32_t count = 0;
  while (sessions.emplace_back(service.sessions())
             .AllocateReceiveBuffer(Side::kRequest) == Allocation::kGranted) {
    ++count;
  }
  return count;
}

TEST(ReceiveTest, LeavesTheReserve) {
  for (const uint32_t reserve : {0u, 1u, 2u, 5u, 15u}) {
    Service service({.capacity = 16, .reserve = reserve});
    std::deque<SessionBuffers> sessions;
    EXPECT_EQ(ReceiveAll(service, sessions), 16 - reserve);
    EXPECT_EQ(service.Free(), reserve);
  }
}

TEST(ReceiveTest, FillsTheSideThatWasAskedFor) {
  Service service({.capacity = 16});
  SessionBuffers session(service.sessions());
  EXPECT_EQ(session.AllocateReceiveBuffer(Side::kResponse),
            Allocation::kGranted);
  EXPECT_TRUE(session.has_buffer(Side::kResponse));
  EXPECT_FALSE(session.has_buffer(Side::kRequest));
  EXPECT_EQ(session.ring(Side::kResponse).capacity(),
            service.pool().buffer_size());
  EXPECT_EQ(service.Free(), 15u);
}

TEST(ReceiveTest, SideThatHasABufferSucceedsAtOnce) {
  Service service({.capacity = 3});
  SessionBuffers session(service.sessions());
  HoldOne(session);
  service.TakeAllBut(0);
  EXPECT_EQ(session.AllocateReceiveBuffer(Side::kRequest),
            Allocation::kGranted);
  EXPECT_EQ(session.AllocateReceiveBuffer(Side::kRequest, Waker{}),
            Allocation::kGranted);
  EXPECT_EQ(session.ring(Side::kRequest).size(), 1u);
}

TEST(ReceiveTest, FailureTakesNothing) {
  Service service({.capacity = 3});
  SessionBuffers holder(service.sessions());
  HoldOne(holder);
  SessionBuffers session(service.sessions());
  EXPECT_EQ(session.AllocateReceiveBuffer(Side::kRequest),
            Allocation::kExhausted);
  EXPECT_FALSE(session.has_buffer(Side::kRequest));
  EXPECT_EQ(service.Free(), 2u);
}

TEST(ReceiveTest, PairMayTakeWhatAReceiveMustLeave) {
  Service service({.capacity = 4});
  service.TakeAllBut(2);
  SessionBuffers session(service.sessions());
  EXPECT_EQ(session.AllocateReceiveBuffer(Side::kRequest),
            Allocation::kExhausted);
  EXPECT_EQ(session.AllocateBuffers(), Allocation::kGranted);
}

// Buffers in caches count and are found: no more and no fewer.
TEST(ReceiveTest, FindsWhatOtherThreadsCacheAndStillLeavesTheReserve) {
  Service service({.capacity = 32, .reserve = 3, .cache_size = 4});
  std::array<Companion, 6> parked;
  for (Companion& thread : parked) {
    thread.Run([&] { FillCache(service.pool()); });
  }
  ASSERT_GE(service.pool().Snapshot().cached, 12u);
  std::deque<SessionBuffers> sessions;
  EXPECT_EQ(ReceiveAll(service, sessions), 29u);
  EXPECT_EQ(service.Free(), 3u);
}

TEST(ReceiveTest, LeavesTheReserveUnderContention) {
  for (int round = 0; round < Rounds(400) + 5; ++round) {
    Service service({.capacity = 24, .reserve = 2, .cache_size = 4});
    std::vector<std::deque<SessionBuffers>> sessions(4);
    std::atomic<uint32_t> got{0};
    std::vector<std::thread> threads;
    for (auto& mine : sessions) {
      threads.emplace_back([&] { got += ReceiveAll(service, mine); });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_LE(got, 22u);
    ASSERT_EQ(service.Free(), 24 - got);
    std::deque<SessionBuffers> last;
    ASSERT_EQ(got + ReceiveAll(service, last), 22u);
  }
}

}  // namespace
}  // namespace tandem
