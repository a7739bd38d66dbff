#ifndef TANDEM_POOL_SECTION_RSEQ_SECTION_H_
#define TANDEM_POOL_SECTION_RSEQ_SECTION_H_

#include <cstddef>
#include <cstdint>

// Under ThreadSanitizer caches are never biased: it does not see what assembly
// accesses, nor what membarrier(2) orders.
#if defined(__SANITIZE_THREAD__)
#define TANDEM_HAS_SECTIONS 0
#elif defined(__x86_64__) || defined(__aarch64__)
#define TANDEM_HAS_SECTIONS 1
#else
#define TANDEM_HAS_SECTIONS 0
#endif
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#undef TANDEM_HAS_SECTIONS
#define TANDEM_HAS_SECTIONS 0
#endif
#endif

namespace tandem {

// Where a thread names the section that it is about to enter: a field of the
// thread's rseq area or, until Arm, a word that the kernel ignores. Each thread
// cache has one, for its owner.
class SectionArea {
 public:
  SectionArea() = default;
  SectionArea(const SectionArea&) = delete;
  SectionArea& operator=(const SectionArea&) = delete;

  // From now on the kernel restarts the calling thread's sections, unless it
  // knows no area of the thread (RegisterRseqArea): then this stays disarmed.
  void Arm();
  // For the end of the thread: the field that Arm named may go away.
  void Disarm() { cs_ = &unused_; }
  bool armed() const { return cs_ != &unused_; }

  uint64_t* cs() const { return cs_; }

 private:
  uint64_t unused_ = 0;
  uint64_t* cs_ = &unused_;
};

// Restartable sections (rseq(2)): a few instructions, of which the last one
// commits. The kernel restarts them if the thread is preempted, migrated or
// interrupted by a signal in between, or if another thread calls Barrier. So a
// section of an armed thread
//
//   - happens whole or not at all, as seen by the thread's signal handlers;
//   - after Barrier has returned true, is either done, with its stores visible
//     to the caller of Barrier, or has not begun and will read what that caller
//     wrote before. No other thread is ever inside a section with an older
//     view.
//
// A section does not order the thread's other accesses. It also does not
// protect against other threads that write the same words: the protocol of
// ThreadCache does. If the gate is not open, it changes nothing, armed or not.
//
// Cost: no read-modify-write, no fence, no system call. Barrier is a system
// call that interrupts each core that runs a thread of this process.
// Limits: single-stepping across a section restarts it forever; a shared object
// that contains sections must not be unloaded while threads use it.
class RseqSection {
 public:
  // True if this process can use Barrier, and the calling thread can use
  // sections: registers for both. False also if the environment variable
  // TANDEM_BIAS is "shared". Not async-signal-safe.
  static bool Available();

  // Sections on the words of a thread cache; Words is its CacheWords. A section
  // loads the top, compares it with the gate, accesses slots, and commits top
  // and count. False if the gate forbids it; then nothing has changed. A caller
  // that needs the reason reads the gate.

  // Takes `count` (at least 1) buffers off the top: slots[top - count, top), in
  // this order, into `out`. If it fails, `out` is unspecified.
  template <class Words>
  static bool Pop(Words& words, std::byte** out, uint32_t count);

  // Puts `count` (at least 1) buffers on top, in order.
  template <class Words>
  static bool Push(Words& words, std::byte* const* in, uint32_t count);

  // False if the system refuses; then the caller may conclude nothing.
  // Async-signal-safe.
  static bool Barrier();
};

}  // namespace tandem

#if TANDEM_HAS_SECTIONS && defined(__x86_64__)
#include "tandem/pool/section/rseq_section_x86_64.h"  // IWYU pragma: export
#elif TANDEM_HAS_SECTIONS
#include "tandem/pool/section/rseq_section_aarch64.h"  // IWYU pragma: export
#else
namespace tandem {
template <class Words>
bool RseqSection::Pop(Words&, std::byte**, uint32_t) {
  return false;
}
template <class Words>
bool RseqSection::Push(Words&, std::byte* const*, uint32_t) {
  return false;
}
}  // namespace tandem
#endif

#endif  // TANDEM_POOL_SECTION_RSEQ_SECTION_H_
