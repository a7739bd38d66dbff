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

#define TANDEM_SECTION_BEGIN          \
  ".pushsection __rseq_cs, \"aw?\"\n" \
  ".balign 32\n"                      \
  "3: .long 0, 0\n"                   \
  ".quad 1f, 2f - 1f, 4f\n"           \
  ".popsection\n"                     \
  "0: leaq 3b(%%rip), %%rax\n"        \
  "movq %%rax, (%[cs])\n"             \
  "1:\n"                              \
  "movl %[bias], %%eax\n"             \
  "cmpl %%eax, %[seized]\n"           \
  "jae %l[revoked]\n"                 \
  "movl %[low], %%eax\n"              \
  "movl %%eax, %%edx\n"               \
  "andl %[top_mask], %%edx\n"

#define TANDEM_SECTION_COMMIT                                                \
  "movl %%eax, %[low]\n"                                                     \
  "2:\n"                                                                     \
  ".pushsection __rseq_failure, \"ax?\"\n"                                   \
  ".byte 0x0f, 0xb9, 0x3d\n" /* so that disassembly shows one instruction */ \
  ".long 0x53053053\n"                                                       \
  "4: jmp 0b\n"                                                              \
  ".popsection\n"

#define TANDEM_SECTION_OPERANDS                                                \
  [low] "m"(*words.low), [seized] "m"(*words.seized), [bias] "m"(*words.bias), \
      [slots] "r"(words.slots), [cs] "r"(words.cs),                            \
      [top_mask] "i"(kSectionTopMask)

namespace tandem {

[[gnu::always_inline]] inline SectionResult RseqSection::Pop(
    const SectionWords& words, BufferIndex* out, uint32_t count) {
  // One buffer, or two: no loop, and no detour by memory for what may be in
  // registers.
  if (__builtin_constant_p(count) && count == 1) {
    uint32_t buffer;
    asm volatile goto(TANDEM_SECTION_BEGIN
                      "jz %l[unfit]\n"
                      "movl -4(%[slots], %%rdx, 4), %[buffer]\n"
                      "decl %%eax\n" TANDEM_SECTION_COMMIT
                      : [buffer] "=&r"(buffer)
                      : TANDEM_SECTION_OPERANDS
                      : "rax", "rdx", "cc", "memory"
                      : revoked, unfit);
    *out = BufferIndex{buffer};
    return SectionResult::kDone;
  }
  if (__builtin_constant_p(count) && count == 2) {
    uint32_t first;
    uint32_t second;
    asm volatile goto(TANDEM_SECTION_BEGIN
                      "subl $2, %%edx\n"
                      "jb %l[unfit]\n"
                      "movl (%[slots], %%rdx, 4), %[first]\n"
                      "movl 4(%[slots], %%rdx, 4), %[second]\n"
                      "subl $2, %%eax\n" TANDEM_SECTION_COMMIT
                      : [first] "=&r"(first), [second] "=&r"(second)
                      : TANDEM_SECTION_OPERANDS
                      : "rax", "rdx", "cc", "memory"
                      : revoked, unfit);
    out[0] = BufferIndex{first};
    out[1] = BufferIndex{second};
    return SectionResult::kDone;
  }
  asm volatile goto(
      TANDEM_SECTION_BEGIN
      "subl %[count], %%edx\n"
      "jb %l[unfit]\n"
      "leaq (%[slots], %%rdx, 4), %%rdx\n"
      "xorl %%ecx, %%ecx\n"
      "5: movl (%%rdx, %%rcx, 4), %%r8d\n"
      "movl %%r8d, (%[out], %%rcx, 4)\n"
      "incl %%ecx\n"
      "cmpl %[count], %%ecx\n"
      "jne 5b\n"
      "subl %[count], %%eax\n" TANDEM_SECTION_COMMIT
      :
      : TANDEM_SECTION_OPERANDS, [out] "r"(out), [count] "r"(count)
      : "rax", "rcx", "rdx", "r8", "cc", "memory"
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
  if (__builtin_constant_p(count) && count == 1) {
    asm volatile goto(
        TANDEM_SECTION_BEGIN
        "cmpl %[limit], %%edx\n"
        "jae %l[unfit]\n"
        "movl %[buffer], (%[slots], %%rdx, 4)\n"
        "incl %%eax\n" TANDEM_SECTION_COMMIT
        :
        : TANDEM_SECTION_OPERANDS, [buffer] "r"(static_cast<uint32_t>(*in)),
          [limit] "r"(limit)
        : "rax", "rdx", "cc", "memory"
        : revoked, unfit);
    return SectionResult::kDone;
  }
  if (__builtin_constant_p(count) && count == 2) {
    asm volatile goto(
        TANDEM_SECTION_BEGIN
        "leal 2(%%rdx), %%ecx\n"
        "cmpl %[limit], %%ecx\n"
        "ja %l[unfit]\n"
        "movl %[first], (%[slots], %%rdx, 4)\n"
        "movl %[second], 4(%[slots], %%rdx, 4)\n"
        "addl $2, %%eax\n" TANDEM_SECTION_COMMIT
        :
        : TANDEM_SECTION_OPERANDS, [first] "r"(static_cast<uint32_t>(in[0])),
          [second] "r"(static_cast<uint32_t>(in[1])), [limit] "r"(limit)
        : "rax", "rcx", "rdx", "cc", "memory"
        : revoked, unfit);
    return SectionResult::kDone;
  }
  asm volatile goto(TANDEM_SECTION_BEGIN
                    "leal (%%rdx, %q[count]), %%ecx\n"
                    "cmpl %[limit], %%ecx\n"
                    "ja %l[unfit]\n"
                    "leaq (%[slots], %%rdx, 4), %%rdx\n"
                    "xorl %%ecx, %%ecx\n"
                    "5: movl (%[in], %%rcx, 4), %%r8d\n"
                    "movl %%r8d, (%%rdx, %%rcx, 4)\n"
                    "incl %%ecx\n"
                    "cmpl %[count], %%ecx\n"
                    "jne 5b\n"
                    "addl %[count], %%eax\n" TANDEM_SECTION_COMMIT
                    :
                    : TANDEM_SECTION_OPERANDS, [in] "r"(in), [count] "r"(count),
                      [limit] "r"(limit)
                    : "rax", "rcx", "rdx", "r8", "cc", "memory"
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

#endif  // TANDEM_POOL_RSEQ_SECTION_X86_64_H_
