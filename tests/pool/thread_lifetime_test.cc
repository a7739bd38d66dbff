// P6: threads and pools come and go in any order.

#include <pthread.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "tandem/pool/buffer.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/pool/thread_binding.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

using ThreadLifetimeTest = BothWaysTest;

// P6
TEST_P(ThreadLifetimeTest, FinishedThreadsCacheReturns) {
  const auto pool = NewPool({.capacity = 64});
  Companion thread;
  thread.Run([&] { FillCache(*pool); });
  ASSERT_NE(pool->Snapshot().cached, 0u);
  thread.Finish();
  EXPECT_EQ(pool->Snapshot().cached, 0u);
  EXPECT_EQ(pool->Snapshot().available, 64u);
  ASSERT_EQ(pool->Snapshot().threads.size(), 1u);
  EXPECT_FALSE(pool->Snapshot().threads[0].owned);
}

// P6: and the next thread uses it.
TEST_P(ThreadLifetimeTest, NextThreadUsesTheFinishedOnesRecord) {
  const auto pool = NewPool({.capacity = 64, .max_threads = 1});
  for (int i = 0; i < 50; ++i) {
    Companion thread;
    thread.Run([&] {
      FillCache(*pool);
      EXPECT_NE(pool->Snapshot().cached, 0u);
    });
  }
  EXPECT_EQ(pool->Snapshot().threads.size(), 1u);
}

// P1, P6: a cache's record is made when a thread first takes it.
TEST_P(ThreadLifetimeTest, ThreadsThatComeAtOnceHaveACacheEach) {
  constexpr uint32_t kThreads = 8;
  std::array<Companion, kThreads> threads;
  for (int round = 0; round < 200; ++round) {
    const auto pool = NewPool({.capacity = 64});
    std::atomic<uint32_t> ready = 0;
    for (Companion& thread : threads) {
      thread.Start([&] {
        ready.fetch_add(1);
        while (ready.load() < kThreads) std::this_thread::yield();
        pool->Release(pool->Acquire());
      });
    }
    for (Companion& thread : threads) thread.Wait();
    const PoolSnapshot snapshot = pool->Snapshot();
    ASSERT_EQ(snapshot.threads.size(), kThreads);
    for (const PoolSnapshot::Thread& thread : snapshot.threads) {
      EXPECT_TRUE(thread.owned);
    }
  }
}

// P6
TEST_P(ThreadLifetimeTest, FinishedThreadReturnsItsCachesOfAllPools) {
  std::vector<std::unique_ptr<BufferPool>> pools(5);
  for (auto& pool : pools) pool = NewPool({.capacity = 32});
  Companion thread;
  thread.Run([&] {
    for (const auto& pool : pools) FillCache(*pool);
  });
  for (const auto& pool : pools) ASSERT_NE(pool->Snapshot().cached, 0u);
  thread.Finish();
  for (const auto& pool : pools) EXPECT_EQ(pool->Snapshot().cached, 0u);
}

// P6
TEST_P(ThreadLifetimeTest, ThreadMayOutliveItsPool) {
  Companion thread;
  for (int i = 0; i < 50; ++i) {
    // Usually at the same address as the last one.
    const auto pool = NewPool({.capacity = 32});
    thread.Run([&] { ExpectCanTake(*pool, 32); });
    ExpectCanTake(*pool, 32);
  }
  thread.Finish();
}

// P6
TEST_P(ThreadLifetimeTest, ThreadMayUseManyPoolsInTurn) {
  std::vector<std::unique_ptr<BufferPool>> pools(kCachedPools - 2);
  for (auto& pool : pools) pool = NewPool({.capacity = 32, .max_threads = 2});
  Companion thread;
  thread.Run([&] {
    for (int round = 0; round < 5; ++round) {
      for (const auto& pool : pools) FillCache(*pool);
    }
  });
  for (const auto& pool : pools) {
    EXPECT_EQ(pool->Snapshot().threads.size(), 1u)
        << "a thread has one cache, however often it binds anew";
    EXPECT_NE(pool->Snapshot().cached, 0u);
    ExpectCanTake(*pool, 32);
  }
  thread.Finish();
  for (const auto& pool : pools) {
    EXPECT_FALSE(pool->Snapshot().threads[0].owned);
  }
}

// P6: pools beyond those that can have caches work without.
TEST_P(ThreadLifetimeTest, PoolsBeyondTheLimitWorkWithoutACache) {
  std::vector<std::unique_ptr<BufferPool>> pools(kCachedPools + 5);
  for (auto& pool : pools) pool = NewPool({.capacity = 32});
  for (int round = 0; round < 3; ++round) {
    for (const auto& pool : pools) {
      FillCache(*pool);
      ExpectAtRest(*pool, 0);
      ExpectCanTake(*pool, 32);
    }
  }
  EXPECT_TRUE(pools.back()->Snapshot().threads.empty());
  pools.clear();
  // The slots of destroyed pools are free again.
  const auto pool = NewPool({.capacity = 32});
  FillCache(*pool);
  EXPECT_NE(pool->Snapshot().cached, 0u);
}

// P6
TEST_P(ThreadLifetimeTest, ThreadsBeyondTheLimitWorkWithoutACache) {
  const auto pool = NewPool({.capacity = 64, .max_threads = 2});
  std::array<Companion, 6> threads;
  for (Companion& thread : threads) {
    thread.Run([&] { FillCache(*pool); });
  }
  EXPECT_EQ(pool->Snapshot().threads.size(), 2u);
  for (Companion& thread : threads) {
    thread.Run([&] { ExpectCanTake(*pool, 64); });
  }
}

// P6
TEST_P(ThreadLifetimeTest, AttachedThreadHasItsCacheBeforeItsFirstUse) {
  const auto pool = NewPool({.capacity = 64, .max_threads = 1});
  Companion thread;
  thread.Run([&] {
    EXPECT_TRUE(pool->AttachThread().ok());
    EXPECT_TRUE(pool->AttachThread().ok()) << "once more";
  });
  ASSERT_EQ(pool->Snapshot().threads.size(), 1u);
  EXPECT_TRUE(pool->Snapshot().threads[0].owned);
  Companion second;
  second.Run([&] {
    EXPECT_TRUE(absl::IsResourceExhausted(pool->AttachThread()));
    pool->Release(pool->Acquire());
  });
}

TEST_P(ThreadLifetimeTest, NothingIsMissingWhereThereAreNoCaches) {
  const auto pool = NewPool({.capacity = 64, .max_threads = 0});
  EXPECT_TRUE(pool->AttachThread().ok());
}

TEST_P(ThreadLifetimeTest, NoThreadNeedsACache) {
  const auto pool = NewPool({.capacity = 64, .max_threads = 0});
  Companion().Run([&] { ExpectCanTake(*pool, 64); });
  ExpectCanTake(*pool, 64);
  EXPECT_EQ(pool->Snapshot().cached, 0u);
}

// P6: the thread's own objects go before its caches do.
TEST_P(ThreadLifetimeTest, ThreadLocalDestructorMayRelease) {
  const auto pool = NewPool({.capacity = 64});
  std::thread([&] {
    thread_local Buffer kept;
    kept = pool->AcquireBuffer();
  }).join();
  ExpectAtRest(*pool, 0);
  EXPECT_EQ(pool->Snapshot().cached, 0u);
}

// P6: even if the thread uses the pool for the first time then.
TEST_P(ThreadLifetimeTest, ThreadLocalDestructorMayBeTheFirstUse) {
  const auto pool = NewPool({.capacity = 64});
  Buffer buffer = pool->AcquireBuffer();
  std::thread([&] {
    thread_local Buffer kept;
    kept = std::move(buffer);
  }).join();
  ExpectAtRest(*pool, 0);
  ASSERT_EQ(pool->Snapshot().threads.size(), 2u);
  EXPECT_EQ(pool->Snapshot().threads[1].cached, 0u);
  EXPECT_FALSE(pool->Snapshot().threads[1].owned);
}

// P6: a C library's clean-up may come after the thread's caches have gone.
TEST_P(ThreadLifetimeTest, ReleaseAfterTheCachesHaveReturnedIsNotLost) {
  const auto pool = NewPool({.capacity = 64});
  struct Held {
    BufferPool* pool;
    std::byte* buffer;
  };
  // The pool's own key exists by now, so this one's destructor runs later.
  pool->Release(pool->Acquire());
  pthread_key_t key;
  ASSERT_EQ(pthread_key_create(&key,
                               [](void* value) {
                                 const auto* held = static_cast<Held*>(value);
                                 held->pool->Release(held->buffer);
                               }),
            0);
  Held held = {pool.get(), nullptr};
  std::thread([&] {
    held.buffer = pool->Acquire();
    pthread_setspecific(key, &held);
  }).join();
  pthread_key_delete(key);
  ExpectAtRest(*pool, 0);
  ASSERT_EQ(pool->Snapshot().threads.size(), 2u);
  EXPECT_EQ(pool->Snapshot().threads[1].cached, 0u);
  EXPECT_FALSE(pool->Snapshot().threads[1].owned);
}

// P6: threads end and pools are created and destroyed, all at once.
TEST_P(ThreadLifetimeTest, ThreadsEndWhilePoolsComeAndGo) {
  const auto lasting = NewPool({.capacity = 64});
  std::atomic<bool> stop = false;
  Companion creator;
  creator.Start([&] {
    while (!stop) {
      const auto passing = NewPool({.capacity = 8});
      ExpectCanTake(*passing, 8);
    }
  });
  for (int i = 0; i < 200; ++i) {
    Companion one;
    Companion two;
    one.Start([&] { FillCache(*lasting); });
    two.Start([&] { FillCache(*lasting); });
    one.Wait();
    two.Wait();
  }
  stop = true;
  creator.Wait();
  ExpectAtRest(*lasting, 0);
  ExpectCanTake(*lasting, 64);
}

INSTANTIATE_TEST_SUITE_P(Pool, ThreadLifetimeTest, BothWays(), BiasName);

}  // namespace
}  // namespace tandem
