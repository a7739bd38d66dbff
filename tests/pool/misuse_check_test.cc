#include "tandem/pool/misuse_check.h"

#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tandem/pool/buffer.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class MisuseCheckDeathTest : public ::testing::Test {
 protected:
  MisuseCheckDeathTest() {
    GTEST_FLAG_SET(death_test_style, "fast");
    pool_ = NewPool({.name = "mine", .capacity = 16});
  }

  std::unique_ptr<BufferPool> pool_;
};

// P7
TEST_F(MisuseCheckDeathTest, ForeignPointerIsNamed) {
  alignas(64) std::byte foreign[64];
  EXPECT_DEATH(pool_->Release(foreign),
               HasSubstr(absl::StrFormat(
                   "pool \"mine\": %p is not a buffer of this pool (foreign)",
                   static_cast<void*>(foreign))));
}

// P7: before a cache takes it.
TEST_F(MisuseCheckDeathTest, NullIsForeign) {
  const std::unique_ptr<BufferPool> pool =
      NewPool({.capacity = 16, .cache_size = 4});
  EXPECT_DEATH(pool->Release(nullptr), "not a buffer of this pool");
}

// P7
TEST_F(MisuseCheckDeathTest, AnotherPoolsBufferIsForeign) {
  const auto other = NewPool({.name = "other"});
  const Buffer theirs = other->AcquireBuffer();
  EXPECT_DEATH(pool_->Release(theirs.data()), "pool \"mine\".*foreign");
}

// P7
TEST_F(MisuseCheckDeathTest, EndOfTheRegionIsForeign) {
  EXPECT_DEATH(pool_->Release(pool_->region().data() + pool_->region().size()),
               "foreign");
}

// P7: at every place where the check looks for it.
TEST_F(MisuseCheckDeathTest, PointersAroundTheRegionAreForeign) {
  std::byte* const start = pool_->region().data();
  for (ptrdiff_t distance = 1; distance < ptrdiff_t{1} << 40; distance *= 2) {
    EXPECT_DEATH(pool_->Release(start - distance), "foreign");
  }
  const ptrdiff_t stride = pool_->AddressOf(BufferIndex{1}) - start;
  EXPECT_DEATH(pool_->Release(start - stride), "foreign");
}

// P7
TEST_F(MisuseCheckDeathTest, MisalignedPointerIsNamed) {
  const Buffer buffer = pool_->AcquireBuffer();
  std::byte* const inside = buffer.data() + 64;
  EXPECT_DEATH(
      pool_->Release(inside),
      HasSubstr(absl::StrFormat("%p is inside the pool, but is not the start "
                                "of a buffer (misaligned)",
                                static_cast<void*>(inside))));
}

// P7
TEST_F(MisuseCheckDeathTest, SecondReleaseIsNamed) {
  std::byte* const buffer = pool_->Acquire();
  const std::string message = absl::StrFormat(
      "pool \"mine\": buffer %p (number %d) was released twice",
      static_cast<void*>(buffer), static_cast<int>(pool_->IndexOf(buffer)));
  pool_->Release(buffer);
  EXPECT_DEATH(pool_->Release(buffer), HasSubstr(message));
}

// P7: releases of other buffers in between change nothing.
TEST_F(MisuseCheckDeathTest, SecondReleaseIsToldHoweverLateItComes) {
  const std::vector<std::byte*> all = TakeAll(*pool_);
  pool_->ReleaseMany(all);
  for (std::byte* const buffer : all) {
    EXPECT_DEATH(pool_->Release(buffer), "released twice");
  }
}

// P7
TEST_F(MisuseCheckDeathTest, SecondReleaseOnAnotherThreadIsTold) {
  std::byte* const buffer = pool_->Acquire();
  Companion().Run([&] { pool_->Release(buffer); });
  EXPECT_DEATH(pool_->Release(buffer), "released twice");
}

// P7
TEST_F(MisuseCheckDeathTest, SameBufferTwiceInABatchIsTold) {
  std::byte* const buffer = pool_->Acquire();
  const std::array<std::byte*, 2> twice = {buffer, buffer};
  EXPECT_DEATH(pool_->ReleaseMany(twice), "released twice");
  pool_->Release(buffer);
}

// P7
TEST_F(MisuseCheckDeathTest, BufferThatWasNeverTakenCanNotBeReleased) {
  EXPECT_DEATH(pool_->Release(pool_->AddressOf(BufferIndex{15})),
               "number 15. was released twice");
}

// P7: the same with a batch.
TEST_F(MisuseCheckDeathTest, ForeignPointerInABatchIsTold) {
  std::array<std::byte*, 3> batch;
  ASSERT_TRUE(pool_->AcquireMany(batch));
  std::array<std::byte*, 3> wrong = batch;
  wrong[2] += 1;
  EXPECT_DEATH(pool_->ReleaseMany(wrong), "misaligned");
  pool_->ReleaseMany(batch);
}

// P7
TEST_F(MisuseCheckDeathTest, NumberOfAForeignPointerIsNotInvented) {
  std::byte foreign;
  EXPECT_DEATH((void)pool_->IndexOf(&foreign), "foreign");
}

// P7: one option turns the check off; a pointer that is not a buffer is still
// reported when it leaves the thread's cache, or would bypass it.
TEST_F(MisuseCheckDeathTest, CheckIsOffWhereItIsTurnedOff) {
  const auto pool =
      NewPool({.capacity = 16, .cache_size = 4, .detect_misuse = false});
  EXPECT_EXIT(
      {
        std::byte* const buffer = pool->Acquire();
        pool->Release(buffer);
        pool->Release(buffer);
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(0), "");
  std::byte stray;
  EXPECT_DEATH(Companion().Run([&] { pool->Release(&stray); }), "foreign");
  const auto uncached =
      NewPool({.capacity = 16, .cache_size = 0, .detect_misuse = false});
  EXPECT_DEATH(uncached->Release(nullptr), "foreign");
}

// P7: and in a bulk, which is checked two at a time where the stride is a power
// of two.
TEST_F(MisuseCheckDeathTest, CheckThatIsOffStillTellsWhatEntersAMagazine) {
  for (const size_t buffer_size : {64, 192}) {
    const auto pool = NewPool({.buffer_size = buffer_size,
                               .capacity = 100,
                               .cache_size = 0,
                               .detect_misuse = false});
    std::array<std::byte*, 65> bulk;
    ASSERT_TRUE(pool->AcquireMany(bulk));
    std::byte* const start = pool->region().data();
    for (std::byte* const wrong :
         {start + 1, start + 100 * pool->stride(), start - pool->stride(),
          static_cast<std::byte*>(nullptr)}) {
      for (const size_t at : {0, 31, 64}) {
        std::array<std::byte*, 65> bad = bulk;
        bad[at] = wrong;
        EXPECT_DEATH(pool->ReleaseMany(bad), "foreign|misaligned");
      }
    }
    pool->ReleaseMany(bulk);
    EXPECT_EQ(pool->Snapshot().magazines, 1u);
  }
}

// P7: no false alarm.
TEST(MisuseCheckTest, BufferMayBeReleasedOnceForEachTimeItIsTaken) {
  const auto pool = NewPool({.capacity = 8});
  for (int i = 0; i < 1'000; ++i) {
    const std::vector<std::byte*> all = TakeAll(*pool);
    ASSERT_EQ(all.size(), 8u);
    pool->ReleaseMany(all);
  }
}

// P7
TEST(MisuseCheckTest, MissingBuffersAreCountedAtDestruction) {
  std::unique_ptr<BufferPool> pool = NewPool({.name = "leaky", .capacity = 16});
  std::array<std::byte*, 3> lost;
  ASSERT_TRUE(pool->AcquireMany(lost));
  FillCache(*pool);
  const ErrorCapture errors;
  pool.reset();
  EXPECT_THAT(errors.text(),
              HasSubstr("pool \"leaky\" is destroyed while 3 of its 16 buffers "
                        "have not been released"));
}

// P7: buffers in caches, also in those of living threads, are not missing.
TEST(MisuseCheckTest, NothingIsReportedIfAllBuffersAreBack) {
  std::unique_ptr<BufferPool> pool = NewPool({.capacity = 64});
  Companion other;
  other.Run([&] { FillCache(*pool); });
  FillCache(*pool);
  ASSERT_NE(pool->Snapshot().cached, 0u);
  const ErrorCapture errors;
  pool.reset();
  EXPECT_EQ(errors.text(), "");
}

// P7: poison ends with the pool, not with the address.
TEST(MisuseCheckTest, IdleMemoryIsOrdinaryAgainOnceThePoolIsGone) {
  if (!kAsan) GTEST_SKIP() << "only AddressSanitizer poisons";
  std::unique_ptr<BufferPool> pool = NewPool({.capacity = 64});
  const std::vector<std::byte*> all = TakeAll(*pool);
  pool->ReleaseMany(all);
  const size_t size = pool->region().size();
  std::byte* const start = pool->region().data();
  pool.reset();
  const absl::StatusOr<Mapping> mapping = Mapping::Create(size);
  ASSERT_TRUE(mapping.ok());
  if (mapping->bytes().data() != start) GTEST_SKIP() << "mapped elsewhere";
  std::memset(start, 1, size);
}

// P7
TEST(AsanDeathTest, WriteAfterReleaseIsCaught) {
  if (!kAsan) GTEST_SKIP() << "only AddressSanitizer poisons";
  const auto pool = NewPool({.capacity = 16});
  std::byte* const buffer = pool->Acquire();
  buffer[0] = std::byte{1};
  pool->Release(buffer);
  EXPECT_DEATH(buffer[0] = std::byte{2}, "use-after-poison");
  EXPECT_DEATH(buffer[pool->buffer_size() - 1] = std::byte{2},
               "use-after-poison");
}

// P7
TEST(AsanDeathTest, BufferThatWasNeverTakenMayNotBeTouched) {
  if (!kAsan) GTEST_SKIP() << "only AddressSanitizer poisons";
  const auto pool = NewPool({.capacity = 16});
  std::byte* const idle = pool->AddressOf(BufferIndex{15});
  EXPECT_DEATH(idle[0] = std::byte{1}, "use-after-poison");
}

// P7: every byte of a buffer in use is its owner's.
TEST(AsanTest, TakenBuffersMayBeTouchedEverywhere) {
  const auto pool = NewPool({.capacity = 300});
  for (int round = 0; round < 3; ++round) {
    std::vector<std::byte*> all(300);
    ASSERT_TRUE(pool->AcquireMany(all));
    for (std::byte* const buffer : all) {
      std::memset(buffer, round, pool->buffer_size());
    }
    pool->ReleaseMany(all);
  }
}

}  // namespace
}  // namespace tandem
