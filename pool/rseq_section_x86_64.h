#ifndef TANDEM_POOL_RSEQ_SECTION_X86_64_H_
#define TANDEM_POOL_RSEQ_SECTION_X86_64_H_

// The sections for x86-64; included by rseq_section.h alone, which has the
// contract.
//
// Layout of a section, as the kernel wants it (linux/rseq.h):
//
//   3: descriptor {version 0, flags 0, start 1, length 2 - 1, abort 4}
//   0: store the descriptor's address into the thread's rseq area
//   1: the section; its last instruction commits
//   2: first instruction after it
//   4: abort handler, behind a signature of 4 bytes: back to 0
//
// Jumps out of the section need no care: the kernel looks at where the thread
// is, not at what it has left. The halves of the cache's word are accessed
// separately: a load of the whole right after a store of a half would wait for
// the store to leave the store buffer.

#define TANDEM_SECTION_BEGIN           \
  ".pushsection __rseq_cs, \"aw?\"\n"  \
  ".balign 32\n"                       \
  "3: .long 0, 0\n"                    \
  ".quad 1f, 2f - 1f, 4f\n"            \
  ".popsection\n"                      \
  "0: leaq 3b(%%rip), %%rax\n"         \
  "movq %%rax, (%[cs])\n"              \
  "1:\n"                               \
  "movl %c[bias](%[words]), %%eax\n"   \
  "cmpl %%eax, %c[seized](%[words])\n" \
  "jae %l[revoked]\n"                  \
  "movl %c[low](%[words]), %%eax\n"

#define TANDEM_SECTION_COMMIT                                                \
  "movl %%eax, %c[low](%[words])\n"                                          \
  "2:\n"                                                                     \
  ".pushsection __rseq_failure, \"ax?\"\n"                                   \
  ".byte 0x0f, 0xb9, 0x3d\n" /* so that disassembly shows one instruction */ \
  ".long 0x53053053\n"                                                       \
  "4: jmp 0b\n"                                                              \
  ".popsection\n"

// Copies %[count] pointers from `from` to `to`: one, two, then four at a time.
#define TANDEM_SECTION_COPY(from, to) \
  "xorl %%ecx, %%ecx\n"               \
  "testl $1, %[count]\n"              \
  "jz 5f\n"                           \
  "movq (" from                       \
  "), %%r8\n"                         \
  "movq %%r8, (" to                   \
  ")\n"                               \
  "incl %%ecx\n"                      \
  "5: testl $2, %[count]\n"           \
  "jz 6f\n"                           \
  "movups (" from                     \
  ", %%rcx, 8), %%xmm0\n"             \
  "movups %%xmm0, (" to               \
  ", %%rcx, 8)\n"                     \
  "addl $2, %%ecx\n"                  \
  "6: cmpl %[count], %%ecx\n"         \
  "je 8f\n"                           \
  "7: movups (" from                  \
  ", %%rcx, 8), %%xmm0\n"             \
  "movups 16(" from                   \
  ", %%rcx, 8), %%xmm1\n"             \
  "movups %%xmm0, (" to               \
  ", %%rcx, 8)\n"                     \
  "movups %%xmm1, 16(" to             \
  ", %%rcx, 8)\n"                     \
  "addl $4, %%ecx\n"                  \
  "cmpl %[count], %%ecx\n"            \
  "jne 7b\n"                          \
  "8:\n"

// Places within Words; little-endian, the low half comes first.
#define TANDEM_SECTION_OPERANDS                                                \
  [words] "r"(&words), [cs] "r"(words.area.cs()),                              \
      [low] "i"(offsetof(Words, word)), [seized] "i"(offsetof(Words, seized)), \
      [bias] "i"(offsetof(Words, bias)), [limit] "i"(offsetof(Words, limit)),  \
      [slots] "i"(offsetof(Words, slots))

namespace tandem {

template <class Words>
[[gnu::always_inline]] inline SectionResult RseqSection::Pop(Words& words,
                                                             std::byte** out,
                                                             uint32_t count) {
  // One buffer, or two: no loop, and no detour by memory for what may be in
  // registers.
  if (__builtin_constant_p(count) && count == 1) {
    std::byte* buffer;
    asm volatile goto(
        TANDEM_SECTION_BEGIN
        "subl $1, %%eax\n"
        "jb %l[unfit]\n"
        "movq %c[slots](%[words], %%rax, 8), %[buffer]\n" TANDEM_SECTION_COMMIT
        : [buffer] "=&r"(buffer)
        : TANDEM_SECTION_OPERANDS
        : "rax", "cc", "memory"
        : revoked, unfit);
    *out = buffer;
    return SectionResult::kDone;
  }
  if (__builtin_constant_p(count) && count == 2) {
    std::byte* first;
    std::byte* second;
    asm volatile goto(TANDEM_SECTION_BEGIN
                      "subl $2, %%eax\n"
                      "jb %l[unfit]\n"
                      "movq %c[slots](%[words], %%rax, 8), %[first]\n"
                      "movq 8+%c[slots](%[words], %%rax, 8), "
                      "%[second]\n" TANDEM_SECTION_COMMIT
                      : [first] "=&r"(first), [second] "=&r"(second)
                      : TANDEM_SECTION_OPERANDS
                      : "rax", "cc", "memory"
                      : revoked, unfit);
    out[0] = first;
    out[1] = second;
    return SectionResult::kDone;
  }
  asm volatile goto(
      TANDEM_SECTION_BEGIN
      "subl %[count], %%eax\n"
      "jb %l[unfit]\n"
      "leaq %c[slots](%[words], %%rax, 8), %%rdx\n" TANDEM_SECTION_COPY(
          "%%rdx", "%[out]") TANDEM_SECTION_COMMIT
      :
      : TANDEM_SECTION_OPERANDS, [out] "r"(out), [count] "r"(count)
      : "rax", "rcx", "rdx", "r8", "xmm0", "xmm1", "cc", "memory"
      : revoked, unfit);
  return SectionResult::kDone;
unfit:
  return SectionResult::kUnfit;
revoked:
  return SectionResult::kRevoked;
}

template <class Words>
[[gnu::always_inline]] inline SectionResult RseqSection::Push(
    Words& words, std::byte* const* in, uint32_t count) {
  if (__builtin_constant_p(count) && count == 1) {
    asm volatile goto(TANDEM_SECTION_BEGIN
                      "cmpl %c[limit](%[words]), %%eax\n"
                      "jae %l[unfit]\n"
                      "movq %[buffer], %c[slots](%[words], %%rax, 8)\n"
                      "incl %%eax\n" TANDEM_SECTION_COMMIT
                      :
                      : TANDEM_SECTION_OPERANDS, [buffer] "r"(*in)
                      : "rax", "cc", "memory"
                      : revoked, unfit);
    return SectionResult::kDone;
  }
  if (__builtin_constant_p(count) && count == 2) {
    asm volatile goto(
        TANDEM_SECTION_BEGIN
        "leal 2(%%rax), %%ecx\n"
        "cmpl %c[limit](%[words]), %%ecx\n"
        "ja %l[unfit]\n"
        "movq %[first], %c[slots](%[words], %%rax, 8)\n"
        "movq %[second], 8+%c[slots](%[words], %%rax, 8)\n"
        "movl %%ecx, %%eax\n" TANDEM_SECTION_COMMIT
        :
        : TANDEM_SECTION_OPERANDS, [first] "r"(in[0]), [second] "r"(in[1])
        : "rax", "rcx", "cc", "memory"
        : revoked, unfit);
    return SectionResult::kDone;
  }
  asm volatile goto(TANDEM_SECTION_BEGIN
                    "leaq %c[slots](%[words], %%rax, 8), %%rdx\n"
                    "addl %[count], %%eax\n"
                    "cmpl %c[limit](%[words]), %%eax\n"
                    "ja %l[unfit]\n" TANDEM_SECTION_COPY("%[in]", "%%rdx")
                        TANDEM_SECTION_COMMIT
                    :
                    : TANDEM_SECTION_OPERANDS, [in] "r"(in), [count] "r"(count)
                    : "rax", "rcx", "rdx", "r8", "xmm0", "xmm1", "cc", "memory"
                    : revoked, unfit);
  return SectionResult::kDone;
unfit:
  return SectionResult::kUnfit;
revoked:
  return SectionResult::kRevoked;
}

[[gnu::always_inline]] inline void RseqSection::AddAtOnce(uint64_t& word,
                                                          uint64_t n) {
  asm("addq %[n], %[word]" : [word] "+m"(word) : [n] "er"(n) : "cc");
}

}  // namespace tandem

#undef TANDEM_SECTION_BEGIN
#undef TANDEM_SECTION_COMMIT
#undef TANDEM_SECTION_COPY
#undef TANDEM_SECTION_OPERANDS

#endif  // TANDEM_POOL_RSEQ_SECTION_X86_64_H_
