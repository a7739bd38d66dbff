#ifndef TANDEM_POOL_SECTION_H_
#define TANDEM_POOL_SECTION_H_

#include <cstddef>
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
//   low     the low half of the cache's word: how many slots are filled, as the
//           tag beside it is 0 for as long as the cache is biased
//   seized  raised by who takes the bias away
//   bias    the epoch that the owner is biased in; biased: seized < bias
//   limit   most slots that may be filled
struct SectionWords {
  uint64_t* cs;  // where the section is named (SectionArea::cs)
  uint32_t* low;
  const uint32_t* seized;
  const uint32_t* bias;
  const uint32_t* limit;
  std::byte** slots;
};

}  // namespace tandem

#endif  // TANDEM_POOL_SECTION_H_
