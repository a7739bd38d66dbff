#ifndef TANDEM_POOL_SECTION_H_
#define TANDEM_POOL_SECTION_H_

namespace tandem {

// How an attempt in a restartable section ended.
enum class [[nodiscard]] SectionResult{
    kDone,
    kUnfit,    // too few buffers, or too little room; nothing has changed
    kRevoked,  // the cache is not biased; nothing has changed
};

}  // namespace tandem

#endif  // TANDEM_POOL_SECTION_H_
