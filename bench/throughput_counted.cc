// Counts the atomic read-modify-writes of Tandem's scenarios: the same source
// as //bench:throughput, linked to a Tandem whose atomics count.
//
// Prints a line for each run, "<scenario>/<peer> <threads> <shared> <own>
// <swaps> <failed>", the last four per operation: on words that threads share,
// on a thread's own line; and of the shared ones, compare-and-swaps and those
// of them that failed. Takes Google Benchmark's flags.

#include <cstdlib>
#include <iostream>
#include <vector>

#include "benchmark/benchmark.h"
#include "tandem/bench/names.h"
#include "tandem/bench/scenarios.h"

namespace tandem::bench {
namespace {

class CountReporter : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context& /*context*/) override { return true; }

  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      const auto operations = run.counters.find(kOperations);
      if (operations == run.counters.end()) continue;
      const auto per_operation = [&](const char* counter) {
        return run.counters.at(counter).value / operations->second.value;
      };
      GetOutputStream() << run.run_name.function_name << ' ' << run.threads
                        << ' ' << per_operation(kSharedRmw) << ' '
                        << per_operation(kOwnRmw) << ' '
                        << per_operation(kSwaps) << ' '
                        << per_operation(kFailedSwaps) << '\n';
    }
  }
};

int Main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return EXIT_FAILURE;
  RegisterTandem();
  CountReporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace tandem::bench

int main(int argc, char** argv) { return tandem::bench::Main(argc, argv); }
