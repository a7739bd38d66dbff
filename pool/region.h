#ifndef TANDEM_POOL_REGION_H_
#define TANDEM_POOL_REGION_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "absl/status/statusor.h"
#include "tandem/pool/buffer_map.h"
#include "tandem/pool/options.h"
#include "tandem/pool/types.h"

namespace tandem {

// Address space from mmap(2), unmapped on destruction. All bytes are zero, and
// committed on first use.
class Mapping {
 public:
  // If `huge` (HugePages::kExplicit): of 2 MiB pages, all reserved at once.
  // Otherwise of ordinary pages, none of them reserved.
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

// The memory of all buffers: one mapping, cut into equal strides; a buffer
// starts each stride.
//
// Threads: immutable after Create; Discard touches only the buffer it is given.
class Region {
 public:
  static absl::StatusOr<Region> Create(const PoolOptions& options);

  // Where the buffers lie in the region.
  const BufferMap& map() const { return map_; }

  // Gives the buffer's memory back to the system: it reads as zeros until it is
  // used again. The caller owns the buffer. Returns the bytes given back, in
  // whole pages.
  size_t Discard(const std::byte* buffer) const;

  size_t buffer_size() const { return buffer_size_; }
  std::span<std::byte> bytes() const { return mapping_.bytes(); }

  // As in BufferPool.
  size_t piece_count() const;
  std::span<std::byte> piece(size_t i) const;
  size_t PieceOf(BufferIndex index) const {
    return static_cast<uint32_t>(index) / buffers_in_piece_;
  }

 private:
  Region(Mapping mapping, const PoolOptions& options, size_t lead,
         size_t stride);

  Mapping mapping_;
  BufferMap map_;
  size_t buffer_size_;
  size_t page_size_;
  size_t buffers_in_piece_;
  bool in_pieces_;  // no page in between is inaccessible
};

// The bytes behind each buffer that DebugOptions::canaries checks.
inline constexpr size_t kCanaryBytes = kCacheLine;

}  // namespace tandem

#endif  // TANDEM_POOL_REGION_H_
