// P3: exhaustion is exact. A thread that needs buffers finds them in other
// threads' caches, whatever those threads are doing.

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

// Waits until a thread of this process is asleep in the kernel.
void WaitUntilAsleep(pid_t thread) {
  const std::string path =
      "/proc/self/task/" + std::to_string(thread) + "/stat";
  for (;;) {
    std::ifstream stat(path);
    std::string line;
    std::getline(stat, line);
    const size_t name_end = line.rfind(')');
    if (name_end != std::string::npos && line[name_end + 2] == 'S') return;
    std::this_thread::yield();
  }
}

using ExhaustionTest = BothWaysTest;

// P3: OpenDataPlane's case (odp-dpdk issue 194).
TEST_P(ExhaustionTest, OfThirtyTwoBuffersThirtyOneAreLeftWhenAThreadTakesOne) {
  const auto pool = NewPool({.capacity = 32});
  Companion first;
  std::byte* one = nullptr;
  first.Run([&] { one = pool->Acquire(); });
  ASSERT_NE(one, nullptr);
  ExpectCanTake(*pool, 31);
  pool->Release(one);
  ExpectCanTake(*pool, 32);
}

// P3: the other way round: what the first has returned is in its cache.
TEST_P(ExhaustionTest, OneThreadTakesAllThatLiesInParkedThreadsCaches) {
  const auto pool = NewPool({.capacity = 100, .cache_size = 16});
  std::array<Companion, 6> others;
  for (Companion& other : others) {
    other.Run([&] { FillCache(*pool); });
  }
  ASSERT_GE(pool->Snapshot().cached, 48u);
  ExpectCanTake(*pool, 100);
}

// P3: any distribution of buffers over the caches of any number of threads.
TEST_P(ExhaustionTest, OneThreadTakesAllWhateverTheDistribution) {
  std::mt19937_64 random(TestSeed());
  for (int round = 0; round < 100; ++round) {
    const auto capacity = static_cast<uint32_t>(1 + random() % 200);
    const auto pool =
        NewPool({.capacity = capacity,
                 .reserve = static_cast<uint32_t>(random() % (capacity + 1)),
                 .cache_size = static_cast<uint32_t>(random() % 129),
                 .core_pools = static_cast<uint32_t>(1 + random() % 4)});
    std::vector<Companion> others(random() % 8);
    std::vector<std::byte*> all = TakeAll(*pool);
    ASSERT_EQ(all.size(), capacity);
    for (Companion& other : others) {
      const size_t share = random() % (all.size() + 1);
      other.Run([&] {
        for (size_t i = 0; i < share; ++i) {
          pool->Release(all.back());
          all.pop_back();
        }
      });
    }
    pool->ReleaseMany(all);
    ExpectCanTake(*pool, capacity);
  }
}

// P3: all or none, but all if they are there.
TEST_P(ExhaustionTest, BatchIsMetOutOfSeveralCaches) {
  const auto pool = NewPool({.capacity = 4, .reserve = 0, .cache_size = 1});
  std::vector<std::byte*> all = TakeAll(*pool);
  std::array<Companion, 4> others;
  for (size_t i = 0; i < all.size(); ++i) {
    others[i].Run([&] { pool->Release(all[i]); });
  }
  ASSERT_EQ(pool->Snapshot().cached, 4u);
  ASSERT_TRUE(pool->AcquireMany(all));
  EXPECT_EQ(pool->Acquire(), nullptr);
  pool->ReleaseMany(all);
}

// P3: none of this depends on whose turn it is.
TEST_P(ExhaustionTest, EveryThreadInTurnTakesAll) {
  const auto pool = NewPool({.capacity = 64});
  std::array<Companion, 5> others;
  for (int round = 0; round < 20; ++round) {
    for (Companion& other : others) {
      other.Run([&] { ExpectCanTake(*pool, 64); });
    }
  }
}

// P3: blocked for an hour.
TEST_P(ExhaustionTest, CacheOfAThreadBlockedInReadIsFound) {
  const auto pool = NewPool({.capacity = 64, .cache_size = 32});
  Gate gate;
  std::atomic<pid_t> id = 0;
  std::thread blocked([&] {
    FillCache(*pool);
    id = gettid();
    gate.Wait();
  });
  while (id == 0) std::this_thread::yield();
  WaitUntilAsleep(id);
  EXPECT_GE(pool->Snapshot().cached, 16u);
  ExpectCanTake(*pool, 64);
  gate.Open();
  blocked.join();
}

// P3, P6
TEST_P(ExhaustionTest, CachesOfFinishedThreadsAreFound) {
  const auto pool = NewPool({.capacity = 64});
  for (int i = 0; i < 10; ++i) Companion().Run([&] { FillCache(*pool); });
  ExpectCanTake(*pool, 64);
}

// P3: the last look is exact while other threads also exhaust the pool:
// together they have got all buffers.
TEST_P(ExhaustionTest, ThreadsThatExhaustThePoolTogetherGetAllOfIt) {
  constexpr size_t kThreads = 4;
  const auto pool = NewPool({.capacity = 61});
  for (int round = 0; round < 200; ++round) {
    std::array<Companion, kThreads> threads;
    std::array<std::vector<std::byte*>, kThreads> taken;
    for (size_t i = 0; i < kThreads; ++i) {
      threads[i].Start([&, i] { taken[i] = TakeAll(*pool); });
    }
    size_t sum = 0;
    for (size_t i = 0; i < kThreads; ++i) {
      threads[i].Wait();
      sum += taken[i].size();
    }
    // No thread has released a buffer, so the last one to fail has seen the
    // pool empty.
    EXPECT_EQ(sum, 61u);
    for (size_t i = 0; i < kThreads; ++i) pool->ReleaseMany(taken[i]);
  }
}

// S1, P3: while buffers are cached, the whole reserve is in the depot.
TEST_P(ExhaustionTest, ReserveNeverEntersACache) {
  const auto pool = NewPool({.capacity = 64, .reserve = 10, .cache_size = 16});
  const auto expect_reserve_uncached = [&] {
    const PoolSnapshot snapshot = pool->Snapshot();
    EXPECT_TRUE(snapshot.cached == 0 || snapshot.available >= 10)
        << snapshot.cached << " cached, " << snapshot.available << " available";
  };
  std::array<Companion, 8> others;
  for (Companion& other : others) {
    other.Run([&] {
      FillCache(*pool);
      std::vector<std::byte*> taken;
      while (std::byte* const buffer = pool->Acquire()) {
        taken.push_back(buffer);
        expect_reserve_uncached();
      }
      for (std::byte* const buffer : taken) {
        pool->Release(buffer);
        expect_reserve_uncached();
      }
    });
  }
  EXPECT_NE(pool->Snapshot().cached, 0u);
}

INSTANTIATE_TEST_SUITE_P(Pool, ExhaustionTest, BothWays(), BiasName);

}  // namespace
}  // namespace tandem
