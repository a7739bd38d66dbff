#include "tandem/pool/buffer.h"

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

static_assert(!std::is_copy_constructible_v<Buffer>);
static_assert(!std::is_copy_assignable_v<Buffer>);
static_assert(std::is_nothrow_move_constructible_v<Buffer>);
static_assert(std::is_nothrow_move_assignable_v<Buffer>);

class BufferTest : public ::testing::Test {
 protected:
  void ExpectEmpty(const Buffer& buffer) {
    EXPECT_FALSE(buffer);
    EXPECT_EQ(buffer.data(), nullptr);
    EXPECT_EQ(buffer.size(), 0u);
    EXPECT_TRUE(buffer.bytes().empty());
    EXPECT_EQ(buffer.index(), kNoBuffer);
  }

  const std::unique_ptr<BufferPool> pool_ = NewPool({.capacity = 4});
};

// Section 5: RAII over the raw pair.
TEST_F(BufferTest, ReleasesItsBufferWhenItGoes) {
  {
    const Buffer buffer = pool_->AcquireBuffer();
    EXPECT_TRUE(buffer);
    ExpectAtRest(*pool_, 1);
  }
  ExpectAtRest(*pool_, 0);
}

TEST_F(BufferTest, KnowsItsMemoryAndItsPlace) {
  const Buffer buffer = pool_->AcquireBuffer();
  EXPECT_EQ(buffer.size(), pool_->buffer_size());
  EXPECT_EQ(buffer.bytes().data(), buffer.data());
  EXPECT_EQ(buffer.bytes().size(), buffer.size());
  EXPECT_EQ(pool_->AddressOf(buffer.index()), buffer.data());
}

TEST_F(BufferTest, IsEmptyWhereNothingWasAcquired) {
  ExpectEmpty(Buffer());
  const std::vector<std::byte*> all = TakeAll(*pool_);
  ExpectEmpty(pool_->AcquireBuffer());
  pool_->ReleaseMany(all);
}

TEST_F(BufferTest, MoveHandsTheBufferOn) {
  Buffer from = pool_->AcquireBuffer();
  std::byte* const data = from.data();
  const Buffer to = std::move(from);
  EXPECT_EQ(to.data(), data);
  ExpectEmpty(from);
  ExpectAtRest(*pool_, 1);
}

TEST_F(BufferTest, MoveAssignmentReleasesWhatWasThere) {
  Buffer first = pool_->AcquireBuffer();
  Buffer second = pool_->AcquireBuffer();
  std::byte* const data = second.data();
  first = std::move(second);
  EXPECT_EQ(first.data(), data);
  ExpectEmpty(second);
  ExpectAtRest(*pool_, 1);
}

TEST_F(BufferTest, MoveToItselfKeepsTheBuffer) {
  Buffer buffer = pool_->AcquireBuffer();
  Buffer& same = buffer;
  std::byte* const data = buffer.data();
  buffer = std::move(same);
  EXPECT_EQ(buffer.data(), data);
  ExpectAtRest(*pool_, 1);
}

TEST_F(BufferTest, ResetReleasesNowAndOnlyOnce) {
  Buffer buffer = pool_->AcquireBuffer();
  buffer.Reset();
  ExpectEmpty(buffer);
  ExpectAtRest(*pool_, 0);
  buffer.Reset();
  ExpectAtRest(*pool_, 0);
}

TEST_F(BufferTest, DetachLeavesTheBufferToTheCaller) {
  std::byte* detached;
  {
    Buffer buffer = pool_->AcquireBuffer();
    detached = buffer.Detach();
    ExpectEmpty(buffer);
  }
  ASSERT_NE(detached, nullptr);
  ExpectAtRest(*pool_, 1);
  pool_->Release(detached);
}

TEST_F(BufferTest, TakesOverARawBuffer) {
  { const Buffer buffer(*pool_, pool_->Acquire()); }
  ExpectAtRest(*pool_, 0);
}

// P6
TEST_F(BufferTest, MayBeDestroyedOnAnotherThread) {
  Buffer buffer = pool_->AcquireBuffer();
  Companion().Run([&] { Buffer here = std::move(buffer); });
  ExpectAtRest(*pool_, 0);
  ExpectCanTake(*pool_, 4);
}

}  // namespace
}  // namespace tandem
