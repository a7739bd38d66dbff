#ifndef TANDEM_POOL_BUFFER_H_
#define TANDEM_POOL_BUFFER_H_

#include <cstddef>
#include <span>
#include <utility>

#include "tandem/pool/buffer_pool.h"
#include "tandem/pool/types.h"

namespace tandem {

// One buffer with an owner: the destructor releases it. Empty if the allocation
// failed.
//
// Threads: one at a time; any thread may move or destroy it.
class Buffer {
 public:
  Buffer() = default;
  // Takes over a buffer that was acquired from `pool`; null for none.
  Buffer(BufferPool& pool, std::byte* data) : pool_(&pool), data_(data) {}

  Buffer(Buffer&& other) noexcept
      : pool_(other.pool_), data_(std::exchange(other.data_, nullptr)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer moved(std::move(other));
    std::swap(pool_, moved.pool_);
    std::swap(data_, moved.data_);
    return *this;
  }
  ~Buffer() { Reset(); }

  explicit operator bool() const { return data_ != nullptr; }

  std::byte* data() const { return data_; }
  size_t size() const { return data_ == nullptr ? 0 : pool_->buffer_size(); }
  std::span<std::byte> bytes() const { return {data_, size()}; }
  // The buffer's number in the pool; kNoBuffer if empty.
  BufferIndex index() const {
    return data_ == nullptr ? kNoBuffer : pool_->IndexOf(data_);
  }

  // Releases the buffer now.
  void Reset() {
    if (data_ != nullptr) pool_->Release(Detach());
  }

  // Hands the buffer to the caller, which must release it.
  [[nodiscard]] std::byte* Detach() { return std::exchange(data_, nullptr); }

 private:
  BufferPool* pool_ = nullptr;  // not null unless data_ is null
  std::byte* data_ = nullptr;
};

inline Buffer BufferPool::AcquireBuffer() noexcept {
  return Buffer(*this, Acquire());
}

}  // namespace tandem

#endif  // TANDEM_POOL_BUFFER_H_
