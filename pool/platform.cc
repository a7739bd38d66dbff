#include "tandem/pool/platform.h"

#include <sched.h>
#include <sys/rseq.h>
#include <time.h>

#include <cstdint>

namespace tandem {

uint32_t StdPlatform::CurrentCore() {
#if defined(__has_builtin)
#if __has_builtin(__builtin_thread_pointer)
  if (__rseq_size != 0) {
    const auto* area = reinterpret_cast<const volatile struct rseq*>(
        static_cast<const char*>(__builtin_thread_pointer()) + __rseq_offset);
    const auto cpu = static_cast<int32_t>(area->cpu_id);
    if (cpu >= 0) return static_cast<uint32_t>(cpu);
  }
#endif
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
