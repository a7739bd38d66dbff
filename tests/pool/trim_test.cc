// P1: Trim gives memory back to the system.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

constexpr size_t kBufferSize = 16 * 1024;

// Takes `count` buffers, fills them, and returns them past any cache.
void Use(BufferPool& pool, size_t count) {
  std::vector<std::byte*> buffers(count);
  ASSERT_TRUE(pool.AcquireMany(buffers));
  for (std::byte* const buffer : buffers) std::memset(buffer, 1, kBufferSize);
  pool.ReleaseMany(buffers);
}

// How many of all buffers hold memory that was given back: zeros.
size_t CountZeroed(BufferPool& pool) {
  const std::vector<std::byte*> all = TakeAll(pool);
  const size_t count =
      std::count_if(all.begin(), all.end(), [](const std::byte* buffer) {
        return std::all_of(buffer, buffer + kBufferSize,
                           [](std::byte b) { return b == std::byte{0}; });
      });
  pool.ReleaseMany(all);
  return count;
}

// P1
TEST(TrimTest, GivesBackTheMemoryOfAllIdleBuffers) {
  const auto pool = NewPool({.capacity = 256, .cache_size = 0});
  Use(*pool, 256);
  EXPECT_EQ(CountZeroed(*pool), 0u);
  const absl::StatusOr<size_t> bytes = pool->Trim();
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(*bytes, 256 * kBufferSize);
  EXPECT_EQ(CountZeroed(*pool), 256u);
}

// P1: buffers in use keep their memory.
TEST(TrimTest, LeavesBuffersInUseAlone) {
  const auto pool = NewPool({.capacity = 64, .cache_size = 0});
  Use(*pool, 64);
  std::array<std::byte*, 10> held;
  ASSERT_TRUE(pool->AcquireMany(held));
  EXPECT_EQ(*pool->Trim(), 54 * kBufferSize);
  for (std::byte* const buffer : held) {
    EXPECT_TRUE(std::all_of(buffer, buffer + kBufferSize,
                            [](std::byte b) { return b == std::byte{1}; }));
  }
  pool->ReleaseMany(held);
  EXPECT_EQ(CountZeroed(*pool), 54u);
}

// P1: memory that was never used, or was given back, is not given back again.
TEST(TrimTest, GivesNothingBackTwice) {
  const auto pool = NewPool({.capacity = 256, .cache_size = 0});
  EXPECT_EQ(*pool->Trim(), 0u);
  Use(*pool, 100);
  EXPECT_EQ(*pool->Trim(), 100 * kBufferSize);
  EXPECT_EQ(*pool->Trim(), 0u);
}

// P1, P3
TEST(TrimTest, TrimmedBuffersCanAllBeTaken) {
  const auto pool = NewPool({.capacity = 256});
  for (int round = 0; round < 10; ++round) {
    Use(*pool, 256);
    ASSERT_TRUE(pool->Trim().ok());
    ExpectAtRest(*pool, 0);
    ExpectCanTake(*pool, 256);
  }
}

// P1: not while an allocation is short.
TEST(TrimTest, StopsUnderPressure) {
  const auto pool = NewPool({.capacity = 64, .reserve = 8, .cache_size = 0});
  Use(*pool, 64);
  std::array<std::byte*, 57> held;
  ASSERT_TRUE(pool->AcquireMany(held));
  ASSERT_TRUE(pool->Snapshot().pressed);
  EXPECT_EQ(*pool->Trim(), 0u);
  pool->ReleaseMany(held);
}

// P1: other code relies on the pages staying in place.
TEST(TrimTest, PinnedPoolRefuses) {
  const auto pool = NewPool({.name = "ring", .capacity = 16, .pinned = true});
  Use(*pool, 16);
  const absl::Status status = pool->Trim().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(),
            "tandem: the memory of pool \"ring\" stays (PoolOptions.pinned is "
            "true); Trim is refused");
  EXPECT_EQ(CountZeroed(*pool), 0u);
}

// P1: the system cannot take back locked memory either.
TEST(TrimTest, FieldPoolOfLockedMemoryRefuses) {
  const auto pool =
      NewPool({.name = "locked", .capacity = 2, .lock_memory = true});
  const absl::Status status = pool->Trim().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(),
            "tandem: the memory of pool \"locked\" stays "
            "(PoolOptions.lock_memory is true); Trim is refused");
}

// A case from the field: buffers in the caches of sleeping threads.
TEST(TrimTest, FieldGivesBackWhatLiesInTheCachesOfThreadsThatSleep) {
  const auto pool = NewPool({.capacity = 1'024, .cache_size = 64});
  std::array<Companion, 8> sleepers;
  for (Companion& sleeper : sleepers) {
    sleeper.Run([&] {
      Use(*pool, 64);
      FillCache(*pool);
    });
  }
  const uint32_t cached = pool->Snapshot().cached;
  ASSERT_GE(cached, sleepers.size() * 32);
  const size_t in_memory = PagesIn(pool->region());
  EXPECT_GE(*pool->Trim(), cached * kBufferSize);
  EXPECT_EQ(pool->Snapshot().cached, 0u);
  EXPECT_LT(PagesIn(pool->region()), in_memory);
  // The threads continue as before.
  for (Companion& sleeper : sleepers) {
    sleeper.Run([&] {
      FillCache(*pool);
      ExpectCanTake(*pool, 1'024);
    });
  }
  ExpectAtRest(*pool, 0);
}

// A case from the field: it does what its comment says.
TEST(TrimTest, FieldBuffersSmallerThanAPageGiveNothingBack) {
  const auto pool =
      NewPool({.buffer_size = 2'048, .capacity = 64, .cache_size = 0});
  std::vector<std::byte*> all = TakeAll(*pool);
  for (std::byte* const buffer : all) std::memset(buffer, 1, 2'048);
  pool->ReleaseMany(all);
  const absl::StatusOr<size_t> bytes = pool->Trim();
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ(*bytes, 0u);
}

// P1: parts of pages are kept, whichever buffer they belong to.
TEST(TrimTest, NeighboursOfTrimmedBuffersKeepTheirContents) {
  constexpr size_t kSize = 4'096 + 64;
  const auto pool =
      NewPool({.buffer_size = kSize, .capacity = 64, .cache_size = 0});
  const std::vector<std::byte*> all = TakeAll(*pool);
  for (std::byte* const buffer : all) std::memset(buffer, 1, kSize);
  std::vector<std::byte*> even;
  std::vector<std::byte*> odd;
  for (std::byte* const buffer : all) {
    (static_cast<uint32_t>(pool->IndexOf(buffer)) % 2 ? odd : even)
        .push_back(buffer);
  }
  pool->ReleaseMany(even);
  ASSERT_TRUE(pool->Trim().ok());
  for (std::byte* const buffer : odd) {
    EXPECT_TRUE(std::all_of(buffer, buffer + kSize,
                            [](std::byte b) { return b == std::byte{1}; }));
  }
  pool->ReleaseMany(odd);
}

// P1, P3: users keep finding buffers meanwhile, and none is lost.
TEST(TrimTest, RunsBesideAllocations) {
  const auto pool = NewPool({.capacity = 512});
  std::array<Companion, 3> users;
  for (Companion& user : users) {
    user.Start([&, id = reinterpret_cast<uintptr_t>(&user)] {
      for (int round = 0; round < 300; ++round) {
        std::array<std::byte*, 40> some;
        ASSERT_TRUE(pool->AcquireMany(some));
        for (std::byte* const buffer : some) ASSERT_TRUE(Mark(buffer, id));
        for (std::byte* const buffer : some) ASSERT_TRUE(Unmark(buffer, id));
        pool->ReleaseMany(some);
      }
    });
  }
  for (int round = 0; round < 100; ++round) ASSERT_TRUE(pool->Trim().ok());
  for (Companion& user : users) user.Wait();
  ExpectAtRest(*pool, 0);
  ExpectCanTake(*pool, 512);
}

}  // namespace
}  // namespace tandem
