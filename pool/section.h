#ifndef TANDEM_POOL_SECTION_H_
#define TANDEM_POOL_SECTION_H_

#include <cstdint>

namespace tandem {

// How an attempt in a restartable section ended.
enum class [[nodiscard]] SectionResult{
    kDone,
    kUnfit,    // too few buffers, or too little room; nothing has changed
    kRevoked,  // the cache is not biased; nothing has changed
};

// The words of a thread cache that a section works on. Of these, only `low` and
// the slots are written by it, and `low` last.
//
//   low     {tag 22, top 10}, the low half of the cache's word
//   seized  raised by who takes the bias away
//   bias    the epoch that the owner is biased in; biased: seized < bias
inline constexpr uint32_t kSectionTopMask = 1023;
struct SectionWords {
  uint64_t* cs;  // where the section is named (SectionArea::cs)
  uint32_t* low;
  const uint32_t* seized;
  const uint32_t* bias;
  uint32_t* slots;
};

}  // namespace tandem

#endif  // TANDEM_POOL_SECTION_H_
