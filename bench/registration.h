#ifndef TANDEM_BENCH_REGISTRATION_H_
#define TANDEM_BENCH_REGISTRATION_H_

#include <span>

#include "benchmark/benchmark.h"

namespace tandem::bench {

// Adds the benchmark "<scenario>/<peer>", once for each count of threads.
void Register(const char* scenario, const char* peer,
              void (*function)(benchmark::State&),
              std::span<const int> threads);

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_REGISTRATION_H_
