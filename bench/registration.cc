#include "tandem/bench/registration.h"

#include <optional>
#include <span>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"

namespace tandem::bench {

void Register(const char* scenario, const char* peer,
              void (*function)(benchmark::State&), std::span<const int> threads,
              std::optional<double> seconds) {
  auto* const registered = benchmark::RegisterBenchmark(
      absl::StrCat(scenario, "/", peer).c_str(), function);
  registered->UseManualTime();
  if (seconds) registered->MinTime(*seconds);
  for (const int count : threads) registered->Threads(count);
}

}  // namespace tandem::bench
