// The depot: which buffers lie in magazines, which are loose, and what a pool
// costs before its first use.

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "tandem/pool/buffer_pool.h"
#include "tandem/pool/cache/spare_magazines.h"
#include "tandem/pool/platform.h"
#include "tandem/pool/types.h"
#include "tandem/tests/pool/stepper.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

class MagazinesTest : public ::testing::Test {
 protected:
  // Bypasses the caches, so that each bulk is a lot.
  static std::unique_ptr<BufferPool> NewUncached(uint32_t capacity) {
    return NewPool({.buffer_size = 64,
                    .capacity = capacity,
                    .reserve = 0,
                    .cache_size = 0,
                    .core_pools = 1});
  }

  static std::vector<std::byte*> Take(BufferPool& pool, size_t count) {
    std::vector<std::byte*> buffers(count);
    EXPECT_TRUE(pool.AcquireMany(buffers));
    return buffers;
  }
};

// P2: lots of a quarter of a magazine and more, never smaller ones.
TEST_F(MagazinesTest, SmallLotsAreLoose) {
  const std::unique_ptr<BufferPool> pool = NewUncached(1'000);
  pool->ReleaseMany(Take(*pool, kMaxBatch / 4 - 1));
  EXPECT_EQ(pool->Snapshot().magazines, 0u);
  pool->ReleaseMany(Take(*pool, kMaxBatch / 4));
  EXPECT_EQ(pool->Snapshot().magazines, 1u);
  pool->ReleaseMany(Take(*pool, 3 * kMaxBatch + 1));
  EXPECT_EQ(pool->Snapshot().magazines, 3u);
  EXPECT_EQ(pool->Snapshot().loose_batches, 0u);
  ExpectAtRest(*pool, 0);
  ExpectCanTake(*pool, 1'000);
}

// P1: a magazine is used again, however often it has been emptied.
TEST_F(MagazinesTest, EmptyMagazinesComeBack) {
  const std::unique_ptr<BufferPool> pool = NewUncached(1'000);
  for (int i = 0; i < 1'000; ++i) {
    const std::vector<std::byte*> buffers = Take(*pool, 2 * kMaxBatch);
    const std::span all(buffers);
    pool->ReleaseMany(all.first(kMaxBatch + i % kMaxBatch));
    pool->ReleaseMany(all.subspan(kMaxBatch + i % kMaxBatch));
  }
  EXPECT_LE(pool->Snapshot().magazines, 8u);
  EXPECT_EQ(pool->Snapshot().loose_batches, 0u);
  ExpectCanTake(*pool, 1'000);
}

// P1, P8: each round leaves a magazine behind with one buffer in it, until no
// empty one is left. Then batches go back buffer by buffer, and are found.
TEST_F(MagazinesTest, PoolThatRunsOutOfMagazinesGoesOnWithout) {
  constexpr uint32_t kCapacity = 20 * kMaxBatch;
  const std::unique_ptr<BufferPool> pool = NewUncached(kCapacity);
  std::vector<std::byte*> held = Take(*pool, kCapacity);
  const auto release = [&](size_t count) {
    pool->ReleaseMany(std::span(held).last(count));
    held.resize(held.size() - count);
  };
  release(kMaxBatch);
  int rounds = 0;
  while (pool->Snapshot().loose_batches == 0) {
    ASSERT_LE(++rounds, 100) << "there are magazines without end";
    const std::vector<std::byte*> some = Take(*pool, kMaxBatch - 1);
    held.insert(held.end(), some.begin(), some.end());
    release(kMaxBatch);
  }
  EXPECT_EQ(pool->Snapshot().magazines, 4 * kCapacity / kMaxBatch);
  EXPECT_EQ(pool->Snapshot().cores[0].buffers, kCapacity - held.size());
  release(held.size());
  ExpectCanTake(*pool, kCapacity);
  EXPECT_EQ(std::set(held.begin(), held.end()).size(), held.size());
  // And once they are empty, they are used again.
  const uint64_t loose = pool->Snapshot().loose_batches;
  pool->ReleaseMany(Take(*pool, kMaxBatch));
  EXPECT_EQ(pool->Snapshot().loose_batches, loose);
}

// P10: at every instruction. Each magazine stays in one place.
TEST_F(MagazinesTest, HandlerGetsNoSpareMagazineThatItsThreadHas) {
  if (!Stepper::Works()) GTEST_SKIP() << "needs single steps";
  for (const uint32_t spare : {0u, 1u, 3u}) {
    SpareMagazines<StdPlatform> spares;
    std::vector<uint32_t> elsewhere;
    elsewhere.reserve(8);
    const auto put = [&](uint32_t number) {
      if (!spares.TryPut(number)) elsewhere.push_back(number);
    };
    const auto take = [&] {
      const uint32_t number = spares.Take();
      if (number != kNoMagazine) elsewhere.push_back(number);
    };
    for (uint32_t i = 0; i < spare; ++i) put(i);
    bool interrupted = false;
    const auto check = [&] {
      for (uint32_t i = 0; i < SpareMagazines<StdPlatform>::kMost; ++i) take();
      std::ranges::sort(elsewhere);
      // The last time, the operation is over before it can be interrupted.
      EXPECT_EQ(elsewhere.size(), spare + (interrupted ? 2 : 1));
      EXPECT_EQ(std::ranges::adjacent_find(elsewhere), elsewhere.end());
    };
    Stepper::InterruptEverywhere(
        [&] {
          const uint32_t number = spares.Take();
          put(10);
          if (number != kNoMagazine) put(number);
        },
        [&] {
          interrupted = true;
          const uint32_t number = spares.Take();
          put(11);
          if (number != kNoMagazine) put(number);
        },
        check);
  }
}

// P3: buffers are found in a magazine, loose, cold or never used.
TEST_F(MagazinesTest, BuffersAreFoundWhereverTheyLie) {
  const auto pool = NewPool({.buffer_size = 4'096,
                             .capacity = 1'000,
                             .reserve = 0,
                             .cache_size = 0,
                             .core_pools = 3});
  pool->ReleaseMany(Take(*pool, 300));
  ASSERT_TRUE(pool->Trim().ok());
  std::vector<std::byte*> held = Take(*pool, 600);
  pool->ReleaseMany(std::span(held).first(400));
  for (std::byte* const buffer : std::span(held).last(200)) {
    pool->Release(buffer);
  }
  const std::vector<std::byte*> all = Take(*pool, 1'000);
  EXPECT_EQ(std::set(all.begin(), all.end()).size(), 1'000u);
  pool->ReleaseMany(all);
}

// Bytes of this process in memory.
size_t ResidentBytes() {
  size_t all = 0;
  size_t resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * static_cast<size_t>(getpagesize());
}

// P1: a pool takes memory as it is used.
TEST_F(MagazinesTest, LargestPoolTakesNoMemoryBeforeItIsUsed) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "shadow memory comes on top";
#endif
  NewPool({});
  const size_t before = ResidentBytes();
  const auto pool = NewPool({.buffer_size = 64, .capacity = kMaxCapacity});
  EXPECT_LE(ResidentBytes() - before, size_t{2} << 20);
  pool->ReleaseMany(Take(*pool, 1'000));
  EXPECT_LE(ResidentBytes() - before, size_t{4} << 20);
}

}  // namespace
}  // namespace tandem
