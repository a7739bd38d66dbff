#include "tandem/pool/buffer_pool.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/pool/buffer.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

// P1
TEST(BufferPoolTest, HandsOutCapacityBuffersAndNotOneMore) {
  const auto pool = NewPool({.capacity = 100});
  const std::vector<std::byte*> all = TakeAll(*pool);
  EXPECT_EQ(all.size(), 100u);
  EXPECT_EQ(std::set(all.begin(), all.end()).size(), 100u);
  EXPECT_EQ(pool->Acquire(), nullptr);
  pool->ReleaseMany(all);
}

// P3
TEST(BufferPoolTest, ReleasedBufferCanBeTakenAgainAtOnce) {
  const auto pool = NewPool({.capacity = 10});
  std::vector<std::byte*> all = TakeAll(*pool);
  for (std::byte* const buffer : all) {
    pool->Release(buffer);
    EXPECT_EQ(pool->Acquire(), buffer);
    EXPECT_EQ(pool->Acquire(), nullptr);
  }
  pool->ReleaseMany(all);
}

// S8, P3: a caller that takes single buffers may also take the reserve.
TEST(BufferPoolTest, AcquireMayTakeTheReserve) {
  for (const uint32_t reserve : {0u, 1u, 2u, 7u, 8u}) {
    const auto pool = NewPool({.capacity = 8, .reserve = reserve});
    EXPECT_EQ(pool->reserve(), reserve);
    ExpectCanTake(*pool, 8);
  }
}

// P1
TEST(BufferPoolTest, PoolOfOneBufferWorks) {
  const auto pool = NewPool({.capacity = 1, .reserve = 0});
  for (int i = 0; i < 10; ++i) ExpectCanTake(*pool, 1);
}

// Section 3, batches: all or none.
TEST(BufferPoolTest, AcquireManyGivesAllOrNothing) {
  const auto pool = NewPool({.capacity = 20});
  std::vector<std::byte*> most(15);
  ASSERT_TRUE(pool->AcquireMany(most));
  std::vector<std::byte*> too_many(6);
  EXPECT_FALSE(pool->AcquireMany(too_many));
  ExpectAtRest(*pool, 15);
  std::vector<std::byte*> rest(5);
  EXPECT_TRUE(pool->AcquireMany(rest));
  ExpectAtRest(*pool, 20);
  pool->ReleaseMany(most);
  pool->ReleaseMany(rest);
}

class BatchTest : public ::testing::TestWithParam<size_t> {};

// P1: batches of every size; large ones in pieces.
TEST_P(BatchTest, BatchHoldsDifferentBuffersAndComesBackWhole) {
  const size_t count = GetParam();
  const auto pool = NewPool({.capacity = 1'000});
  for (int round = 0; round < 5; ++round) {
    std::vector<std::byte*> batch(count);
    ASSERT_TRUE(pool->AcquireMany(batch));
    EXPECT_EQ(std::set(batch.begin(), batch.end()).size(), count);
    ExpectAtRest(*pool, static_cast<uint32_t>(count));
    pool->ReleaseMany(batch);
    ExpectAtRest(*pool, 0);
  }
  ExpectCanTake(*pool, 1'000);
}

INSTANTIATE_TEST_SUITE_P(BufferPool, BatchTest,
                         ::testing::Values(0, 1, 2, 63, 64, 65, 127, 128, 129,
                                           256, 257, 511, 512, 513, 999,
                                           1'000));

// P1
TEST(BufferPoolTest, BatchLargerThanThePoolFails) {
  const auto pool = NewPool({.capacity = 200});
  std::vector<std::byte*> batch(201);
  EXPECT_FALSE(pool->AcquireMany(batch));
  batch.resize(5'000'000);
  EXPECT_FALSE(pool->AcquireMany(batch));
  ExpectCanTake(*pool, 200);
}

// P3: a batch larger than a piece digs into caches and the reserve too.
TEST(BufferPoolTest, LargeBatchTakesWhatLiesInTheOwnCache) {
  const auto pool = NewPool({.capacity = 200});
  FillCache(*pool);
  ASSERT_NE(pool->Snapshot().cached, 0u);
  std::vector<std::byte*> all(200);
  ASSERT_TRUE(pool->AcquireMany(all));
  pool->ReleaseMany(all);
}

// P6
TEST(BufferPoolTest, AnyThreadMayReleaseWhatAnotherHasAcquired) {
  const auto pool = NewPool({.capacity = 64});
  Companion consumer;
  for (int i = 0; i < 1'000; ++i) {
    std::byte* const buffer = pool->Acquire();
    ASSERT_NE(buffer, nullptr);
    consumer.Run([&] { pool->Release(buffer); });
  }
  ExpectAtRest(*pool, 0);
  ExpectCanTake(*pool, 64);
}

// P6
TEST(BufferPoolTest, PoolsDoNotMix) {
  const auto small = NewPool({.capacity = 4});
  const auto large = NewPool({.buffer_size = 4'096, .capacity = 32});
  const std::vector<std::byte*> all = TakeAll(*small);
  EXPECT_EQ(all.size(), 4u);
  ExpectCanTake(*large, 32);
  small->ReleaseMany(all);
  ExpectCanTake(*small, 4);
}

// Section 5: the region is one span, and a buffer knows its place in it.
TEST(BufferPoolTest, RegionSpansAllBuffersByTheirIndex) {
  const auto pool = NewPool({.buffer_size = 4'096, .capacity = 32});
  EXPECT_EQ(pool->region().size(), 32u * 4'096);
  EXPECT_EQ(pool->stride(), 4'096u);
  const std::vector<std::byte*> all = TakeAll(*pool);
  for (std::byte* const buffer : all) {
    const BufferIndex index = pool->IndexOf(buffer);
    EXPECT_EQ(pool->AddressOf(index), buffer);
    EXPECT_EQ(
        pool->region().data() + static_cast<size_t>(index) * pool->stride(),
        buffer);
  }
  pool->ReleaseMany(all);
}

// P5: the pool never touches a buffer's memory.
TEST(BufferPoolTest, BuffersKeepTheirContentsFromOneOwnerToTheNext) {
  const auto pool = NewPool({.buffer_size = 64, .capacity = 500});
  std::vector<std::byte*> all = TakeAll(*pool);
  for (std::byte* const buffer : all) {
    std::memset(buffer, static_cast<int>(pool->IndexOf(buffer)) % 251, 64);
  }
  pool->ReleaseMany(all);
  all = TakeAll(*pool);
  for (std::byte* const buffer : all) {
    const auto expected =
        std::byte(static_cast<uint32_t>(pool->IndexOf(buffer)) % 251);
    EXPECT_TRUE(std::all_of(buffer, buffer + 64,
                            [&](std::byte b) { return b == expected; }));
  }
  pool->ReleaseMany(all);
}

// P1: fresh memory is zero.
TEST(BufferPoolTest, FreshBuffersReadAsZeros) {
  const auto pool = NewPool({.capacity = 16});
  const std::vector<std::byte*> all = TakeAll(*pool);
  for (std::byte* const buffer : all) {
    EXPECT_TRUE(std::all_of(buffer, buffer + pool->buffer_size(),
                            [](std::byte b) { return b == std::byte{0}; }));
  }
  pool->ReleaseMany(all);
}

// P2 in its portable form: a hot buffer is taken again, off the thread's cache.
TEST(BufferPoolTest, MostRecentlyReleasedBufferIsTakenFirst) {
  const auto pool = NewPool({.capacity = 256});
  std::array<std::byte*, 3> three;
  ASSERT_TRUE(pool->AcquireMany(three));
  for (std::byte* const buffer : three) pool->Release(buffer);
  EXPECT_EQ(pool->Acquire(), three[2]);
  EXPECT_EQ(pool->Acquire(), three[1]);
  EXPECT_EQ(pool->Acquire(), three[0]);
  pool->ReleaseMany(three);
}

}  // namespace
}  // namespace tandem
