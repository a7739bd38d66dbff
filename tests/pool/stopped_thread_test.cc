// P3, P4: a thread is stopped forever, before any instruction of any operation.
// Meanwhile other threads finish a fixed number of operations, and get every
// buffer except those in its hands. stopped_session_test checks that waiters
// are still served. Trim and Snapshot are not lock-free themselves, but hold up
// no other thread. Rule P4 exempts Create, destruction, a thread's first use of
// a pool and its end, which take a lock: these are not stopped.

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/pool/buffer.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/pool/types.h"
#include "tandem/tests/pool/arena.h"
#include "tandem/tests/pool/stepper.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

class StoppedThreadTest : public BothWaysTest {
 protected:
  static constexpr uint32_t kCapacity = 40;
  static constexpr uint32_t kCacheSize = 8;

  using Held = std::vector<std::byte*>;
  using Operation = void (*)(BufferPool&, Held&);

  // Operations that others finish while one thread is stopped.
  static constexpr int kOperationsOfOthers = 1000;

  // Stops this thread before every instruction of `operation` in turn, and
  // checks that others finish theirs, and that one of them gets all buffers
  // except those in this thread's hands: what it held before, and up to
  // `in_operation` more. Then lets it continue, and checks that none is lost.
  void CheckStops(uint32_t in_operation, Operation prepare, Operation operation,
                  uint64_t stride = 1) {
    if (!Stepper::Works()) GTEST_SKIP() << "needs single steps";
    const uint32_t capacity = options_.capacity;
    const auto pool = NewPool(options_);
    Companion other;
    FillCache(*pool);
    other.Run([&] { FillCache(*pool); });
    Held held;
    held.reserve(capacity);
    prepare(*pool, held);
    const size_t in_hands = held.size() + in_operation;
    Stepper::InterruptEverywhere(
        [&] { operation(*pool, held); },
        [&] {
          alarm(20);  // Ends who waits for the stopped one.
          const size_t left = capacity - std::min<size_t>(in_hands, capacity);
          std::thread([&] { FinishOperations(*pool, left); }).join();
          std::thread([&] {
            const std::vector<std::byte*> taken = TakeAll(*pool);
            EXPECT_GE(taken.size() + in_hands, capacity);
            pool->ReleaseMany(taken);
            FinishOperations(*pool, left);
          }).join();
        },
        [&] {
          pool->ReleaseMany(held);
          ExpectCanTake(*pool, capacity);
          EXPECT_EQ(pool->Snapshot().refusals, 0u);
        },
        stride);
  }

  // Half of kOperationsOfOthers. Each acquires as long as `left` has as many
  // buffers as it needs.
  static void FinishOperations(BufferPool& pool, size_t left) {
    Held held;
    int finished = 0;
    const auto finish = [&](Operation operation) {
      operation(pool, held);
      ++finished;
    };
    while (finished < kOperationsOfOthers / 2) {
      finish(Acquire);
      if (held.back() == nullptr) {
        EXPECT_LT(left, 1u);
        held.pop_back();
      }
      finish(AcquirePair);
      EXPECT_TRUE(held.size() == 3 || left < 3);
      finish(AcquireMany);
      EXPECT_TRUE(held.size() == 3 + kMany || left < 3 + kMany);
      if (held.size() >= kMany) finish(ReleaseMany);
      if (held.size() >= 2) finish(ReleasePair);
      while (!held.empty()) finish(Release);
    }
  }

  // Before every instruction of `operation` in turn, lets another thread take
  // all it can get, and keep it. So there is pressure from then on, and nothing
  // may stay in a cache.
  void CheckPressure(Operation prepare, Operation operation) {
    if (!Stepper::Works()) GTEST_SKIP() << "needs single steps";
    const auto pool = NewPool(options_);
    Held held;
    held.reserve(kCapacity);
    prepare(*pool, held);
    Held taken;
    Stepper::InterruptEverywhere(
        [&] { operation(*pool, held); },
        [&] { std::thread([&] { taken = TakeAll(*pool); }).join(); },
        [&] {
          if (!taken.empty()) {
            EXPECT_EQ(pool->Snapshot().cached, 0u);
            const bool pressed = pool->Snapshot().pressed;
            pool->Release(taken.back());
            taken.pop_back();
            EXPECT_TRUE(!pressed || pool->Snapshot().cached == 0);
          }
          pool->ReleaseMany(taken);
          std::erase(held, nullptr);
          pool->ReleaseMany(held);
        });
  }

  static void Acquire(BufferPool& pool, Held& held) {
    held.push_back(pool.Acquire());
  }
  static void Release(BufferPool& pool, Held& held) {
    pool.Release(held.back());
    held.pop_back();
  }
  static void AcquirePair(BufferPool& pool, Held& held) {
    std::array<std::byte*, 2> pair = {};
    if (pool.AcquirePair(pair)) held.insert(held.end(), {pair[0], pair[1]});
  }
  static void ReleasePair(BufferPool& pool, Held& held) {
    pool.ReleasePair(std::span(held).last<2>());
    held.resize(held.size() - 2);
  }
  static constexpr uint32_t kMany = 5;
  static void AcquireMany(BufferPool& pool, Held& held) {
    std::array<std::byte*, kMany> many;
    if (pool.AcquireMany(many)) {
      held.insert(held.end(), many.begin(), many.end());
    }
  }
  static void ReleaseMany(BufferPool& pool, Held& held) {
    pool.ReleaseMany(std::span(held).last(kMany));
    held.resize(held.size() - kMany);
  }
  static constexpr uint32_t kLarge = kMaxCacheSize + 2;
  static void AcquireLarge(BufferPool& pool, Held& held) {
    held.resize(kLarge);
    if (!pool.AcquireMany(held)) held.clear();
  }
  // The number of buffers that this thread has cached.
  static uint32_t Cached(const BufferPool& pool) {
    return pool.Snapshot().threads.at(0).cached;
  }

  PoolOptions options_ = {
      .buffer_size = 64, .capacity = kCapacity, .cache_size = kCacheSize};
};

TEST_P(StoppedThreadTest, StoppedInAcquireHidesOne) {
  CheckStops(
      1, [](BufferPool&, Held&) {}, Acquire);
}

TEST_P(StoppedThreadTest, StoppedInReleaseHidesOnlyWhatItHeld) {
  CheckStops(0, Acquire, Release);
}

TEST_P(StoppedThreadTest, StoppedInAcquirePairHidesTwo) {
  CheckStops(
      2, [](BufferPool&, Held&) {}, AcquirePair);
}

TEST_P(StoppedThreadTest, StoppedInReleasePairHidesOnlyWhatItHeld) {
  CheckStops(0, AcquirePair, ReleasePair);
}

TEST_P(StoppedThreadTest, StoppedInAcquireManyHidesAsMany) {
  CheckStops(
      kMany, [](BufferPool&, Held&) {}, AcquireMany);
}

TEST_P(StoppedThreadTest, StoppedInReleaseManyHidesOnlyWhatItHeld) {
  CheckStops(0, AcquireMany, ReleaseMany);
}

// A refill: the batch is in its hands too.
TEST_P(StoppedThreadTest, StoppedInARefillHidesABatch) {
  CheckStops(
      1 + kCacheSize / 2,
      [](BufferPool& pool, Held& held) {
        while (Cached(pool) > 0) Acquire(pool, held);
      },
      Acquire);
}

// A flush: half the cache is in its hands.
TEST_P(StoppedThreadTest, StoppedInAFlushHidesABatch) {
  CheckStops(
      kCacheSize / 2,
      [](BufferPool& pool, Held& held) {
        held.resize(kCacheSize + 1);
        EXPECT_TRUE(pool.AcquireMany(held));
        while (Cached(pool) < kCacheSize) Release(pool, held);
      },
      Release);
}

// A sweep: what it takes out of other threads' caches goes through its hands.
TEST_P(StoppedThreadTest, StoppedInASweepHidesABatch) {
  CheckStops(
      1 + kCacheSize / 2,
      [](BufferPool& pool, Held& held) {
        while (pool.Snapshot().available > pool.reserve() || Cached(pool) > 0) {
          Acquire(pool, held);
        }
      },
      Acquire);
}

TEST_P(StoppedThreadTest, StoppedWhileItHasABufferForAMomentHidesOne) {
  CheckStops(
      1, [](BufferPool&, Held&) {},
      [](BufferPool& pool, Held&) { (void)pool.AcquireBuffer(); });
}

// More than a cache can hold: they bypass it, and come back in pieces.
TEST_P(StoppedThreadTest, StoppedInAnAcquireManyPastTheCacheHidesAsMany) {
  options_.capacity = kLarge + kCapacity;
  CheckStops(
      kLarge, [](BufferPool&, Held&) {}, AcquireLarge, /*stride=*/97);
}

// P4: takes what the cache has, the rest from the depot, and a partial batch
// for the cache. On return, one batch bypasses the cache, and one leaves it.
TEST_P(StoppedThreadTest, StoppedInABulkThatOneCacheCannotServeHidesABatch) {
  constexpr Operation kAcquire = [](BufferPool& pool, Held& held) {
    held.resize(kCacheSize + 1);
    if (!pool.AcquireMany(held)) held.clear();
  };
  CheckStops(
      kCacheSize + 1 + kCacheSize / 2, [](BufferPool&, Held&) {}, kAcquire);
  CheckStops(kCacheSize / 2, kAcquire, [](BufferPool& pool, Held& held) {
    pool.ReleaseMany(held);
    held.clear();
  });
}

TEST_P(StoppedThreadTest, StoppedInAReleaseManyInPiecesHidesOnlyWhatItHeld) {
  options_.capacity = kLarge + kCapacity;
  CheckStops(
      0, AcquireLarge,
      [](BufferPool& pool, Held& held) {
        pool.ReleaseMany(held);
        held.clear();
      },
      /*stride=*/97);
}

// P4: a thread that takes a part of a magazine, or fills one, never has more of
// it than its own part.
TEST_P(StoppedThreadTest, StoppedWithAPartOfAMagazineHidesOnlyWhatItAskedFor) {
  constexpr uint32_t kPart = kMaxBatch - 28;
  options_.capacity = 3 * kMaxBatch + kCapacity;
  constexpr Operation kAcquirePart = [](BufferPool& pool, Held& held) {
    held.resize(kPart);
    if (!pool.AcquireMany(held)) held.clear();
  };
  constexpr Operation kReleaseAll = [](BufferPool& pool, Held& held) {
    pool.ReleaseMany(held);
    held.clear();
  };
  CheckStops(
      kPart + kCacheSize / 2,
      [](BufferPool& pool, Held& held) {
        held.resize(2 * kMaxBatch);
        ASSERT_TRUE(pool.AcquireMany(held));
        kReleaseAll(pool, held);
        ASSERT_GT(pool.Snapshot().magazines, 0u);
      },
      kAcquirePart, /*stride=*/47);
  CheckStops(kCacheSize / 2, kAcquirePart, kReleaseAll, /*stride=*/47);
}

// It has a batch of 64 used and now idle buffers in its hands, and gives the
// memory of each back to the system.
TEST_P(StoppedThreadTest, StoppedInATrimHidesABatch) {
  options_.buffer_size = 4096;
  options_.capacity = 64 + kCapacity;
  CheckStops(
      64,
      [](BufferPool& pool, Held&) {
        Held used(3 * kCacheSize);
        ASSERT_TRUE(pool.AcquireMany(used));
        for (std::byte* const buffer : used) *buffer = std::byte{1};
        pool.ReleaseMany(used);
      },
      [](BufferPool& pool, Held&) { EXPECT_TRUE(pool.Trim().ok()); });
}

TEST_P(StoppedThreadTest, StoppedInASnapshotHidesNothing) {
  CheckStops(
      0, [](BufferPool&, Held&) {},
      [](BufferPool& pool, Held&) {
        const Arena arena;
        EXPECT_EQ(pool.Snapshot().capacity, kCapacity);
      });
}

// P3: the look before a push, and the one after.
TEST_P(StoppedThreadTest, ReleaseThatMeetsPressureLeavesNothingInTheCache) {
  CheckPressure(
      [](BufferPool& pool, Held& held) {
        FillCache(pool);
        Acquire(pool, held);
      },
      Release);
}

TEST_P(StoppedThreadTest, ReleasePairThatMeetsPressureLeavesNothing) {
  CheckPressure(
      [](BufferPool& pool, Held& held) {
        FillCache(pool);
        AcquirePair(pool, held);
      },
      ReleasePair);
}

TEST_P(StoppedThreadTest, ReleaseManyThatMeetsPressureLeavesNothing) {
  CheckPressure(
      [](BufferPool& pool, Held& held) {
        FillCache(pool);
        AcquireMany(pool, held);
      },
      ReleaseMany);
}

// P3: the surplus of a refill is a push like any other.
TEST_P(StoppedThreadTest, RefillThatMeetsPressureLeavesNothingInTheCache) {
  CheckPressure(
      [](BufferPool& pool, Held& held) {
        FillCache(pool);
        while (Cached(pool) > 0) Acquire(pool, held);
      },
      Acquire);
}

// P3: the look on the way back to bias.
TEST_P(StoppedThreadTest, WayBackToBiasThatMeetsPressureIsGivenUp) {
  if (!NewPool({})->Snapshot().biased) GTEST_SKIP() << "no bias here";
  constexpr Operation kNext = [](BufferPool& pool, Held& held) {
    held.empty() ? Acquire(pool, held) : Release(pool, held);
  };
  CheckPressure(
      [](BufferPool& pool, Held& held) {
        // As many operations, but one, as make a pool just like this one
        // biased.
        const auto model = tandem::NewPool({.buffer_size = 64,
                                            .capacity = kCapacity,
                                            .cache_size = kCacheSize});
        Held of_model;
        int operations = 0;
        do {
          kNext(*model, of_model);
          ++operations;
        } while (!model->Snapshot().threads[0].biased);
        model->ReleaseMany(of_model);
        for (int i = 1; i < operations; ++i) kNext(pool, held);
        EXPECT_FALSE(pool.Snapshot().threads[0].biased);
      },
      kNext);
}

INSTANTIATE_TEST_SUITE_P(Pool, StoppedThreadTest, BothWays(), BiasName);

}  // namespace
}  // namespace tandem
