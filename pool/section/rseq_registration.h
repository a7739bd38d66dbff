#ifndef TANDEM_POOL_SECTION_RSEQ_REGISTRATION_H_
#define TANDEM_POOL_SECTION_RSEQ_REGISTRATION_H_

#include <cstdint>

namespace tandem {

// What a thread shares with the kernel for its restartable sequences, as
// linux/rseq.h lays it out. Own, as the C library's headers may not have it,
// and differ in what they call a field.
struct alignas(32) RseqArea {
  static constexpr int32_t kUninitialized = -1;
  static constexpr int32_t kRegistrationFailed = -2;

  uint32_t cpu_id_start;
  int32_t cpu_id;    // the core that the thread runs on; negative: see above
  uint64_t rseq_cs;  // the section that it is in
  uint32_t flags;
  uint32_t unused[3];
};
static_assert(sizeof(RseqArea) == 32);

// The calling thread's area, which the kernel knows from then on, whoever
// registers it; null if it has none that restarts our sections. In this order:
//
//   - glibc's (2.35 or later), if the kernel knows it;
//   - what another library shows as `__rseq_abi` (tcmalloc, old versions of
//     librseq), registered now if that library has yet to do it;
//   - one of our own, registered now. All copies of Tandem that see each
//     other's symbols share it.
//
// The kernel takes one area for each thread, with one signature, so whoever
// comes first in a thread decides: a library that finds ours there cannot
// register its own (tcmalloc aborts then), and where we find one with another
// signature, or one that we cannot see, the answer is null. An area is never
// unregistered: the kernel forgets it when the thread ends, and later
// destructors may rely on it.
//
// Limits: an area that is unregistered after this has found it, and a child of
// vfork(2), which runs in its parent's, are not noticed.
// Threads: any; not async-signal-safe. Keeps errno. No cost to speak of where
// the area is glibc's or ours; else a system call or two and dlsym(3).
RseqArea* RegisterRseqArea();

// The core that the calling thread runs on, by the area that the kernel has
// been told of, glibc's or ours; negative if there is none. Async-signal-safe.
int32_t CoreByRseqArea();

}  // namespace tandem

#endif  // TANDEM_POOL_SECTION_RSEQ_REGISTRATION_H_
