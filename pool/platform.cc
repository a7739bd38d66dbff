#include "tandem/pool/platform.h"

#include <sched.h>
#include <time.h>

#include <cstdint>

#include "tandem/pool/section/rseq_registration.h"

namespace tandem {
namespace {

int64_t NanosOf(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

uint32_t StdPlatform::CurrentCore() {
  if (const int32_t core = CoreByRseqArea(); core >= 0) {
    return static_cast<uint32_t>(core);
  }
  const int cpu = sched_getcpu();
  return cpu < 0 ? 0 : static_cast<uint32_t>(cpu);
}

int64_t StdPlatform::NowNanos() { return NanosOf(CLOCK_MONOTONIC); }
int64_t StdPlatform::ThreadNanos() { return NanosOf(CLOCK_THREAD_CPUTIME_ID); }

}  // namespace tandem
