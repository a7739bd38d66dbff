#include "tandem/pool/rseq_section.h"

#include <linux/membarrier.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace tandem {
namespace {

// Linux 5.10. Debian 12's headers have them; older ones may not.
constexpr int kBarrier = 1 << 7;   // MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ
constexpr int kRegister = 1 << 8;  // MEMBARRIER_CMD_REGISTER_..._RSEQ

int MemBarrier(int command) {
  return static_cast<int>(syscall(SYS_membarrier, command, 0, 0));
}

}  // namespace

bool RseqSection::Available() {
  static const bool available = [] {
    // glibc registers an area for each thread, unless it is told not to
    // (GLIBC_TUNABLES=glibc.pthread.rseq=0) or the kernel can't (valgrind).
    if (!TANDEM_HAS_SECTIONS || __rseq_size == 0) return false;
    return MemBarrier(kRegister) == 0 && MemBarrier(kBarrier) == 0;
  }();
  return available;
}

void SectionArea::Arm() {
  char* const area =
      static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
  cs_ = reinterpret_cast<uint64_t*>(area + offsetof(struct rseq, rseq_cs));
}

bool RseqSection::Barrier() {
  const int saved_errno = errno;
  const bool done = MemBarrier(kBarrier) == 0;
  errno = saved_errno;
  return done;
}

}  // namespace tandem
