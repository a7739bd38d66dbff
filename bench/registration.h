#ifndef TANDEM_BENCH_REGISTRATION_H_
#define TANDEM_BENCH_REGISTRATION_H_

#include <optional>
#include <span>

#include "benchmark/benchmark.h"

namespace tandem::bench {

// Adds the benchmark "<scenario>/<peer>", once for each count of threads.
// `seconds`: the least time of a repetition, if it differs from that of
// all benchmarks.
void Register(const char* scenario, const char* peer,
              void (*function)(benchmark::State&), std::span<const int> threads,
              std::optional<double> seconds = std::nullopt);

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_REGISTRATION_H_
