#include "tandem/pool/platform.h"

#include <sched.h>
#include <time.h>

#include <cstdint>

#include "tandem/pool/rseq_section.h"

#if TANDEM_HAS_SECTIONS
#include <sys/rseq.h>
#endif

namespace tandem {

uint32_t StdPlatform::CurrentCore() {
#if TANDEM_HAS_SECTIONS
  if (const volatile rseq* const area = ThreadRseqArea(); area != nullptr) {
    const auto cpu = static_cast<int32_t>(area->cpu_id);
    if (cpu >= 0) return static_cast<uint32_t>(cpu);
  }
#endif
  const int cpu = sched_getcpu();
  return cpu < 0 ? 0 : static_cast<uint32_t>(cpu);
}

int64_t StdPlatform::NowNanos() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace tandem
