#ifndef TANDEM_POOL_BUFFER_MAP_H_
#define TANDEM_POOL_BUFFER_MAP_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "tandem/pool/types.h"

namespace tandem {

// Where the buffers of a pool lie: at equal strides from a base. Converts a
// number to an address and back; never reads or writes there.
//
// In users' hands and in thread caches, buffers are known by address, so that
// the fast path converts nothing. In the depot, where links between them must
// fit in a word, they are known by number.
//
// Threads: immutable.
class BufferMap {
 public:
  // `stride` is not 0; the name is for messages.
  BufferMap(std::byte* base, size_t stride, uint32_t capacity,
            std::string pool_name)
      : base_(base),
        stride_(stride),
        odd_inverse_(InverseOf(stride >> std::countr_zero(stride))),
        shift_(std::countr_zero(stride)),
        capacity_(capacity),
        pool_name_(std::move(pool_name)) {}

  std::byte* Address(BufferIndex index) const {
    return base_ + static_cast<uint32_t>(index) * stride_;
  }

  // The buffer that starts at `pointer`; kNoBuffer if none does.
  BufferIndex Find(const void* pointer) const {
    // stride_ is odd * 2^shift. Multiplying by the inverse of the odd part
    // modulo 2^64 and rotating divides every multiple of the stride exactly,
    // and maps every other number above 2^64 / stride_. So one comparison
    // detects both misaligned and foreign pointers.
    const uint64_t index = std::rotr(ProductOf(pointer), shift_);
    if (index >= capacity_) [[unlikely]]
      return kNoBuffer;
    return BufferIndex(index);
  }

  // The same, but any other pointer is misuse: aborts with a message that names
  // the pointer and the pool.
  BufferIndex IndexOf(const void* pointer) const {
    const BufferIndex index = Find(pointer);
    if (index == kNoBuffer) [[unlikely]]
      DieOfForeign(pointer);
    return index;
  }
  // IndexOf of each, without the numbers.
  void Check(std::span<std::byte* const> pointers) const {
    if (AllAreBuffers(pointers)) [[likely]]
      return;
    for (const std::byte* const pointer : pointers) IndexOf(pointer);
  }
  [[noreturn]] void DieOfForeign(const void* pointer) const;

  std::byte* base() const { return base_; }
  size_t stride() const { return stride_; }
  uint32_t capacity() const { return static_cast<uint32_t>(capacity_); }
  const std::string& pool_name() const { return pool_name_; }

 private:
  using Pair [[gnu::vector_size(16)]] = uint64_t;

  uint64_t ProductOf(const void* pointer) const {
    return (reinterpret_cast<uintptr_t>(pointer) -
            reinterpret_cast<uintptr_t>(base_)) *
           odd_inverse_;
  }

  // Whether Find would find each of them. A product, before Find rotates it, is
  // index * 2^shift_, or that of no buffer: then it has a bit below 2^shift_,
  // or is more than the last buffer's, which the sign of one of two numbers
  // tells. So the test comes once, at the end.
  bool AllAreBuffers(std::span<std::byte* const> pointers) const {
    const uint64_t last = (capacity_ - 1) << shift_;
    uint64_t seen = 0;
    if (odd_inverse_ == 1) {
      // Two at a time, as there is nothing to multiply.
      Pair both = {};
      for (; pointers.size() >= 2; pointers = pointers.subspan(2)) {
        Pair products;
        std::memcpy(&products, pointers.data(), sizeof(products));
        products -= reinterpret_cast<uintptr_t>(base_);
        both |= products | (last - products);
      }
      seen = both[0] | both[1];
    }
    for (const std::byte* const pointer : pointers) {
      const uint64_t product = ProductOf(pointer);
      seen |= product | (last - product);
    }
    const uint64_t wrong = uint64_t{1} << 63 | ((uint64_t{1} << shift_) - 1);
    return (seen & wrong) == 0;
  }

  // The inverse of an odd number modulo 2^64, by Newton's iteration: `odd` is
  // its own inverse in the low 3 bits, and each round doubles the number of
  // correct bits.
  static constexpr uint64_t InverseOf(uint64_t odd) {
    uint64_t inverse = odd;
    for (int bits = 3; bits < 64; bits *= 2) inverse *= 2 - odd * inverse;
    return inverse;
  }

  std::byte* base_;
  uint64_t stride_;
  uint64_t odd_inverse_;  // of stride_ >> shift_, modulo 2^64
  int shift_;             // trailing zero bits of stride_
  uint64_t capacity_;
  std::string pool_name_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_BUFFER_MAP_H_
