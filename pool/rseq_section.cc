#include "tandem/pool/rseq_section.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#if TANDEM_HAS_SECTIONS
#include <sys/rseq.h>
#endif

namespace tandem {
namespace {

// Linux 5.10. Debian 12's headers have them; older ones may not.
constexpr int kBarrier = 1 << 7;   // MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ
constexpr int kRegister = 1 << 8;  // MEMBARRIER_CMD_REGISTER_..._RSEQ

int MemBarrier(int command) {
  return static_cast<int>(syscall(SYS_membarrier, command, 0, 0));
}

}  // namespace

#if TANDEM_HAS_SECTIONS

bool RseqSection::Available() {
  // glibc registers an area for each thread, unless it is told not to
  // (GLIBC_TUNABLES=glibc.pthread.rseq=0) or the kernel can't (valgrind).
  enum class Known : uint8_t { kNothing, kAvailable, kMissing };
  // Not a static that is initialized once: a child of fork(2) would wait for
  // ever for a thread that it does not have. relaxed: all find the same.
  static constinit std::atomic<Known> known{Known::kNothing};
  if (known.load(std::memory_order::relaxed) == Known::kNothing) {
    const bool available = __rseq_size != 0 && MemBarrier(kRegister) == 0 &&
                           MemBarrier(kBarrier) == 0;
    known.store(available ? Known::kAvailable : Known::kMissing,
                std::memory_order::relaxed);
  }
  return known.load(std::memory_order::relaxed) == Known::kAvailable;
}

rseq* ThreadRseqArea() {
  if (__rseq_size == 0) return nullptr;
  return reinterpret_cast<rseq*>(
      static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset);
}

void SectionArea::Arm() {
  // The field's type is a union in some versions of the header.
  cs_ = reinterpret_cast<uint64_t*>(reinterpret_cast<char*>(ThreadRseqArea()) +
                                    offsetof(rseq, rseq_cs));
}

#else

bool RseqSection::Available() { return false; }
rseq* ThreadRseqArea() { return nullptr; }
void SectionArea::Arm() {}

#endif

bool RseqSection::Barrier() {
  const int saved_errno = errno;
  const bool done = MemBarrier(kBarrier) == 0;
  errno = saved_errno;
  return done;
}

}  // namespace tandem
