#include "tandem/session/uring_buffers.h"

#include <liburing.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tandem/pool/die.h"
#include "tandem/pool/no_throw.h"
#include "tandem/pool/session_door.h"

namespace tandem {

absl::Status RegisterRegion(io_uring& ring, const BufferPool& pool) {
  if (!pool.pinned()) {
    return absl::FailedPreconditionError(
        absl::StrCat("RegisterRegion: pool \"", pool.name(),
                     "\" may be trimmed; allowed: PoolOptions.pinned"));
  }
  const size_t count = pool.piece_count();
  const std::unique_ptr<iovec[]> pieces(new (std::nothrow) iovec[count]);
  if (pieces == nullptr) return NoMemory();
  for (size_t i = 0; i < count; ++i) {
    const std::span<std::byte> piece = pool.piece(i);
    pieces[i] = {.iov_base = piece.data(), .iov_len = piece.size()};
  }
  const int result = io_uring_register_buffers(&ring, pieces.get(),
                                               static_cast<unsigned>(count));
  if (result >= 0) return absl::OkStatus();
  return absl::ErrnoToStatus(
      -result,
      absl::StrCat("RegisterRegion: registering ", pool.region().size(),
                   " bytes of pool \"", pool.name(), "\" (RLIMIT_MEMLOCK)"));
}

LentBuffer::LentBuffer(BufferPool& pool, std::byte* buffer)
    : pool_(&pool), buffer_(buffer) {
  BufferPool::SessionDoor(pool).Lend(buffer);
}

LentBuffer& LentBuffer::operator=(LentBuffer&& other) noexcept {
  CheckReturned();
  pool_ = other.pool_;
  buffer_ = std::exchange(other.buffer_, nullptr);
  return *this;
}

void LentBuffer::Return() {
  if (buffer_ == nullptr) return;
  BufferPool::SessionDoor(*pool_).Return(std::exchange(buffer_, nullptr));
}

void LentBuffer::Die() const {
  tandem::Die("tandem: pool \"", pool_->name(), "\": buffer ",
              static_cast<const void*>(buffer_), " (number ",
              static_cast<uint64_t>(pool_->IndexOf(buffer_)),
              ") is dropped while the kernel uses it");
}

}  // namespace tandem
