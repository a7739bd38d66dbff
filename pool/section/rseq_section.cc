#include "tandem/pool/section/rseq_section.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "tandem/pool/section/rseq_registration.h"

namespace tandem {
namespace {

// Linux 5.10. Debian 12's headers define them; older ones may not.
constexpr int kBarrier = 1 << 7;   // MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ
constexpr int kRegister = 1 << 8;  // MEMBARRIER_CMD_REGISTER_..._RSEQ

int MemBarrier(int command) {
  return static_cast<int>(syscall(SYS_membarrier, command, 0, 0));
}

}  // namespace

#if TANDEM_HAS_SECTIONS

bool RseqSection::Available() {
  const char* const wish = std::getenv("TANDEM_BIAS");
  if (wish != nullptr && std::string_view(wish) == "shared") return false;
  enum class Known : uint8_t { kNothing, kAvailable, kMissing };
  // Not a static with initialization on first use: a child of fork(2) could
  // wait forever for a thread that it does not have. relaxed: the answer is the
  // same for every caller.
  static constinit std::atomic<Known> known{Known::kNothing};
  if (known.load(std::memory_order::relaxed) == Known::kNothing) {
    const bool available =
        MemBarrier(kRegister) == 0 && MemBarrier(kBarrier) == 0;
    known.store(available ? Known::kAvailable : Known::kMissing,
                std::memory_order::relaxed);
  }
  return known.load(std::memory_order::relaxed) == Known::kAvailable &&
         RegisterRseqArea() != nullptr;
}

void SectionArea::Arm() {
  RseqArea* const area = RegisterRseqArea();
  cs_ = area != nullptr ? &area->rseq_cs : &unused_;
}

#else

bool RseqSection::Available() { return false; }
void SectionArea::Arm() {}

#endif

bool RseqSection::Barrier() {
  const int saved_errno = errno;
  const bool done = MemBarrier(kBarrier) == 0;
  errno = saved_errno;
  return done;
}

}  // namespace tandem
