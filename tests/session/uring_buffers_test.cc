// Buffers that io_uring uses: registered at once, and not released meanwhile.

#include "tandem/session/uring_buffers.h"

#include <liburing.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "tandem/pool/buffer.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/pool/testing.h"
#include "tandem/tests/session/uring_test_util.h"

namespace tandem {
namespace {

class UringBuffersTest : public UringTest {};

TEST_P(UringBuffersTest, KernelReadsIntoRegisteredBuffers) {
  const auto pool =
      NewPool({.buffer_size = 4096, .capacity = 8, .pinned = true});
  ASSERT_TRUE(RegisterRegion(ring_, *pool).ok());
  std::array<int, 2> pipe_fds;
  ASSERT_EQ(pipe(pipe_fds.data()), 0);
  std::vector<Buffer> buffers;
  for (uint32_t i = 0; i < pool->capacity(); ++i) {
    buffers.push_back(pool->AcquireBuffer());
    const std::string text = "text " + std::to_string(i);
    ASSERT_EQ(write(pipe_fds[1], text.data(), text.size()),
              static_cast<ssize_t>(text.size()));
    LentBuffer lent(*pool, buffers.back().data());
    const FixedBuffer fixed(*pool, lent.data());
    io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
    io_uring_prep_read_fixed(sqe, pipe_fds[0], fixed.address, 4096, 0,
                             fixed.index);
    io_uring_submit(&ring_);
    io_uring_cqe* cqe;
    ASSERT_EQ(io_uring_wait_cqe(&ring_, &cqe), 0);
    EXPECT_EQ(cqe->res, static_cast<int>(text.size()));
    io_uring_cqe_seen(&ring_, cqe);
    lent.Return();
    EXPECT_EQ(std::memcmp(buffers.back().data(), text.data(), text.size()), 0);
  }
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

// Buffers of 400 MiB: two in a piece of 1 GiB. The kernel commits them, so only
// their numbers are looked at.
TEST(FixedBufferTest, NamesThePiece) {
  const auto pool = NewPool(
      {.buffer_size = size_t{400} << 20, .capacity = 5, .pinned = true});
  for (uint32_t i = 0; i < 5; ++i) {
    const FixedBuffer fixed(*pool, pool->AddressOf(BufferIndex(i)));
    EXPECT_EQ(fixed.index, static_cast<int>(i / 2));
    EXPECT_EQ(fixed.address, pool->AddressOf(BufferIndex(i)));
  }
}

TEST_P(UringBuffersTest, RefusesWhatTheKernelCannotHold) {
  const auto trimmed = NewPool({.capacity = 4});
  EXPECT_EQ(RegisterRegion(ring_, *trimmed).code(),
            absl::StatusCode::kFailedPrecondition);
  const auto pinned =
      NewPool({.name = "pinned", .capacity = 4, .pinned = true});
  EXPECT_TRUE(RegisterRegion(ring_, *pinned).ok());
  const absl::Status again = RegisterRegion(ring_, *pinned);
  EXPECT_FALSE(again.ok());
  EXPECT_NE(again.message().find("\"pinned\""), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(, UringBuffersTest, kRings, RingName);

class LentBufferDeathTest : public ::testing::Test {
 protected:
  std::unique_ptr<BufferPool> pool_ =
      NewPool({.name = "lender", .capacity = 4});
  std::unique_ptr<SessionAllocator> sessions_ =
      SessionAllocator::Create(pool_.get()).value();
};

TEST_F(LentBufferDeathTest, SessionKeepsItUntilItIsReturned) {
  SessionBuffers session(*sessions_);
  ASSERT_EQ(session.AllocateBuffers(), Allocation::kGranted);
  LentBuffer lent(*pool_, session.buffer(Side::kRequest));
  EXPECT_TRUE(lent);
  EXPECT_TRUE(session.has_buffer(Side::kRequest));
  EXPECT_DEATH(session.ReleaseBuffers(), "lender.*while the kernel uses it");
  EXPECT_DEATH((void)session.Detach(Side::kRequest),
               "lender.*while the kernel uses it");
  EXPECT_DEATH(
      {
        SessionBuffers& gone = session;
        gone.~SessionBuffers();
      },
      "lender.*while the kernel uses it");
  lent.Return();
  EXPECT_FALSE(lent);
  session.ReleaseBuffers();
}

TEST_F(LentBufferDeathTest, CallerKeepsItUntilItIsReturned) {
  Buffer buffer = pool_->AcquireBuffer();
  LentBuffer lent(*pool_, buffer.data());
  EXPECT_DEATH(buffer.Reset(), "lender.*while the kernel uses it");
  SessionBuffers session(*sessions_);
  EXPECT_DEATH(session.Adopt(Side::kRequest, buffer.data()),
               "lender.*while the kernel uses it");
  lent.Return();
  lent.Return();
  buffer.Reset();
}

TEST_F(LentBufferDeathTest, IsNotDroppedWhileTheKernelUsesIt) {
  Buffer buffer = pool_->AcquireBuffer(), other = pool_->AcquireBuffer();
  EXPECT_DEATH({ LentBuffer lent(*pool_, buffer.data()); },
               "lender.*is dropped while the kernel uses it");
  LentBuffer lent(*pool_, buffer.data());
  EXPECT_DEATH(lent = LentBuffer(*pool_, other.data()),
               "lender.*is dropped while the kernel uses it");
  LentBuffer moved = std::move(lent);
  EXPECT_FALSE(lent);  // NOLINT(bugprone-use-after-move): it is none then
  moved.Return();
  moved = LentBuffer(*pool_, other.data());
  moved.Return();
}

TEST_F(LentBufferDeathTest, OnlyATakenBufferIsLentAndOnlyOnce) {
  std::byte* const buffer = pool_->Acquire();
  {
    LentBuffer lent(*pool_, buffer);
    EXPECT_DEATH(LentBuffer(*pool_, buffer), "lender.*lent twice");
    lent.Return();
  }
  EXPECT_DEATH(LentBuffer(*pool_, buffer + 1), "lender");
  pool_->Release(buffer);
  EXPECT_DEATH(LentBuffer(*pool_, buffer), "lender.*nobody has it");
}

}  // namespace
}  // namespace tandem
