#ifndef TANDEM_POOL_RSEQ_SECTION_AARCH64_H_
#define TANDEM_POOL_RSEQ_SECTION_AARCH64_H_

// The sections for aarch64; included by rseq_section.h alone, which has the
// contract. Layout and labels as in rseq_section_x86_64.h.
//
// Plain loads and stores, although this machine reorders them: the thread
// itself sees them in order, and another one looks at what they did only after
// a barrier.

#define TANDEM_SECTION_BEGIN          \
  ".pushsection __rseq_cs, \"aw?\"\n" \
  ".balign 32\n"                      \
  "3: .long 0, 0\n"                   \
  ".quad 1f, 2f - 1f, 4f\n"           \
  ".popsection\n"                     \
  "0: adrp x9, 3b\n"                  \
  "add x9, x9, :lo12:3b\n"            \
  "str x9, [%[cs]]\n"                 \
  "1:\n"                              \
  "ldr w9, %[bias]\n"                 \
  "ldr w10, %[seized]\n"              \
  "cmp w10, w9\n"                     \
  "b.hs %l[revoked]\n"                \
  "ldr w9, %[low]\n"                  \
  "and w10, w9, %[top_mask]\n"

#define TANDEM_SECTION_COMMIT              \
  "str w9, %[low]\n"                       \
  "2:\n"                                   \
  ".pushsection __rseq_failure, \"ax?\"\n" \
  ".inst 0xd428bc00\n"                     \
  "4: b 0b\n"                              \
  ".popsection\n"

#define TANDEM_SECTION_OPERANDS                                                \
  [low] "Q"(*words.low), [seized] "Q"(*words.seized), [bias] "Q"(*words.bias), \
      [slots] "r"(words.slots), [cs] "r"(words.cs),                            \
      [top_mask] "i"(kSectionTopMask)

namespace tandem {

[[gnu::always_inline]] inline SectionResult RseqSection::Pop(
    const SectionWords& words, BufferIndex* out, uint32_t count) {
  asm volatile goto(
      TANDEM_SECTION_BEGIN
      "subs w10, w10, %w[count]\n"
      "b.lo %l[unfit]\n"
      "add x10, %[slots], w10, uxtw #2\n"
      "mov w11, wzr\n"
      "5: ldr w12, [x10, w11, uxtw #2]\n"
      "str w12, [%[out], w11, uxtw #2]\n"
      "add w11, w11, #1\n"
      "cmp w11, %w[count]\n"
      "b.ne 5b\n"
      "sub w9, w9, %w[count]\n" TANDEM_SECTION_COMMIT
      :
      : TANDEM_SECTION_OPERANDS, [out] "r"(out), [count] "r"(count)
      : "x9", "x10", "x11", "x12", "cc", "memory"
      : revoked, unfit);
  return SectionResult::kDone;
unfit:
  return SectionResult::kUnfit;
revoked:
  return SectionResult::kRevoked;
}

[[gnu::always_inline]] inline SectionResult RseqSection::Push(
    const SectionWords& words, const BufferIndex* in, uint32_t count,
    uint32_t limit) {
  asm volatile goto(TANDEM_SECTION_BEGIN
                    "add w11, w10, %w[count]\n"
                    "cmp w11, %w[limit]\n"
                    "b.hi %l[unfit]\n"
                    "add x10, %[slots], w10, uxtw #2\n"
                    "mov w11, wzr\n"
                    "5: ldr w12, [%[in], w11, uxtw #2]\n"
                    "str w12, [x10, w11, uxtw #2]\n"
                    "add w11, w11, #1\n"
                    "cmp w11, %w[count]\n"
                    "b.ne 5b\n"
                    "add w9, w9, %w[count]\n" TANDEM_SECTION_COMMIT
                    :
                    : TANDEM_SECTION_OPERANDS, [in] "r"(in), [count] "r"(count),
                      [limit] "r"(limit)
                    : "x9", "x10", "x11", "x12", "cc", "memory"
                    : revoked, unfit);
  return SectionResult::kDone;
unfit:
  return SectionResult::kUnfit;
revoked:
  return SectionResult::kRevoked;
}

}  // namespace tandem

#undef TANDEM_SECTION_BEGIN
#undef TANDEM_SECTION_COMMIT
#undef TANDEM_SECTION_OPERANDS

#endif  // TANDEM_POOL_RSEQ_SECTION_AARCH64_H_
