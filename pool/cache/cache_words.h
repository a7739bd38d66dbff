#ifndef TANDEM_POOL_CACHE_CACHE_WORDS_H_
#define TANDEM_POOL_CACHE_CACHE_WORDS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "tandem/pool/types.h"

namespace tandem {

// The number of a period in a cache's life: from one opening of its gate, or
// renewal, to the next.
enum class Epoch : uint32_t {};

// The contents of `word` in a thread cache: {epoch 32, count 16, top 16}. Every
// change adds one to the count, modulo 2^16.
struct CacheWord {
  static_assert(kMaxCacheSize < 1u << 15);  // sections compare signed numbers

  // A push begins a new epoch from this count on.
  static constexpr uint32_t kRenewFrom = 1u << 15;

  static constexpr uint64_t Pack(uint32_t epoch, uint32_t count, uint32_t top) {
    return uint64_t{epoch} << 32 | (count & 0xFFFF) << 16 | top;
  }
  static constexpr uint32_t EpochOf(uint64_t word) {
    return static_cast<uint32_t>(word >> 32);
  }
  static constexpr uint32_t CountOf(uint64_t word) {
    return static_cast<uint32_t>(word) >> 16;
  }
  static constexpr uint32_t TopOf(uint64_t word) { return word & 0xFFFF; }
  // The word after a change that leaves `top` buffers.
  static constexpr uint64_t Next(uint64_t word, uint32_t top) {
    return Pack(EpochOf(word), CountOf(word) + 1, top);
  }
};

// The contents of `gate` in a thread cache: {epoch 32, ceiling 16, floor 16}.
// Ceiling and floor are two bounds for the top. So one comparison tells a
// section whether the gate is open and whether there is a buffer, or room for
// one more:
//
//   open     floor 0, ceiling the cache's limit
//   closing  floor and ceiling let no section succeed
//   closed   likewise, and a barrier has come since, or the owner has closed
//            the gate itself
class CacheGate {
 public:
  static constexpr CacheGate Open(uint32_t epoch, uint32_t ceiling) {
    return CacheGate(epoch, ceiling << 16);
  }
  static constexpr CacheGate Closing(uint32_t epoch) {
    return CacheGate(epoch, kClosing);
  }
  static constexpr CacheGate Closed(uint32_t epoch) {
    return CacheGate(epoch, kClosed);
  }
  constexpr CacheGate() = default;  // closed
  explicit constexpr CacheGate(uint64_t bits) : bits_(bits) {}

  constexpr bool open() const { return (bits_ & 0xFFFF) == 0; }
  constexpr bool closing() const { return (bits_ & 0xFFFF) == kClosing; }
  constexpr bool closed() const { return (bits_ & 0xFFFF) == kClosed; }
  constexpr uint32_t epoch() const {
    return static_cast<uint32_t>(bits_ >> 32);
  }
  // The most buffers that may be in the cache through the gate; 0 unless it is
  // open.
  constexpr uint32_t ceiling() const {
    return static_cast<uint32_t>(bits_) >> 16;
  }
  constexpr uint64_t bits() const { return bits_; }

  // The same state in another epoch.
  constexpr CacheGate MovedTo(uint32_t epoch) const {
    return CacheGate(epoch, static_cast<uint32_t>(bits_));
  }

 private:
  static constexpr uint32_t kClosing = 0x7FFF;
  static constexpr uint32_t kClosed = 0x7FFE;

  constexpr CacheGate(uint32_t epoch, uint32_t bounds)
      : bits_(uint64_t{epoch} << 32 | bounds) {}

  uint64_t bits_ = kClosed;
};

// The words of a thread cache that a restartable section works on. A section
// writes only slots and the low half of `word`, and the latter last.
//
//   word    a CacheWord
//   gate    a CacheGate
//   area    where the owner's thread names the section for the kernel
template <class Platform>
struct CacheWords {
  template <class T>
  using OwnAtomic = typename Platform::template OwnAtomic<T>;

  OwnAtomic<uint64_t> word;
  OwnAtomic<uint64_t> gate;
  typename Platform::SectionArea area;
  std::array<OwnAtomic<std::byte*>, Platform::kCacheSlots> slots;
};

}  // namespace tandem

#endif  // TANDEM_POOL_CACHE_CACHE_WORDS_H_
