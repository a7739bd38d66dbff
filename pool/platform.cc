#include "tandem/pool/platform.h"

#include <sched.h>
#include <time.h>

#include <cstdint>

#include "tandem/pool/section/rseq_registration.h"

namespace tandem {

uint32_t StdPlatform::CurrentCore() {
  if (const int32_t core = CoreByRseqArea(); core >= 0) {
    return static_cast<uint32_t>(core);
  }
  const int cpu = sched_getcpu();
  return cpu < 0 ? 0 : static_cast<uint32_t>(cpu);
}

int64_t StdPlatform::NowNanos() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace tandem
