#ifndef TANDEM_POOL_PLATFORM_H_
#define TANDEM_POOL_PLATFORM_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/section/rseq_section.h"
#include "tandem/pool/types.h"

#ifdef TANDEM_COUNT_RMW
#include "tandem/pool/counting_atomic.h"
#endif

namespace tandem {

// What the lock-free core needs from the system: atomics, restartable sections
// and the barrier against them, the number of the current core, a clock. All
// code above is a template over a platform, so that the same source runs in
// production (StdPlatform), in the build that counts read-modify-writes
// (TANDEM_COUNT_RMW), and under a checker that explores interleavings and weak
// memory orders (tests/schedule/relacy_platform.h).
struct StdPlatform {
  // Atomic: a word that many threads write. OwnAtomic: a word on a line that
  // usually only one thread touches.
#ifdef TANDEM_COUNT_RMW
  template <class T>
  using Atomic = CountingAtomic<T, RmwKind::kShared>;
  template <class T>
  using OwnAtomic = CountingAtomic<T, RmwKind::kOwn>;
#else
  template <class T>
  using Atomic = std::atomic<T>;
  template <class T>
  using OwnAtomic = std::atomic<T>;
#endif

  // The slots of a ThreadCache. A smaller number makes a checker faster.
  static constexpr uint32_t kCacheSlots = kMaxCacheSize;

  // Restartable sections on the words of a ThreadCache (CacheWords).
  // RseqSection states what they and the barrier guarantee.
  template <class Words>
  [[gnu::always_inline]] static bool PopBiased(Words& words,
                                               std::span<std::byte*> out) {
    return RseqSection::Pop(words, out.data(),
                            static_cast<uint32_t>(out.size()));
  }
  template <class Words>
  [[gnu::always_inline]] static bool PushBiased(
      Words& words, std::span<std::byte* const> in) {
    return RseqSection::Push(words, in.data(),
                             static_cast<uint32_t>(in.size()));
  }
  using SectionArea = tandem::SectionArea;
  static bool Barrier() { return RseqSection::Barrier(); }

  // The slots of a Magazine, and the fewest buffers that go into one together.
  static constexpr uint32_t kMagazineSize = kMaxBatch;
  static constexpr uint32_t kLeastInMagazine = kMagazineSize / 4;

  // Copy one or more slots of a Magazine, each by a relaxed load or store:
  // plain instructions, but several slots at once; the compiler would copy one
  // by one.
  static void CopySlots(const Atomic<std::byte*>* from, uint32_t count,
                        std::byte** to) {
#if defined(__x86_64__)
    CopyAtOnce(from, to, count);
#else
    for (uint32_t i = 0; i < count; ++i) {
      to[i] = from[i].load(std::memory_order::relaxed);
    }
#endif
  }
  static void CopySlots(std::byte* const* from, uint32_t count,
                        Atomic<std::byte*>* to) {
#if defined(__x86_64__)
    CopyAtOnce(from, to, count);
#else
    for (uint32_t i = 0; i < count; ++i) {
      to[i].store(from[i], std::memory_order::relaxed);
    }
#endif
  }

  // Keeps the compiler from moving accesses across it, as seen by a signal
  // handler on the same thread. No instruction.
  static void SignalFence() {
    std::atomic_signal_fence(std::memory_order::seq_cst);
  }

  // A pointer of the calling thread, one for each T, null at first. The
  // initial-exec model needs no allocation, so signal handlers may use it.
  template <class T>
  static T*& PerThread() {
    return per_thread_pointer<T>;
  }

  // The core that the calling thread runs on. A hint: it may change at once.
  // Read from the rseq area if there is one, otherwise from sched_getcpu(3).
  // Async-signal-safe.
  static uint32_t CurrentCore();

  // Monotonic nanoseconds (CLOCK_MONOTONIC). Async-signal-safe.
  static int64_t NowNanos();

  // Nanoseconds that the calling thread has run (CLOCK_THREAD_CPUTIME_ID): a
  // system call. Async-signal-safe.
  static int64_t ThreadNanos();

 private:
#if defined(__x86_64__)
  // Copies pointers. Each is aligned, so each copy is single-copy atomic.
  static void CopyAtOnce(const void* from, void* to, size_t count) {
    static_assert(sizeof(Atomic<std::byte*>) == sizeof(std::byte*));
    // One, two, then four at a time.
    asm volatile(
        "testl $1, %k[count]\n"
        "jz 1f\n"
        "movq (%[from]), %%rax\n"
        "movq %%rax, (%[to])\n"
        "addq $8, %[from]\n"
        "addq $8, %[to]\n"
        "1: testl $2, %k[count]\n"
        "jz 2f\n"
        "movups (%[from]), %%xmm0\n"
        "movups %%xmm0, (%[to])\n"
        "addq $16, %[from]\n"
        "addq $16, %[to]\n"
        "2: shrq $2, %[count]\n"
        "jz 4f\n"
        "3: movups (%[from]), %%xmm0\n"
        "movups 16(%[from]), %%xmm1\n"
        "movups %%xmm0, (%[to])\n"
        "movups %%xmm1, 16(%[to])\n"
        "addq $32, %[from]\n"
        "addq $32, %[to]\n"
        "decq %[count]\n"
        "jnz 3b\n"
        "4:\n"
        : [from] "+r"(from), [to] "+r"(to), [count] "+r"(count)
        :
        : "rax", "xmm0", "xmm1", "cc", "memory");
  }
#endif

  template <class T>
  [[gnu::tls_model("initial-exec")]] static constinit inline thread_local T*
      per_thread_pointer = nullptr;
};

}  // namespace tandem

#endif  // TANDEM_POOL_PLATFORM_H_
