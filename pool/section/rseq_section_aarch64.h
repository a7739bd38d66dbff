#ifndef TANDEM_POOL_SECTION_RSEQ_SECTION_AARCH64_H_
#define TANDEM_POOL_SECTION_RSEQ_SECTION_AARCH64_H_

// The sections for aarch64. Only rseq_section.h includes this; it has the
// contract. Layout, labels and arithmetic are as in rseq_section_x86_64.h.
//
// Plain loads and stores, although this machine reorders them: the thread
// itself sees them in order, and another thread looks at their effects only
// after a barrier.

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
  "ldr w9, [%[words], %c[low]]\n"

#define TANDEM_SECTION_COMMIT              \
  "str w9, [%[words], %c[low]]\n"          \
  "2:\n"                                   \
  ".pushsection __rseq_failure, \"ax?\"\n" \
  ".inst 0xd428bc00\n"                     \
  "4: b 0b\n"                              \
  ".popsection\n"

// Copies %[count] pointers from `from` to `to`, one at a time.
#define TANDEM_SECTION_COPY(from, to) \
  "mov w11, wzr\n"                    \
  "5: ldr x12, [" from                \
  ", w11, uxtw #3]\n"                 \
  "str x12, [" to                     \
  ", w11, uxtw #3]\n"                 \
  "add w11, w11, #1\n"                \
  "cmp w11, %w[count]\n"              \
  "b.ne 5b\n"

// Offsets within Words. Little-endian: the low half, and the floor, come first.
#define TANDEM_SECTION_OPERANDS                                             \
  [words] "r"(&words), [cs] "r"(words.area.cs()),                           \
      [low] "i"(offsetof(Words, word)), [floor] "i"(offsetof(Words, gate)), \
      [ceiling] "i"(offsetof(Words, gate) + 2),                             \
      [slots] "i"(offsetof(Words, slots))

namespace tandem {

template <class Words>
[[gnu::always_inline]] inline bool RseqSection::Pop(Words& words,
                                                    std::byte** out,
                                                    uint32_t count) {
  asm volatile goto(
      TANDEM_SECTION_BEGIN
      "ldrsh w11, [%[words], %c[floor]]\n"
      "sub w9, w9, %w[count]\n"
      "cmp w11, w9, sxth\n"
      "b.gt %l[unfit]\n"
      "add x10, %[words], w9, uxth #3\n"
      "add x10, x10, %c[slots]\n" TANDEM_SECTION_COPY(
          "x10", "%[out]") "add w9, w9, #0x10, lsl #12\n" TANDEM_SECTION_COMMIT
      :
      : TANDEM_SECTION_OPERANDS, [out] "r"(out), [count] "r"(count)
      : "x9", "x10", "x11", "x12", "cc", "memory"
      : unfit);
  return true;
unfit:
  return false;
}

template <class Words>
[[gnu::always_inline]] inline bool RseqSection::Push(Words& words,
                                                     std::byte* const* in,
                                                     uint32_t count) {
  asm volatile goto(
      TANDEM_SECTION_BEGIN
      "ldrsh w11, [%[words], %c[ceiling]]\n"
      "add x10, %[words], w9, uxth #3\n"
      "add w9, w9, %w[count]\n"
      "cmp w11, w9, sxth\n"
      "b.lt %l[unfit]\n"
      "add x10, x10, %c[slots]\n" TANDEM_SECTION_COPY(
          "%[in]", "x10") "add w9, w9, #0x10, lsl #12\n" TANDEM_SECTION_COMMIT
      :
      : TANDEM_SECTION_OPERANDS, [in] "r"(in), [count] "r"(count)
      : "x9", "x10", "x11", "x12", "cc", "memory"
      : unfit);
  return true;
unfit:
  return false;
}

}  // namespace tandem

#undef TANDEM_SECTION_BEGIN
#undef TANDEM_SECTION_COMMIT
#undef TANDEM_SECTION_COPY
#undef TANDEM_SECTION_OPERANDS

#endif  // TANDEM_POOL_SECTION_RSEQ_SECTION_AARCH64_H_
