// Fork: a child has only the thread that forked, and a copy of every pool. It
// finds the buffers in the caches of threads that it does not have, but not
// those that these threads had in their hands. No lock that one of them held
// keeps the child waiting.

#include <pthread.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <random>
#include <span>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/pool/section/rseq_section.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

constexpr uint32_t kCapacity = 64;
constexpr uint32_t kCacheSize = 8;
PoolOptions Options() {
  return {.buffer_size = 64, .capacity = kCapacity, .cache_size = kCacheSize};
}

// Reads also where AddressSanitizer sees an idle buffer.
[[gnu::noinline, gnu::no_sanitize("address")]] bool IsMarked(
    const std::byte* buffer) {
  return *reinterpret_cast<const volatile uint64_t*>(buffer) != 0;
}

class ForkTest : public BothWaysTest {
 protected:
  void SetUp() override {
    if (kTsan) GTEST_SKIP() << "it allows a child no threads";
  }

  // At most this many buffers are in the hands of a thread that Works, marked,
  // and this many more are on their way.
  static constexpr size_t kMostHeld = 4;
  static constexpr size_t kMostMoved = kMostHeld + kCacheSize / 2;

  // Takes and returns, one and several, until `stop`.
  static void Work(BufferPool& pool, uint64_t name,
                   const std::atomic<bool>& stop) {
    std::minstd_rand random(static_cast<unsigned>(name));
    std::array<std::byte*, kMostHeld> buffers;
    while (!stop) {
      const auto some = std::span(buffers).first(1 + random() % kMostHeld);
      if (!pool.AcquireMany(some)) continue;
      for (std::byte* const buffer : some) {
        EXPECT_TRUE(Mark(buffer, name)) << "in two hands";
      }
      for (std::byte* const buffer : some) {
        EXPECT_TRUE(Unmark(buffer, name)) << "in two hands";
      }
      if (random() % 2 == 0) {
        pool.ReleaseMany(some);
      } else {
        for (std::byte* const buffer : some) pool.Release(buffer);
      }
    }
  }
};

// P3
TEST_P(ForkTest, ChildFindsWhatLiesInTheCachesOfThreadsItDoesNotHave) {
  const auto pool = NewPool(Options());
  std::array<Companion, 3> others;
  std::array<std::byte*, 3> held;
  for (size_t i = 0; i < others.size(); ++i) {
    others[i].Run([&, i] {
      FillCache(*pool);
      held[i] = pool->Acquire();
    });
  }
  FillCache(*pool);
  ASSERT_GE(pool->Snapshot().cached, 4 * (kCacheSize / 2 - 1));
  InChild([&] {
    EXPECT_EQ(pool->Snapshot().in_use, 3u);
    ExpectCanTake(*pool, kCapacity - 3);
    // And it may give back what is in no thread's hands any more.
    pool->ReleaseMany(held);
    ExpectCanTake(*pool, kCapacity);
    FillCache(*pool);
    ExpectAtRest(*pool, 0);
  });
  // The parent's pool has seen none of it.
  EXPECT_EQ(pool->Snapshot().in_use, 3u);
  pool->ReleaseMany(held);
  ExpectCanTake(*pool, kCapacity);
}

// P3, P4: wherever the other threads are at the time.
TEST_P(ForkTest, ChildOfThreadsAtWorkTakesAllThatIsNotInHands) {
  const auto pool = NewPool(Options());
  std::atomic<bool> stop = false;
  std::array<Companion, 2> others;
  for (size_t i = 0; i < others.size(); ++i) {
    others[i].Start([&, i] { Work(*pool, 1 + i, stop); });
  }
  for (int round = 0; round < (kAsan ? 40 : 200) && !HasFailure(); ++round) {
    InChild([&] {
      const std::vector<std::byte*> taken = TakeAll(*pool);
      EXPECT_GE(taken.size() + others.size() * (kMostHeld + kMostMoved),
                kCapacity);
      for (std::byte* const buffer : taken) {
        EXPECT_TRUE(Mark(buffer, 9)) << "in the hands of a thread that is not";
      }
      // The rest is marked by its holder, or on its way.
      size_t on_its_way = 0;
      for (uint32_t i = 0; i < kCapacity; ++i) {
        on_its_way += !IsMarked(pool->AddressOf(BufferIndex{i}));
      }
      EXPECT_LE(on_its_way, others.size() * kMostMoved);
      pool->ReleaseMany(taken);
      ExpectCanTake(*pool, taken.size());
    });
    // Sometimes there is also pressure.
    if (round % 4 == 0) pool->ReleaseMany(TakeAll(*pool));
  }
  stop = true;
  for (Companion& other : others) other.Wait();
  ExpectAtRest(*pool, 0);
  ExpectCanTake(*pool, kCapacity);
}

// P6: while others create, destroy and first use pools, and end.
TEST_P(ForkTest, ChildMayUseANewPoolWhateverTheOthersWereDoing) {
  if (kAsan) GTEST_SKIP() << "its own allocator is left locked in a child";
  const auto lasting = NewPool(Options());
  // The end of a pool visits every thread that has used one, under the lock. So
  // a fork often comes while the lock is held.
  std::deque<Companion> idle(200);
  for (Companion& thread : idle) {
    thread.Run([&] { lasting->Release(lasting->Acquire()); });
  }
  std::atomic<bool> stop = false;
  Companion creator;
  Companion parent_of_threads;
  creator.Start([&] {
    while (!stop) ExpectCanTake(*NewPool(Options()), kCapacity);
  });
  parent_of_threads.Start([&] {
    while (!stop) {
      Companion passing;
      passing.Run([&] { FillCache(*lasting); });
    }
  });
  for (int round = 0; round < 200 && !HasFailure(); ++round) {
    InChild([&] {
      const auto pool = NewPool(Options());
      FillCache(*pool);
      ExpectCanTake(*pool, kCapacity);
    });
  }
  stop = true;
  creator.Wait();
  parent_of_threads.Wait();
}

// P6: a new thread may lie where one of the parent's did.
TEST_P(ForkTest, ThreadOfTheChildHasACacheOfItsOwn) {
  const auto pool = NewPool(Options());
  Companion other;
  other.Run([&] { FillCache(*pool); });
  FillCache(*pool);
  ASSERT_EQ(pool->Snapshot().threads.size(), 2u);
  InChild([&] {
    Companion thread;
    thread.Run([&] { FillCache(*pool); });
    ASSERT_EQ(pool->Snapshot().threads.size(), 3u);
    EXPECT_NE(pool->Snapshot().threads[2].cached, 0u);
    EXPECT_EQ(pool->Snapshot().threads[2].biased, pool->Snapshot().biased);
    ExpectCanTake(*pool, kCapacity);
    thread.Finish();
    EXPECT_FALSE(pool->Snapshot().threads[2].owned);
    // The forking thread's own cache is still its own.
    FillCache(*pool);
    ASSERT_EQ(pool->Snapshot().threads.size(), 3u);
    EXPECT_NE(pool->Snapshot().threads[1].cached, 0u);
  });
}

// P2, P3: what the parent has registered with the kernel holds in the child.
TEST_P(ForkTest, BiasIsKeptAndTakenInTheChildAsInTheParent) {
  const auto pool = NewPool(Options());
  FillCache(*pool);
  const bool can = pool->Snapshot().biased;
  EXPECT_EQ(pool->Snapshot().threads.at(0).biased, can);
  InChild([&] {
    EXPECT_EQ(pool->Snapshot().threads.at(0).biased, can);
    EXPECT_TRUE(!can || RseqSection::Barrier());
    std::atomic<bool> stop = false;
    std::array<Companion, 2> thieves;
    for (size_t i = 0; i < thieves.size(); ++i) {
      thieves[i].Start([&, i] {
        for (int round = 0; round < 300; ++round) {
          const std::vector<std::byte*> taken = TakeAll(*pool);
          for (std::byte* const buffer : taken) {
            EXPECT_TRUE(Mark(buffer, 2 + i)) << "in two hands";
          }
          for (std::byte* const buffer : taken) {
            EXPECT_TRUE(Unmark(buffer, 2 + i)) << "in two hands";
          }
          pool->ReleaseMany(taken);
        }
        if (i == 0) stop = true;
      });
    }
    Work(*pool, 1, stop);
    for (Companion& thief : thieves) thief.Wait();
    EXPECT_EQ(pool->Snapshot().refusals, 0u);
    ExpectAtRest(*pool, 0);
    ExpectCanTake(*pool, kCapacity);
  });
}

// P6: generations.
TEST_P(ForkTest, ChildMayHaveChildren) {
  const auto pool = NewPool(Options());
  Companion other;
  other.Run([&] { FillCache(*pool); });
  InChild([&] {
    Companion another;
    another.Run([&] { FillCache(*pool); });
    InChild([&] {
      ExpectAtRest(*pool, 0);
      ExpectCanTake(*pool, kCapacity);
    });
    ExpectCanTake(*pool, kCapacity);
  });
}

INSTANTIATE_TEST_SUITE_P(Pool, ForkTest, BothWays(), BiasName);

// The actions of fork handlers, registered before the pool's own or after.
struct Handlers {
  std::function<void()> prepare;
  std::function<void()> parent;
  std::function<void()> child;
};
Handlers early;
Handlers late;

void Call(const std::function<void()>& handler) {
  if (handler) handler();
}

// The pool's own handlers are registered when the first pool is created.
[[gnu::constructor]] void RegisterEarly() {
  pthread_atfork([] { Call(early.prepare); }, [] { Call(early.parent); },
                 [] { Call(early.child); });
}

class FieldForkTest : public ForkTest {
 protected:
  void SetUp() override {
    ForkTest::SetUp();
    NewPool(Options());
    static const int registered =
        pthread_atfork([] { Call(late.prepare); }, [] { Call(late.parent); },
                       [] { Call(late.child); });
    ASSERT_EQ(registered, 0);
  }
  void TearDown() override {
    early = {};
    late = {};
  }

  // Forks, in a thread that has not used a pool, while others create and
  // destroy pools, and use them for the first time.
  void ForkWhileOthersWork(int rounds) {
    const auto lasting = NewPool(Options());
    std::atomic<bool> stop = false;
    Companion creator;
    creator.Start([&] {
      while (!stop) {
        const auto passing = NewPool(Options());
        Companion thread;
        thread.Run([&] {
          passing->Release(passing->Acquire());
          lasting->Release(lasting->Acquire());
        });
      }
    });
    for (int round = 0; round < rounds && !HasFailure(); ++round) {
      Companion forker;
      forker.Run([] { InChild([] {}); });
    }
    stop = true;
    creator.Wait();
    ExpectAtRest(*lasting, 0);
  }
};

// A case from the field.
TEST_P(FieldForkTest, HandlersMayUseAPoolForTheThreadsFirstTime) {
  if (kAsan) GTEST_SKIP() << "its own allocator is left locked in a child";
  InChild([&] {
    const auto pool = NewPool(Options());
    const auto use = [&] {
      std::byte* const buffer = pool->Acquire();
      EXPECT_NE(buffer, nullptr);
      pool->Release(buffer);
    };
    for (Handlers* const handlers : {&early, &late}) {
      for (auto part :
           {&Handlers::prepare, &Handlers::parent, &Handlers::child}) {
        handlers->*part = use;
        ForkWhileOthersWork(3);
        *handlers = {};
      }
    }
    early = {use, use, use};
    late = {use, use, use};
    ForkWhileOthersWork(5);
    ExpectAtRest(*pool, 0);
    ExpectCanTake(*pool, kCapacity);
  });
}

TEST_P(FieldForkTest, HandlersMayCreateUseAndDestroyPools) {
  if (kAsan) GTEST_SKIP() << "its own allocator is left locked in a child";
  InChild([&] {
    const auto use = [&] {
      const auto pool = NewPool(Options());
      FillCache(*pool);
      ExpectCanTake(*pool, kCapacity);
    };
    early = {use, use, use};
    late = {use, use, use};
    ForkWhileOthersWork(6);
  });
}

// No lock of the pool is held while other handlers run.
TEST_P(FieldForkTest, HandlersMayWaitForThreadsThatUsePools) {
  InChild([&] {
    const auto pool = NewPool(Options());
    const auto wait = [&] {
      Companion other;
      other.Run([&] {
        pool->Release(pool->Acquire());
        ExpectCanTake(*NewPool(Options()), kCapacity);
      });
    };
    early = {wait, wait, nullptr};
    late = {wait, wait, nullptr};
    for (int round = 0; round < 3; ++round) InChild([] {});
  });
}

// When the thread's caches have returned, and its name is off the list.
TEST_P(FieldForkTest, ThreadMayForkAtItsVeryEnd) {
  InChild([&] {
    const auto pool = NewPool(Options());
    pthread_key_t key;
    // Registered later than the pool's own.
    ASSERT_EQ(pthread_key_create(&key, [](void*) { InChild([] {}); }), 0);
    Companion thread;
    thread.Run([&] {
      FillCache(*pool);
      pthread_setspecific(key, &key);
    });
    thread.Finish();
    ExpectCanTake(*pool, kCapacity);
  });
}

INSTANTIATE_TEST_SUITE_P(Pool, FieldForkTest, BothWays(), BiasName);

}  // namespace
}  // namespace tandem
