#ifndef TANDEM_POOL_SECTION_RSEQ_SECTION_X86_64_H_
#define TANDEM_POOL_SECTION_RSEQ_SECTION_X86_64_H_

// The sections for x86-64. Only rseq_section.h includes this; it has the
// contract.
//
// Layout of a section, as the kernel requires (linux/rseq.h):
//
//   3: descriptor {version 0, flags 0, start 1, length 2 - 1, abort 4}
//   0: store the descriptor's address into the thread's rseq area
//   1: the section; its last instruction commits
//   2: first instruction after it
//   4: abort handler, behind a signature of 4 bytes: jumps to 0
//
// A jump out of the section needs no care: the kernel checks where the thread
// is, not where it was. The halves of the cache's word are accessed separately:
// a load of the whole word right after a store of a half would wait until the
// store leaves the store buffer.
//
// eax is the low half, {count, top}. One addition adds 1 to the count and n to
// the top. One addition also takes n off the top: the borrow from the top
// changes the count, and the carry out of the count is lost. Tops and bounds
// are compared as signed 16-bit numbers.

#define TANDEM_SECTION_BEGIN          \
  ".pushsection __rseq_cs, \"aw?\"\n" \
  ".balign 32\n"                      \
  "3: .long 0, 0\n"                   \
  ".quad 1f, 2f - 1f, 4f\n"           \
  ".popsection\n"                     \
  "0: leaq 3b(%%rip), %%rax\n"        \
  "movq %%rax, (%[cs])\n"             \
  "1:\n"                              \
  "movl %c[low](%[words]), %%eax\n"

#define TANDEM_SECTION_COMMIT                                                \
  "movl %%eax, %c[low](%[words])\n"                                          \
  "2:\n"                                                                     \
  ".pushsection __rseq_failure, \"ax?\"\n"                                   \
  ".byte 0x0f, 0xb9, 0x3d\n" /* so that disassembly shows one instruction */ \
  ".long 0x53053053\n"                                                       \
  "4: jmp 0b\n"                                                              \
  ".popsection\n"

// Copies %c[count] pointers, an even constant, by instructions without a loop.
// `from` and `to` are operands, in which .Ltandem_at counts bytes.
#define TANDEM_SECTION_COPY_FIXED(from, to) \
  ".set .Ltandem_at, 0\n"                   \
  ".rept %c[count] / 2\n"                   \
  "movups " from                            \
  ", %%xmm0\n"                              \
  "movups %%xmm0, " to                      \
  "\n"                                      \
  ".set .Ltandem_at, .Ltandem_at + 16\n"    \
  ".endr\n"

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

// Offsets within Words. Little-endian: the low half, and the floor, come first.
#define TANDEM_SECTION_OPERANDS                                             \
  [words] "r"(&words), [cs] "r"(words.area.cs()),                           \
      [low] "i"(offsetof(Words, word)), [floor] "i"(offsetof(Words, gate)), \
      [ceiling] "i"(offsetof(Words, gate) + 2),                             \
      [slots] "i"(offsetof(Words, slots))

namespace tandem {
namespace internal_section {

// Pop and Push of an even number of buffers that the compiler knows.

template <uint32_t kCount, class Words>
[[gnu::always_inline]] inline bool PopFixed(Words& words, std::byte** out) {
  static_assert(kCount % 2 == 0);
  asm volatile goto(
      TANDEM_SECTION_BEGIN
      "movzwl %%ax, %%ecx\n"
      "addl $0x10000 - %c[count], %%eax\n"
      "cmpw %c[floor](%[words]), %%ax\n"
      "jl %l[unfit]\n" TANDEM_SECTION_COPY_FIXED(
          "-8*%c[count]+%c[slots]+.Ltandem_at(%[words], %%rcx, 8)",
          ".Ltandem_at(%[out])") TANDEM_SECTION_COMMIT
      :
      : TANDEM_SECTION_OPERANDS, [out] "r"(out), [count] "i"(kCount)
      : "rax", "rcx", "xmm0", "cc", "memory"
      : unfit);
  return true;
unfit:
  return false;
}

template <uint32_t kCount, class Words>
[[gnu::always_inline]] inline bool PushFixed(Words& words,
                                             std::byte* const* in) {
  static_assert(kCount % 2 == 0);
  asm volatile goto(
      TANDEM_SECTION_BEGIN
      "movzwl %%ax, %%ecx\n"
      "addl $0x10000 + %c[count], %%eax\n"
      "cmpw %c[ceiling](%[words]), %%ax\n"
      "jg %l[unfit]\n" TANDEM_SECTION_COPY_FIXED(
          ".Ltandem_at(%[in])", "%c[slots]+.Ltandem_at(%[words], %%rcx, 8)")
          TANDEM_SECTION_COMMIT
      :
      : TANDEM_SECTION_OPERANDS, [in] "r"(in), [count] "i"(kCount)
      : "rax", "rcx", "xmm0", "cc", "memory"
      : unfit);
  return true;
unfit:
  return false;
}

}  // namespace internal_section

template <class Words>
[[gnu::always_inline]] inline bool RseqSection::Pop(Words& words,
                                                    std::byte** out,
                                                    uint32_t count) {
  // One buffer, or two: no loop, and no detour through memory for values that
  // may be in registers. Four, or eight: no loop.
  if (__builtin_constant_p(count) && count == 1) {
    std::byte* buffer;
    asm volatile goto(TANDEM_SECTION_BEGIN
                      "movzwl %%ax, %%ecx\n"
                      "cmpw %c[floor](%[words]), %%ax\n"
                      "jle %l[unfit]\n"
                      "movq -8+%c[slots](%[words], %%rcx, 8), %[buffer]\n"
                      "addl $0xFFFF, %%eax\n" TANDEM_SECTION_COMMIT
                      : [buffer] "=&r"(buffer)
                      : TANDEM_SECTION_OPERANDS
                      : "rax", "rcx", "cc", "memory"
                      : unfit);
    *out = buffer;
    return true;
  }
  if (__builtin_constant_p(count) && count == 2) {
    std::byte* first;
    std::byte* second;
    asm volatile goto(TANDEM_SECTION_BEGIN
                      "movzwl %%ax, %%ecx\n"
                      "addl $0xFFFE, %%eax\n"
                      "cmpw %c[floor](%[words]), %%ax\n"
                      "jl %l[unfit]\n"
                      "movq -16+%c[slots](%[words], %%rcx, 8), %[first]\n"
                      "movq -8+%c[slots](%[words], %%rcx, 8), "
                      "%[second]\n" TANDEM_SECTION_COMMIT
                      : [first] "=&r"(first), [second] "=&r"(second)
                      : TANDEM_SECTION_OPERANDS
                      : "rax", "rcx", "cc", "memory"
                      : unfit);
    out[0] = first;
    out[1] = second;
    return true;
  }
  if (__builtin_constant_p(count) && count == 4) {
    return internal_section::PopFixed<4>(words, out);
  }
  if (__builtin_constant_p(count) && count == 8) {
    return internal_section::PopFixed<8>(words, out);
  }
  asm volatile goto(
      TANDEM_SECTION_BEGIN
      "subl %[count], %%eax\n"
      "cmpw %c[floor](%[words]), %%ax\n"
      "jl %l[unfit]\n"
      "movzwl %%ax, %%ecx\n"
      "leaq %c[slots](%[words], %%rcx, 8), %%rdx\n"
      "addl $0x10000, %%eax\n" TANDEM_SECTION_COPY("%%rdx", "%[out]")
          TANDEM_SECTION_COMMIT
      :
      : TANDEM_SECTION_OPERANDS, [out] "r"(out), [count] "r"(count)
      : "rax", "rcx", "rdx", "r8", "xmm0", "xmm1", "cc", "memory"
      : unfit);
  return true;
unfit:
  return false;
}

template <class Words>
[[gnu::always_inline]] inline bool RseqSection::Push(Words& words,
                                                     std::byte* const* in,
                                                     uint32_t count) {
  if (__builtin_constant_p(count) && count == 1) {
    asm volatile goto(TANDEM_SECTION_BEGIN
                      "movzwl %%ax, %%ecx\n"
                      "cmpw %c[ceiling](%[words]), %%ax\n"
                      "jge %l[unfit]\n"
                      "movq %[buffer], %c[slots](%[words], %%rcx, 8)\n"
                      "addl $0x10001, %%eax\n" TANDEM_SECTION_COMMIT
                      :
                      : TANDEM_SECTION_OPERANDS, [buffer] "r"(*in)
                      : "rax", "rcx", "cc", "memory"
                      : unfit);
    return true;
  }
  if (__builtin_constant_p(count) && count == 2) {
    asm volatile goto(
        TANDEM_SECTION_BEGIN
        "movzwl %%ax, %%ecx\n"
        "addl $0x10002, %%eax\n"
        "cmpw %c[ceiling](%[words]), %%ax\n"
        "jg %l[unfit]\n"
        "movq %[first], %c[slots](%[words], %%rcx, 8)\n"
        "movq %[second], 8+%c[slots](%[words], %%rcx, "
        "8)\n" TANDEM_SECTION_COMMIT
        :
        : TANDEM_SECTION_OPERANDS, [first] "r"(in[0]), [second] "r"(in[1])
        : "rax", "rcx", "cc", "memory"
        : unfit);
    return true;
  }
  if (__builtin_constant_p(count) && count == 4) {
    return internal_section::PushFixed<4>(words, in);
  }
  if (__builtin_constant_p(count) && count == 8) {
    return internal_section::PushFixed<8>(words, in);
  }
  asm volatile goto(TANDEM_SECTION_BEGIN
                    "movzwl %%ax, %%ecx\n"
                    "leaq %c[slots](%[words], %%rcx, 8), %%rdx\n"
                    "addl %[count], %%eax\n"
                    "cmpw %c[ceiling](%[words]), %%ax\n"
                    "jg %l[unfit]\n"
                    "addl $0x10000, %%eax\n" TANDEM_SECTION_COPY(
                        "%[in]", "%%rdx") TANDEM_SECTION_COMMIT
                    :
                    : TANDEM_SECTION_OPERANDS, [in] "r"(in), [count] "r"(count)
                    : "rax", "rcx", "rdx", "r8", "xmm0", "xmm1", "cc", "memory"
                    : unfit);
  return true;
unfit:
  return false;
}

}  // namespace tandem

#undef TANDEM_SECTION_BEGIN
#undef TANDEM_SECTION_COMMIT
#undef TANDEM_SECTION_COPY
#undef TANDEM_SECTION_COPY_FIXED
#undef TANDEM_SECTION_OPERANDS

#endif  // TANDEM_POOL_SECTION_RSEQ_SECTION_X86_64_H_
