#include "tandem/bench/measurement.h"

#include <sched.h>
#include <time.h>

#include <atomic>
#include <cstdint>

#include "benchmark/benchmark.h"

namespace tandem::bench {
namespace {

cpu_set_t CoresOfThisThread() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  sched_getaffinity(0, sizeof(cores), &cores);
  return cores;
}

// The cores that the process started with.
const cpu_set_t& AllowedCores() {
  static const cpu_set_t cores = CoresOfThisThread();
  return cores;
}

// Keeps the calling thread on one of the allowed cores, by turns. If that is
// forbidden, the numbers are noisier.
void StayOnCore(int thread) {
  const cpu_set_t& allowed = AllowedCores();
  int turn = thread % CPU_COUNT(&allowed);
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &allowed) || turn-- != 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    sched_setaffinity(0, sizeof(one), &one);
    return;
  }
}

// The time at which the last thread of the run was ready. Time only grows, so a
// value of an earlier run does not matter.
std::atomic<int64_t> last_ready{0};

int64_t NanosOf(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}
int64_t WallNanos() { return NanosOf(CLOCK_MONOTONIC); }
// The processor time of the calling thread.
int64_t ProcessorNanos() { return NanosOf(CLOCK_THREAD_CPUTIME_ID); }

}  // namespace

int CoreCount() { return CPU_COUNT(&AllowedCores()); }

OwnCore::OwnCore(const benchmark::State& state) : before_(CoresOfThisThread()) {
  if (state.threads() > 1) StayOnCore(state.thread_index());
}

OwnCore::~OwnCore() { sched_setaffinity(0, sizeof(before_), &before_); }

Measurement::Measurement(benchmark::State& state)
    : state_(state), processor_nanos_before_(ProcessorNanos()) {
  const int64_t now = WallNanos();
  int64_t last = last_ready.load();
  while (last < now && !last_ready.compare_exchange_weak(last, now)) {
  }
}

void Measurement::Finish(int64_t operations) const {
  const auto seconds = static_cast<double>(WallNanos() - last_ready) * 1e-9;
  const auto processor_nanos =
      static_cast<double>(ProcessorNanos() - processor_nanos_before_);
  state_.SetIterationTime(kNewLibrary ? seconds / state_.threads() : seconds);
  // The library adds up the counters of all threads.
  const auto all = static_cast<double>(operations);
  state_.counters[kRate] = all / seconds / state_.threads();
  state_.counters[kProcessorNanos] = processor_nanos / all;
}

}  // namespace tandem::bench
