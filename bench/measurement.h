#ifndef TANDEM_BENCH_MEASUREMENT_H_
#define TANDEM_BENCH_MEASUREMENT_H_

#include <sched.h>

#include <cstdint>

#include "benchmark/benchmark.h"

namespace tandem::bench {

// Processors that this process may use.
int CoreCount();

// True for Google Benchmark 1.8 and newer, whose runs have this member. They
// want units on times in flags, and (1.9) add up the times of threads where
// older ones average.
template <class Run>
concept KnowsSkipping = requires(Run run) {
  run.skip_message;
};
inline constexpr bool kNewLibrary =
    KnowsSkipping<benchmark::BenchmarkReporter::Run>;

// Keeps the calling thread, which is one of several of a run, on a core of its
// own, or on one that it shares with as few others as possible: a run is too
// short for the scheduler to find that. A single thread stays free.
class OwnCore {
 public:
  explicit OwnCore(const benchmark::State& state);
  ~OwnCore();
  OwnCore(const OwnCore&) = delete;
  OwnCore& operator=(const OwnCore&) = delete;

 private:
  const cpu_set_t before_;
};

// Counters that Finish sets, of all threads together: operations per second of
// wall time, and nanoseconds of processor time per operation.
inline constexpr char kRate[] = "items_per_second";
inline constexpr char kProcessorNanos[] = "cpu_ns_per_item";

// Times one thread's part of one run:
//
//   const Measurement measurement(state);   // after warming up
//   for (auto _ : state) ...
//   measurement.Finish(operations);
//
// Wall time is that of the whole run, from when the last thread is ready until
// all are done. The library's own is the mean over threads, each from its own
// start to its own end: with more threads than cores, where some end before
// others begin, that is too short.
class Measurement {
 public:
  explicit Measurement(benchmark::State& state);

  // All threads of this run together have done so many operations.
  void Finish(int64_t operations) const;

 private:
  benchmark::State& state_;
  const int64_t processor_nanos_before_;
};

// Hides from the compiler where the pointer comes from. DoNotOptimize may send
// it through memory, which takes as long as what is measured here.
template <class T>
[[gnu::always_inline]] inline void MakeOpaque(T*& pointer) {
  asm volatile("" : "+r"(pointer) : : "memory");
}

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_MEASUREMENT_H_
