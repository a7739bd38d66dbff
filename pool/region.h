#ifndef TANDEM_POOL_REGION_H_
#define TANDEM_POOL_REGION_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "absl/status/statusor.h"
#include "tandem/pool/options.h"
#include "tandem/pool/types.h"

namespace tandem {

// Address space from mmap(2), unmapped when it goes. All zero bytes, and
// committed as it is first used.
class Mapping {
 public:
  // Of 2 MiB pages that are set aside at once if `huge`, else of ordinary ones
  // for which nothing is set aside.
  static absl::StatusOr<Mapping> Create(size_t bytes, bool huge = false);

  Mapping() = default;
  Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Mapping();

  std::span<std::byte> bytes() const { return bytes_; }

 private:
  explicit Mapping(std::span<std::byte> bytes) : bytes_(bytes) {}

  std::span<std::byte> bytes_;
};

// The memory of all buffers: one mapping, cut into equal strides, each of which
// begins with a buffer. Index to pointer and back.
//
// Threads: immutable after Create; Discard touches only the buffer it is given.
class Region {
 public:
  static absl::StatusOr<Region> Create(const PoolOptions& options);

  std::byte* Address(BufferIndex index) const {
    return base_ + static_cast<uint32_t>(index) * stride_;
  }

  // The buffer that starts at `pointer`; kNoBuffer if none does.
  BufferIndex Find(const void* pointer) const {
    const uint64_t offset = reinterpret_cast<uintptr_t>(pointer) -
                            reinterpret_cast<uintptr_t>(base_);
    // stride_ is odd * 2^shift. Multiplying by the odd part's inverse modulo
    // 2^64 and rotating divides every multiple of the stride exactly, and takes
    // everything else to above 2^64 / stride_: one comparison tells misaligned
    // and foreign pointers alike.
    const uint64_t index = std::rotr(offset * odd_inverse_, shift_);
    if (index >= capacity_) [[unlikely]]
      return kNoBuffer;
    return BufferIndex(index);
  }

  // Gives the buffer's memory back to the system: it reads as zeros until it is
  // used again. The caller owns the buffer. Returns the bytes given back, those
  // of whole pages.
  size_t Discard(BufferIndex index) const;

  size_t buffer_size() const { return buffer_size_; }
  size_t stride() const { return stride_; }
  uint32_t capacity() const { return capacity_; }
  std::span<std::byte> bytes() const { return mapping_.bytes(); }

 private:
  Region(Mapping mapping, const PoolOptions& options, size_t lead,
         size_t stride);

  Mapping mapping_;
  std::byte* base_;
  uint64_t stride_;
  uint64_t odd_inverse_;  // of stride_ >> shift_, modulo 2^64
  int shift_;             // trailing zero bits of stride_
  uint64_t capacity_;
  size_t buffer_size_;
  size_t page_size_;
};

// Bytes behind each buffer that DebugOptions::canaries checks.
inline constexpr size_t kCanaryBytes = kCacheLine;

}  // namespace tandem

#endif  // TANDEM_POOL_REGION_H_
