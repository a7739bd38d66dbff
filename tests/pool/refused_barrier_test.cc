// P2, P3: under a seccomp filter that refuses membarrier(2), as in some
// containers. The filter is installed before a pool is created, or after.
//
// In the second case: nothing is corrupted, no buffer is in two hands, none is
// lost, and the snapshot counts the refusals. An allocation may fail while
// buffers lie in caches that were biased when the filter was installed, until
// their owners next use the pool. No cache becomes biased any more.

#include <sched.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

// From now on the calling thread, and threads that it starts, may not
// call membarrier.
void RefuseMembarrier() { RefuseSystemCall(SYS_membarrier, EPERM); }

TEST(RefusedBarrierTest, PoolIsSharedWhereMembarrierIsRefused) {
  InChild([] {
    RefuseMembarrier();
    const auto pool = NewPool({.capacity = 64});
    EXPECT_FALSE(pool->Snapshot().biased);
    Companion other;
    other.Run([&] { FillCache(*pool); });
    ExpectCanTake(*pool, 64);
    EXPECT_EQ(pool->Snapshot().barriers, 0u);
  });
}

TEST(RefusedBarrierTest, PoolThatMustBeBiasedIsRefusedByName) {
  InChild([] {
    RefuseMembarrier();
    const auto pool = BufferPool::Create({.bias = Bias::kBiased});
    ASSERT_EQ(pool.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_TRUE(std::string(pool.status().message())
                    .starts_with("PoolOptions.bias is kBiased, but"))
        << pool.status();
    EXPECT_NE(pool.status().message().find("membarrier"), std::string::npos);
  });
}

TEST(RefusedBarrierTest, FilterThatComesLaterHidesBiasedCachesUntilTheirUse) {
  InChild([] {
    const auto pool = NewPool({.capacity = 64, .cache_size = 8});
    if (!pool->Snapshot().biased) return;
    Companion owner;
    owner.Run([&] { FillCache(*pool); });
    ASSERT_TRUE(pool->Snapshot().threads.at(0).biased);
    const uint32_t hidden = pool->Snapshot().cached;
    ASSERT_NE(hidden, 0u);
    RefuseMembarrier();
    std::vector<std::byte*> taken = TakeAll(*pool);
    EXPECT_EQ(taken.size(), 64 - hidden);
    EXPECT_EQ(pool->Snapshot().cached, hidden) << "its owner's alone";
    EXPECT_NE(pool->Snapshot().refusals, 0u);
    // The owner finds that it is short, and takes its bias itself.
    owner.Run([&] { pool->Release(pool->Acquire()); });
    const std::vector<std::byte*> rest = TakeAll(*pool);
    taken.insert(taken.end(), rest.begin(), rest.end());
    EXPECT_EQ(std::set(taken.begin(), taken.end()).size(), 64u);
    pool->ReleaseMany(taken);
    owner.Run([&] { ExpectCanTake(*pool, 64); });
    owner.Finish();
    ExpectAtRest(*pool, 0);
    ExpectCanTake(*pool, 64);
  });
}

// Otherwise buffers would be stranded again and again, not once.
TEST(RefusedBarrierTest, NoCacheBecomesBiasedAfterARefusal) {
  InChild([] {
    const auto pool = NewPool({.capacity = 64, .cache_size = 8});
    if (!pool->Snapshot().biased) return;
    Companion owner;
    owner.Run([&] { FillCache(*pool); });
    RefuseMembarrier();
    pool->ReleaseMany(TakeAll(*pool));
    ASSERT_NE(pool->Snapshot().refusals, 0u);
    owner.Run([&] {
      for (int i = 0; i < 4; ++i) FillCache(*pool);
    });
    EXPECT_FALSE(pool->Snapshot().threads.at(0).biased);
    EXPECT_NE(pool->Snapshot().threads.at(0).cached, 0u);
    ExpectCanTake(*pool, 64);
  });
}

// A release that finds its gate closing leaves nothing behind it.
TEST(RefusedBarrierTest, OwnerThatWasPassedOverEmptiesItsCacheAtItsNextUse) {
  InChild([] {
    const auto pool = NewPool({.capacity = 64, .reserve = 2, .cache_size = 8});
    if (!pool->Snapshot().biased) return;
    std::byte* kept = nullptr;
    Companion owner;
    owner.Run([&] {
      kept = pool->Acquire();
      FillCache(*pool);
    });
    RefuseMembarrier();
    // The reserve is also taken: there is pressure.
    const std::vector<std::byte*> taken = TakeAll(*pool);
    ASSERT_NE(pool->Snapshot().cached, 0u);
    owner.Run([&] { pool->Release(kept); });
    EXPECT_LE(pool->Snapshot().cached, 1u) << "what has been released now";
    pool->ReleaseMany(taken);
  });
}

// A thread that may call it still finds everything.
TEST(RefusedBarrierTest, ThreadThatIsNotFilteredStillTakesEverything) {
  InChild([] {
    const auto pool = NewPool({.capacity = 64, .cache_size = 8});
    Companion owner;
    Companion filtered;
    owner.Run([&] { FillCache(*pool); });
    filtered.Run([&] {
      RefuseMembarrier();
      pool->ReleaseMany(TakeAll(*pool));
    });
    ExpectCanTake(*pool, 64);
  });
}

TEST(RefusedBarrierTest, FilterThatComesLaterPutsNoBufferIntoTwoHands) {
  InChild([] {
    const auto pool =
        NewPool({.buffer_size = 64, .capacity = 24, .cache_size = 8});
    BusyOwner owner(*pool);
    RefuseMembarrier();
    for (int round = 0; round < 200; ++round) {
      TakeAllFromOwners(*pool);
      // Time to become biased again.
      for (int i = 0; i < 20; ++i) sched_yield();
    }
    EXPECT_EQ(pool->Snapshot().refusals != 0, pool->Snapshot().biased);
    owner.Stop();
    ExpectAtRest(*pool, 0);
    ExpectCanTake(*pool, 24);
  });
}

}  // namespace
}  // namespace tandem
