#include "tandem/session/spare_buffers.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>

namespace tandem {

bool SpareBuffers::Take(uint32_t n) noexcept {
  assert(count_ == 0 && n >= 1 && n <= kMost);
  // A row's length is a uint32_t.
  if (BufferSize() > UINT32_MAX / kMost) return false;
  if (!allocator_.TakeSpares(std::span(buffers_).first(n))) return false;
  count_ = n;
  return true;
}

void SpareBuffers::Release() noexcept {
  if (empty()) return Clear();
  const auto size = static_cast<uint32_t>(BufferSize());
  Keep(begin_ / size, (end_ + size - 1) / size);
}

void SpareBuffers::Clear() noexcept {
  begin_ = end_ = 0;
  Keep(0, 0);
}

uint32_t SpareBuffers::kept() const noexcept {
  if (empty()) return 0;
  const auto size = static_cast<uint32_t>(BufferSize());
  return (end_ + size - 1) / size - begin_ / size;
}

void SpareBuffers::Commit(size_t n) noexcept {
  assert(n <= Capacity() - end_);
  end_ += static_cast<uint32_t>(n);
}

void SpareBuffers::Consume(size_t n) noexcept {
  assert(n <= size());
  begin_ += static_cast<uint32_t>(n);
  if (empty()) begin_ = end_ = 0;
}

int SpareBuffers::Fill(size_t from, size_t to, Iovecs out) const noexcept {
  const size_t size = BufferSize();
  int count = 0;
  while (from < to) {
    const size_t offset = from % size;
    const size_t length = std::min(size - offset, to - from);
    out[static_cast<size_t>(count++)] = {
        .iov_base = buffers_[from / size] + offset, .iov_len = length};
    from += length;
  }
  return count;
}

void SpareBuffers::Keep(uint32_t from, uint32_t to) noexcept {
  std::array<std::byte*, kMost> idle;
  uint32_t given = 0;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < count_; ++i) {
    if (i >= from && i < to) {
      buffers_[kept++] = buffers_[i];
    } else {
      idle[given++] = buffers_[i];
    }
  }
  count_ = kept;
  const auto shift = static_cast<uint32_t>(from * BufferSize());
  if (kept != 0) {
    begin_ -= shift;
    end_ -= shift;
  }
  if (given != 0) allocator_.door_.TakeBack(std::span(idle).first(given));
}

}  // namespace tandem
