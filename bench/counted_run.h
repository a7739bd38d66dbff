#ifndef TANDEM_BENCH_COUNTED_RUN_H_
#define TANDEM_BENCH_COUNTED_RUN_H_

#include <string>

#include "absl/status/status.h"
#include "tandem/bench/summary.h"

namespace tandem::bench {

// Runs throughput_counted, which Bazel builds beside this program, on the
// benchmarks that match `filter`, and adds what it counts to `summary`. `argv0`
// is this program's name as it was called. Returns an error if that program
// cannot be run.
absl::Status AddCountedRuns(const char* argv0, const std::string& filter,
                            Summary& summary);

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_COUNTED_RUN_H_
