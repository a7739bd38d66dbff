// P8: one Snapshot() shows everything that happened.

#include "tandem/pool/snapshot.h"

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

// P8
TEST(SnapshotTest, FreshPoolIsAllFreeAndCold) {
  const PoolSnapshot snapshot =
      NewPool({.capacity = 100, .reserve = 5, .core_pools = 3})->Snapshot();
  EXPECT_EQ(snapshot.capacity, 100u);
  EXPECT_EQ(snapshot.reserve, 5u);
  EXPECT_EQ(snapshot.available, 100u);
  EXPECT_EQ(snapshot.cached, 0u);
  EXPECT_EQ(snapshot.in_use, 0u);
  EXPECT_EQ(snapshot.waiting, 0u);
  EXPECT_EQ(snapshot.shortages, 0u);
  EXPECT_FALSE(snapshot.pressed);
  EXPECT_EQ(snapshot.cores.size(), 3u);
  EXPECT_EQ(snapshot.cold.buffers, 100u);
  EXPECT_TRUE(snapshot.threads.empty());
}

// P8: at most half of what is not reserve, and 512.
TEST(SnapshotTest, CacheLimitFollowsTheCapacityUnlessSet) {
  EXPECT_EQ(NewPool({.capacity = 2})->Snapshot().cache_limit, 0u);
  EXPECT_EQ(NewPool({.capacity = 8})->Snapshot().cache_limit, 3u);
  EXPECT_EQ(NewPool({.capacity = 202})->Snapshot().cache_limit, 100u);
  EXPECT_EQ(NewPool({.capacity = 4'098})->Snapshot().cache_limit, 512u);
  EXPECT_EQ(NewPool({.capacity = 4'098})->Snapshot().cache_budget, 2'048u);
  EXPECT_EQ(
      NewPool({.capacity = 4'096, .cache_size = 7})->Snapshot().cache_limit,
      7u);
}

// P8: every buffer is counted in exactly one place.
TEST(SnapshotTest, AvailableCachedAndInUseAddUpToTheCapacity) {
  const auto pool = NewPool({.capacity = 200});
  std::array<std::byte*, 33> held;
  ASSERT_TRUE(pool->AcquireMany(held));
  Companion other;
  other.Run([&] { FillCache(*pool); });
  FillCache(*pool);
  const PoolSnapshot snapshot = pool->Snapshot();
  EXPECT_EQ(snapshot.in_use, 33u);
  EXPECT_NE(snapshot.cached, 0u);
  EXPECT_EQ(snapshot.available + snapshot.cached + snapshot.in_use, 200u);
  uint32_t cached = 0;
  for (const auto& thread : snapshot.threads) cached += thread.cached;
  EXPECT_EQ(cached, snapshot.cached);
  ExpectAtRest(*pool, 33);
  pool->ReleaseMany(held);
}

std::byte* TakeLast(std::vector<std::byte*>& buffers) {
  std::byte* const last = buffers.back();
  buffers.pop_back();
  return last;
}

class ThreadCountsTest : public ::testing::Test {
 protected:
  PoolSnapshot::Thread Mine() { return pool_->Snapshot().threads.at(0); }

  const std::unique_ptr<BufferPool> pool_ =
      NewPool({.capacity = 64, .reserve = 2, .cache_size = 8});
};

// P8: a miss fetches a batch together with the buffer that was asked for.
TEST_F(ThreadCountsTest, FirstAcquireRefills) {
  std::byte* const buffer = pool_->Acquire();
  EXPECT_EQ(Mine().refills, 1u);
  EXPECT_EQ(Mine().refilled, 3u);
  EXPECT_EQ(Mine().cached, 3u) << "four in all";
  EXPECT_TRUE(Mine().owned);
  pool_->Release(buffer);
}

// P8: an operation that the cache serves costs nothing, not even a count.
TEST_F(ThreadCountsTest, HitsAreNotCounted) {
  pool_->Release(pool_->Acquire());
  const PoolSnapshot::Thread before = Mine();
  for (int i = 0; i < 10; ++i) {
    std::array<std::byte*, 3> three;
    ASSERT_TRUE(pool_->AcquireMany(three));
    pool_->ReleaseMany(three);
  }
  EXPECT_EQ(Mine().refills, before.refills);
  EXPECT_EQ(Mine().refilled, before.refilled);
  EXPECT_EQ(Mine().flushes, before.flushes);
  EXPECT_EQ(Mine().flushed, before.flushed);
}

// P8: half of a full cache makes room.
TEST_F(ThreadCountsTest, FullCacheFlushesHalf) {
  std::vector<std::byte*> many(20);
  ASSERT_TRUE(pool_->AcquireMany(many));
  while (Mine().cached < 8) pool_->Release(TakeLast(many));
  EXPECT_EQ(Mine().flushes, 0u);
  pool_->Release(TakeLast(many));
  EXPECT_EQ(Mine().flushes, 1u);
  EXPECT_EQ(Mine().cached, 5u);
  while (!many.empty()) pool_->Release(TakeLast(many));
}

// P8: a bulk takes what the cache has. A bulk that comes back fills the cache,
// and the excess goes past it, or out of it, in batches of half a cache.
TEST_F(ThreadCountsTest, BulksUseTheCacheAsFarAsItGoes) {
  FillCache(*pool_);
  const uint32_t cached = Mine().cached;
  ASSERT_GT(cached, 2u);
  const uint32_t available = pool_->Snapshot().available;
  std::vector<std::byte*> many(cached + 2);
  ASSERT_TRUE(pool_->AcquireMany(many));
  EXPECT_EQ(Mine().cached, 2u) << "a batch of 4 came for 2";
  EXPECT_EQ(pool_->Snapshot().available, available - 4);
  while (Mine().cached < 7) pool_->Release(TakeLast(many));
  std::vector<std::byte*> more(9);
  ASSERT_TRUE(pool_->AcquireMany(more)) << "2 came, which is half a batch";
  EXPECT_EQ(Mine().cached, 2u);
  const uint64_t flushes = Mine().flushes;
  pool_->ReleaseMany(more);
  EXPECT_EQ(Mine().cached, 7u) << "4 of 9 went past it";
  EXPECT_EQ(Mine().flushes, flushes);
  const std::array two = {TakeLast(many), TakeLast(many)};
  pool_->ReleaseMany(two);
  EXPECT_EQ(Mine().cached, 5u) << "4 were taken out";
  EXPECT_EQ(Mine().flushes, flushes + 1);
  while (!many.empty()) pool_->Release(TakeLast(many));
}

// P8
TEST_F(ThreadCountsTest, StealsShortagesAndFailuresAreCounted) {
  Companion other;
  pool_->Release(pool_->Acquire());
  other.Run([&] { FillCache(*pool_); });
  const std::vector<std::byte*> all = TakeAll(*pool_);
  EXPECT_EQ(all.size(), 64u);
  EXPECT_NE(Mine().steals, 0u);
  EXPECT_EQ(Mine().failures, 1u);
  EXPECT_GE(Mine().shortages, 2u);
  EXPECT_TRUE(pool_->Snapshot().pressed);
  EXPECT_EQ(pool_->Acquire(), nullptr);
  EXPECT_EQ(Mine().failures, 2u);
  pool_->ReleaseMany(all);
  EXPECT_FALSE(pool_->Snapshot().pressed);
}

// P8: under pressure releases bypass the cache.
TEST_F(ThreadCountsTest, BypassesAreCounted) {
  const std::vector<std::byte*> all = TakeAll(*pool_);
  const uint64_t before = Mine().bypasses;
  pool_->Release(all[0]);
  EXPECT_EQ(Mine().bypasses, before + 1);
  EXPECT_EQ(Mine().cached, 0u);
  EXPECT_EQ(pool_->Snapshot().available, 1u);
  pool_->ReleaseMany(std::span(all).subspan(1));
}

}  // namespace
}  // namespace tandem
