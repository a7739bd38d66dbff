#ifndef TANDEM_SESSION_URING_BUFFERS_H_
#define TANDEM_SESSION_URING_BUFFERS_H_

#if __cplusplus < 202002L
#error "Tandem needs C++20: compile with -std=c++20"
#endif

#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "tandem/pool/buffer_pool.h"

struct io_uring;

namespace tandem {

// A pool's buffers in the requests of an io_uring(7).

// Registers all memory of the pool as the ring's fixed buffers: one for each
// piece of the region, 1 GiB at most. The kernel then commits all of it and
// holds it until the ring ends; RLIMIT_MEMLOCK counts it.
//
// FailedPrecondition if the pool is not pinned, as Trim would replace pages
// that the kernel writes to, or if it has guard pages. Otherwise the system's
// error: EBUSY if the ring has fixed buffers already, ENOMEM beyond
// RLIMIT_MEMLOCK.
absl::Status RegisterRegion(io_uring& ring, const BufferPool& pool);

// A buffer as a request of a ring with a registered region names it:
//
//   const FixedBuffer fixed(pool, buffer);
//   io_uring_prep_read_fixed(sqe, fd, fixed.address, n, offset, fixed.index);
struct FixedBuffer {
  // Aborts if `buffer` is not a buffer of the pool.
  FixedBuffer(const BufferPool& pool, std::byte* buffer)
      : index(static_cast<int>(pool.PieceOf(pool.IndexOf(buffer)))),
        address(buffer) {}

  int index;
  std::byte* address;
};

// A buffer that the kernel uses: from before the submission of a request that
// names it until the request's last completion has been seen.
//
//   lent = LentBuffer(pool, session.buffer(side));
//   io_uring_prep_recv(sqe, fd, lent.data(), …);
//   …
//   lent.Return();  // on the request's completion
//
// The holder of the buffer, a session or the caller, keeps it. Meanwhile it
// cannot be released, detached or adopted: that aborts with a message that
// names it, unless PoolOptions::detect_misuse is off. This object cannot go
// either: it aborts if it is destroyed before Return. So a connection that ends
// while the kernel writes to its buffers is reported. Otherwise the bytes would
// arrive in another connection's buffer.
//
// io_uring_queue_exit(3) returns before the kernel has let go of buffers:
// cancel the requests first, and see their completions.
//
// Threads: those of the buffer's owner.
class [[nodiscard]] LentBuffer {
 public:
  LentBuffer() = default;
  // Aborts if it is not a buffer of the pool, is not taken, or is lent already.
  LentBuffer(BufferPool& pool, std::byte* buffer);

  LentBuffer(LentBuffer&& other) noexcept
      : pool_(other.pool_), buffer_(std::exchange(other.buffer_, nullptr)) {}
  // Aborts if this one is still lent.
  LentBuffer& operator=(LentBuffer&& other) noexcept;
  ~LentBuffer() { CheckReturned(); }

  explicit operator bool() const { return buffer_ != nullptr; }
  std::byte* data() const { return buffer_; }

  // The request has completed. Does nothing if no buffer is lent.
  void Return();

 private:
  void CheckReturned() const {
    if (buffer_ != nullptr) [[unlikely]]
      Die();
  }
  [[noreturn, gnu::cold]] void Die() const;

  BufferPool* pool_ = nullptr;  // not null unless buffer_ is null
  std::byte* buffer_ = nullptr;
};

}  // namespace tandem

#endif  // TANDEM_SESSION_URING_BUFFERS_H_
