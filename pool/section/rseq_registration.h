#ifndef TANDEM_POOL_SECTION_RSEQ_REGISTRATION_H_
#define TANDEM_POOL_SECTION_RSEQ_REGISTRATION_H_

#include <cstdint>

namespace tandem {

// The area that a thread shares with the kernel for its restartable sequences,
// laid out as in linux/rseq.h. Defined here because the C library's headers may
// not have it, and differ in a field's name.
struct alignas(32) RseqArea {
  static constexpr int32_t kUninitialized = -1;
  static constexpr int32_t kRegistrationFailed = -2;

  uint32_t cpu_id_start;
  int32_t cpu_id;    // the core that runs the thread; negative: see above
  uint64_t rseq_cs;  // the section that it is in
  uint32_t flags;
  uint32_t unused[3];
};
static_assert(sizeof(RseqArea) == 32);

// The calling thread's area, which the kernel knows afterwards, whichever
// library registers it; null if the thread has no area that restarts our
// sections. In this order:
//
//   - glibc's area (2.35 or later), if the kernel knows it;
//   - the area that another library exports as `__rseq_abi` (tcmalloc, old
//     versions of librseq), registered now if that library has not done so yet;
//   - Tandem's own area, registered now. All copies of Tandem that see each
//     other's symbols share it.
//
// The kernel takes one area for each thread, with one signature, so the first
// library in a thread decides. A library that finds our area registered cannot
// register its own (tcmalloc aborts then). If we find one with another
// signature, or one that we cannot see, the result is null. An area is never
// unregistered: the kernel forgets it when the thread ends, and later
// destructors may rely on it.
//
// Limits: this does not notice if an area is unregistered after this has found
// it, nor a child of vfork(2), which runs in its parent's area.
// Threads: any; not async-signal-safe. Keeps errno. Negligible cost if the area
// is glibc's or ours; otherwise one or two system calls and dlsym(3).
RseqArea* RegisterRseqArea();

// The core that the calling thread runs on, read from the registered area,
// glibc's or ours; negative if there is none. Async-signal-safe.
int32_t CoreByRseqArea();

}  // namespace tandem

#endif  // TANDEM_POOL_SECTION_RSEQ_REGISTRATION_H_
