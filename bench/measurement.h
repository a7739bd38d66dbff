#ifndef TANDEM_BENCH_MEASUREMENT_H_
#define TANDEM_BENCH_MEASUREMENT_H_

#include <sched.h>

#include <cstdint>

#include "benchmark/benchmark.h"

namespace tandem::bench {

// Processors that this process may use.
int CoreCount();

// True for Google Benchmark 1.8 and newer, whose runs have this member. These
// versions want units on times in flags, and from 1.9 on they add up the times
// of threads, where older versions average.
template <class Run>
concept KnowsSkipping = requires(Run run) {
  run.skip_message;
};
inline constexpr bool kNewLibrary =
    KnowsSkipping<benchmark::BenchmarkReporter::Run>;

// Keeps the calling thread, one of several of a run, on a core of its own, or
// on one that it shares with as few threads as possible. A run is too short for
// the scheduler to find that. A single thread is not bound.
class OwnCore {
 public:
  explicit OwnCore(const benchmark::State& state);
  ~OwnCore();
  OwnCore(const OwnCore&) = delete;
  OwnCore& operator=(const OwnCore&) = delete;

 private:
  const cpu_set_t before_;
};

// Counters that Finish sets, for all threads together: operations per second of
// wall time, and nanoseconds of processor time per operation.
inline constexpr char kRate[] = "items_per_second";
inline constexpr char kProcessorNanos[] = "cpu_ns_per_item";

// Times one thread's part of one run:
//
//   const Measurement measurement(state);   // after warming up
//   for (auto _ : state) ...
//   measurement.Finish(operations);
//
// Wall time is that of the whole run, from the moment at which the last thread
// is ready until all are done. The library's own wall time is the mean over
// threads, each from its own start to its own end. With more threads than cores
// some end before others begin, so that time is too short.
class Measurement {
 public:
  explicit Measurement(benchmark::State& state);

  // `operations`: what all threads of this run have done together.
  void Finish(int64_t operations) const;

 private:
  benchmark::State& state_;
  const int64_t processor_nanos_before_;
};

// Hides the pointer's origin from the compiler. DoNotOptimize may send the
// pointer through memory, which takes as long as what is measured here.
template <class T>
[[gnu::always_inline]] inline void MakeOpaque(T*& pointer) {
  asm volatile("" : "+r"(pointer) : : "memory");
}

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_MEASUREMENT_H_
