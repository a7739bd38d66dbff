#include "tandem/bench/registration.h"

#include <span>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"

namespace tandem::bench {

void Register(const char* scenario, const char* peer,
              void (*function)(benchmark::State&),
              std::span<const int> threads) {
  auto* const registered = benchmark::RegisterBenchmark(
      absl::StrCat(scenario, "/", peer).c_str(), function);
  registered->UseManualTime();
  for (const int count : threads) registered->Threads(count);
}

}  // namespace tandem::bench
