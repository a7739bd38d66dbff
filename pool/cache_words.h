#ifndef TANDEM_POOL_CACHE_WORDS_H_
#define TANDEM_POOL_CACHE_WORDS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "tandem/pool/types.h"

namespace tandem {

// What `word` of a thread cache packs: {epoch 32, tag 22, top 10}.
struct CacheWord {
  static constexpr int kTopBits = 10;
  static constexpr int kTagBits = 22;
  static_assert(kMaxCacheSize < 1u << kTopBits);

  static constexpr uint64_t Pack(uint32_t epoch, uint32_t tag, uint32_t top) {
    return uint64_t{epoch} << 32 | tag << kTopBits | top;
  }
  static constexpr uint32_t EpochOf(uint64_t word) {
    return static_cast<uint32_t>(word >> 32);
  }
  static constexpr uint32_t TagOf(uint64_t word) {
    return static_cast<uint32_t>(word) >> kTopBits;
  }
  static constexpr uint32_t TopOf(uint64_t word) {
    return word & ((1u << kTopBits) - 1);
  }
  // The word after a change in shared mode.
  static constexpr uint64_t Next(uint64_t word, uint32_t top) {
    return Pack(EpochOf(word), TagOf(word) + 1, top);
  }
};

// The words of a thread cache that a restartable section works on. Of these, it
// writes slots and the low half of `word`, and that last.
//
//   word    a CacheWord; while the cache is biased its tag is 0,
//           so that the low half is the top
//   seized  raised by who takes the bias away
//   bias    the epoch that the owner is biased in; biased: seized < bias
//   limit   most slots that may be filled
//   area    where the owner's thread tells the kernel of the section
template <class Platform>
struct CacheWords {
  template <class T>
  using OwnAtomic = typename Platform::template OwnAtomic<T>;

  OwnAtomic<uint64_t> word;
  OwnAtomic<uint32_t> seized;
  OwnAtomic<uint32_t> bias;
  OwnAtomic<uint32_t> limit;
  typename Platform::SectionArea area;
  std::array<OwnAtomic<std::byte*>, Platform::kCacheSlots> slots;
};

}  // namespace tandem

#endif  // TANDEM_POOL_CACHE_WORDS_H_
