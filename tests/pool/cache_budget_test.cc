// How much threads may cache if PoolOptions::cache_size is unset.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "tandem/pool/buffer_pool.h"
#include "tandem/pool/cache/sweep.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

class CacheBudgetTest : public BothWaysTest {};
INSTANTIATE_TEST_SUITE_P(BothWays, CacheBudgetTest, BothWays(), BiasName);

// The buffers in caches, and the sum of the limits, are within the
// documented share.
void ExpectWithinBudget(const BufferPool& pool) {
  const PoolSnapshot snapshot = pool.Snapshot();
  uint32_t limits = 0;
  uint32_t cached = 0;
  for (const PoolSnapshot::Thread& thread : snapshot.threads) {
    limits += thread.limit;
    cached += thread.cached;
    EXPECT_LE(thread.cached, thread.limit);
  }
  EXPECT_EQ(limits, snapshot.cache_granted);
  EXPECT_LE(limits, snapshot.cache_budget);
  EXPECT_LE(cached, snapshot.cache_budget);
  EXPECT_EQ(snapshot.cache_budget, (snapshot.capacity - snapshot.reserve) / 2);
}

// A busy thread's work: takes up to `count` buffers and returns them,
// many times.
void Churn(BufferPool& pool, size_t count, int times = 50) {
  std::vector<std::byte*> buffers(count);
  for (int i = 0; i < times; ++i) {
    for (std::byte*& buffer : buffers) buffer = pool.Acquire();
    for (std::byte* const buffer : buffers) {
      if (buffer != nullptr) pool.Release(buffer);
    }
  }
}

// The calling thread's.
uint32_t GreatestLimit(const BufferPool& pool) {
  uint32_t most = 0;
  for (const auto& thread : pool.Snapshot().threads) {
    most = std::max(most, thread.limit);
  }
  return most;
}

// P2: no more than the thread uses, and that soon.
TEST_P(CacheBudgetTest, CacheGrowsToWhatItsThreadNeeds) {
  const auto pool = NewPool({.capacity = 4'096});
  Churn(*pool, 1);
  EXPECT_LE(GreatestLimit(*pool), 4u);
  Churn(*pool, 64);
  EXPECT_GE(GreatestLimit(*pool), 64u);
  EXPECT_LE(GreatestLimit(*pool), 192u);
  const uint64_t refills = pool->Snapshot().threads[0].refills;
  Churn(*pool, 64);
  EXPECT_EQ(pool->Snapshot().threads[0].refills, refills)
      << "what it needs stays in the cache";
  ExpectWithinBudget(*pool);
}

// P1, P3: from 8 buffers up, and however many threads, without tuning.
TEST_P(CacheBudgetTest, ManyThreadsStayWithinTheBudgetOfAnyPool) {
  for (const uint32_t capacity : {3u, 8u, 100u, 5'000u, 1'000'000u}) {
    const auto pool = NewPool({.buffer_size = 64, .capacity = capacity});
    std::array<Companion, 24> threads;
    for (Companion& thread : threads) {
      thread.Run([&] { Churn(*pool, 100); });
      ExpectWithinBudget(*pool);
    }
    for (Companion& thread : threads) {
      thread.Start([&] { Churn(*pool, 100); });
    }
    for (Companion& thread : threads) thread.Wait();
    ExpectWithinBudget(*pool);
    if (capacity <= 5'000) {
      Companion().Run([&] { ExpectCanTake(*pool, capacity); });
    }
    for (Companion& thread : threads) thread.Finish();
    EXPECT_EQ(pool->Snapshot().cache_granted, 0u)
        << "who ends returns what it might hold";
    ExpectAtRest(*pool, 0);
  }
}

// The more threads there are, the less each may keep.
TEST_P(CacheBudgetTest, CacheShrinksToItsShareWhenOthersCome) {
  const auto pool = NewPool({.capacity = 322, .reserve = 2});
  Companion first;
  first.Run([&] { Churn(*pool, 100); });
  EXPECT_GE(pool->Snapshot().threads[0].limit, 100u);
  std::array<Companion, 15> others;
  for (Companion& other : others) other.Run([&] { Churn(*pool, 1); });
  first.Run([&] { Churn(*pool, 150); });
  EXPECT_EQ(pool->Snapshot().threads[0].limit, 2 * 160 / 16u);
  ExpectWithinBudget(*pool);
}

// And the part of a limit that a cache still fills is not given away.
TEST_P(CacheBudgetTest, ShareThatIsInUseIsNotGivenToOthers) {
  const auto pool = NewPool({.capacity = 322, .reserve = 2});
  Companion first;
  first.Run([&] { Churn(*pool, 128); });
  const uint32_t cached = pool->Snapshot().threads[0].cached;
  ASSERT_GT(cached, 20u);
  std::vector<std::byte*> many(cached + 1);
  std::array<Companion, 15> others;
  for (Companion& other : others) other.Run([&] { Churn(*pool, 1); });
  // More than it holds: too few, but not empty.
  first.Run([&] {
    pool->Release(pool->Acquire());
    std::byte* const one = pool->Acquire();
    ASSERT_TRUE(pool->AcquireMany(many));
    pool->Release(one);
  });
  for (Companion& other : others) other.Run([&] { Churn(*pool, 100); });
  ExpectWithinBudget(*pool);
  pool->ReleaseMany(many);
}

// The limits of idle threads go to threads that can use them.
TEST_P(CacheBudgetTest, IdleCacheGivesUpItsLimit) {
  const auto pool = NewPool({.capacity = 130, .reserve = 2});
  Companion idle;
  idle.Run([&] { Churn(*pool, 60); });
  EXPECT_GE(pool->Snapshot().threads[0].limit, 60u);
  Companion busy;
  // Waits as long as necessary: the system decides when the thread continues.
  busy.Run([&] {
    while (pool->Snapshot().threads[0].limit != 0) Churn(*pool, 60, 1);
    Churn(*pool, 60);
  });
  const PoolSnapshot snapshot = pool->Snapshot();
  EXPECT_EQ(snapshot.threads[0].cached, 0u);
  EXPECT_GE(snapshot.threads[1].limit, 60u);
  EXPECT_GE(snapshot.threads[1].reclaims, 1u);
  ExpectWithinBudget(*pool);
  idle.Run([&] { Churn(*pool, 10); });
  ExpectWithinBudget(*pool);
}

// P3: also with more caches than one barrier serves; and a search without
// result makes no more barriers than it must.
TEST_P(CacheBudgetTest, EveryBufferInAThousandCachesIsFound) {
  constexpr size_t kThreads = kTsan ? 150 : 1'000;
  const auto pool =
      NewPool({.buffer_size = 64, .capacity = 4'002, .reserve = 2});
  std::vector<std::unique_ptr<Companion>> threads;
  for (size_t i = 0; i < kThreads; ++i) {
    threads.push_back(std::make_unique<Companion>());
    threads.back()->Run([&] { Churn(*pool, 2, 200); });
  }
  ExpectWithinBudget(*pool);
  EXPECT_GT(pool->Snapshot().cached, 0u);
  ExpectCanTake(*pool, 4'002);
  const std::vector<std::byte*> all = TakeAll(*pool);
  ASSERT_EQ(all.size(), 4'002u);
  const uint64_t barriers = pool->Snapshot().barriers;
  EXPECT_EQ(pool->Acquire(), nullptr) << "all caches are searched in vain";
  EXPECT_LE(pool->Snapshot().barriers - barriers,
            (kThreads + kSweepPiece - 1) / kSweepPiece + 1);
  pool->ReleaseMany(all);
}

}  // namespace
}  // namespace tandem
