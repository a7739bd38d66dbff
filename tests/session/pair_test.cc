// S2: a pair allocation takes what is missing of the two buffers, all
// or nothing.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/support/service.h"

namespace tandem {
namespace {

TEST(PairTest, TakesBothOrNone) {
  Service service({.capacity = 4});
  service.TakeAllBut(2);
  SessionBuffers first(service.sessions());
  EXPECT_EQ(first.AllocateBuffers(), Allocation::kGranted);
  EXPECT_TRUE(first.has_buffer(Side::kRequest));
  EXPECT_TRUE(first.has_buffer(Side::kResponse));
  EXPECT_NE(first.buffer(Side::kRequest), first.buffer(Side::kResponse));
  EXPECT_EQ(service.Free(), 0u);
  service.GiveBack(1);
  SessionBuffers second(service.sessions());
  EXPECT_EQ(second.AllocateBuffers(), Allocation::kExhausted);
  EXPECT_FALSE(second.has_buffer(Side::kRequest));
  EXPECT_FALSE(second.has_buffer(Side::kResponse));
  EXPECT_EQ(service.Free(), 1u);
}

TEST(PairTest, TakesOnlyWhatIsMissing) {
  Service service({.capacity = 4});
  SessionBuffers session(service.sessions());
  HoldOne(session, Side::kResponse);
  service.TakeAllBut(1);
  const std::byte* const held = session.buffer(Side::kResponse);
  EXPECT_EQ(session.AllocateBuffers(), Allocation::kGranted);
  EXPECT_EQ(session.buffer(Side::kResponse), held);
  EXPECT_EQ(session.ring(Side::kResponse).size(), 1u);
  EXPECT_EQ(service.Free(), 0u);
  EXPECT_EQ(session.AllocateBuffers(), Allocation::kGranted);
}

TEST(PairTest, GivesBackAnEmptyBufferWhenItFails) {
  Service service({.capacity = 4});
  SessionBuffers session(service.sessions());
  ASSERT_EQ(session.AllocateReceiveBuffer(Side::kRequest),
            Allocation::kGranted);
  service.TakeAllBut(0);
  EXPECT_EQ(session.AllocateBuffers(), Allocation::kExhausted);
  EXPECT_FALSE(session.has_buffer(Side::kRequest));
  EXPECT_EQ(service.Free(), 1u);
}

TEST(PairTest, KeepsABufferWithDataWhenItFails) {
  Service service({.capacity = 4});
  SessionBuffers session(service.sessions());
  HoldOne(session);
  service.TakeAllBut(0);
  const std::byte* const held = session.buffer(Side::kRequest);
  EXPECT_EQ(session.AllocateBuffers(), Allocation::kExhausted);
  ASSERT_TRUE(session.has_buffer(Side::kRequest));
  EXPECT_EQ(session.buffer(Side::kRequest), held);
  EXPECT_EQ(held[0], std::byte{'x'});
}

TEST(PairTest, GivesBackAnEmptyBufferWhenItWaits) {
  Service service({.capacity = 4});
  SessionBuffers session(service.sessions());
  ASSERT_EQ(session.AllocateReceiveBuffer(Side::kRequest),
            Allocation::kGranted);
  service.TakeAllBut(0);
  EXPECT_EQ(session.AllocateBuffers(Waker{}), Allocation::kWaiting);
  EXPECT_FALSE(session.has_buffer(Side::kRequest));
  EXPECT_EQ(service.Free(), 1u);
  service.GiveBack(1);
  EXPECT_EQ(session.FinishWait(), WaitStatus::kGranted);
  EXPECT_TRUE(session.has_buffer(Side::kRequest));
  EXPECT_TRUE(session.has_buffer(Side::kResponse));
}

TEST(PairTest, KeepsABufferWithDataWhileItWaits) {
  Service service({.capacity = 4});
  SessionBuffers session(service.sessions());
  HoldOne(session);
  service.TakeAllBut(0);
  EXPECT_EQ(session.AllocateBuffers(Waker{}), Allocation::kWaiting);
  EXPECT_EQ(session.ring(Side::kRequest).size(), 1u);
  service.GiveBack(1);  // Its complement is enough.
  EXPECT_EQ(session.FinishWait(), WaitStatus::kGranted);
  EXPECT_EQ(session.ring(Side::kRequest).size(), 1u);
  EXPECT_EQ(session.ring(Side::kResponse).size(), 0u);
}

// Allocations that searched all caches, by this thread, which alone uses the
// pool.
uint64_t Searches(Service& service) {
  uint64_t searches = 0;
  for (const auto& thread : service.pool().Snapshot().threads) {
    searches += thread.shortages;
  }
  return searches;
}

TEST(PairTest, FieldASessionThatHoldsDataSearchesTheCachesOnce) {
  Service service({.capacity = 4});
  SessionBuffers session(service.sessions());
  HoldOne(session);
  service.TakeAllBut(0);
  const uint64_t before = Searches(service);
  EXPECT_EQ(session.AllocateBuffers(Waker{}), Allocation::kWaiting);
  EXPECT_EQ(Searches(service) - before, 1u);
  EXPECT_TRUE(session.CancelWait());
}

// One buffer is free all the time, so a pair always fails and one buffer can
// always be taken. A pair that was taken by halves would hide that buffer for
// a moment.
TEST(PairTest, NobodyEverSeesHalfAPair) {
  Service service({.capacity = 4, .reserve = 0, .cache_size = 0});
  service.TakeAllBut(1);
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      SessionBuffers session(service.sessions());
      while (!done) {
        ASSERT_EQ(session.AllocateBuffers(), Allocation::kExhausted);
      }
    });
  }
  for (int i = 0; i < Rounds(200'000); ++i) {
    std::byte* const buffer = service.pool().Acquire();
    EXPECT_NE(buffer, nullptr);
    if (buffer == nullptr) break;
    service.pool().Release(buffer);
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
}

TEST(PairTest, IsWholeOrNotThereUnderContention) {
  Service service({.capacity = 5, .reserve = 0, .cache_size = 2});
  std::atomic<uint64_t> granted{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      SessionBuffers session(service.sessions());
      for (int round = 0; round < Rounds(50'000); ++round) {
        const Allocation result = session.AllocateBuffers();
        const bool both = result == Allocation::kGranted;
        ASSERT_EQ(session.has_buffer(Side::kRequest), both);
        ASSERT_EQ(session.has_buffer(Side::kResponse), both);
        granted += both;
        session.ReleaseBuffers();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(granted, 0u);
  EXPECT_EQ(service.Free(), 5u);
}

}  // namespace
}  // namespace tandem
