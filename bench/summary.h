#ifndef TANDEM_BENCH_SUMMARY_H_
#define TANDEM_BENCH_SUMMARY_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "benchmark/benchmark.h"

namespace tandem::bench {

// What a run measures.
struct RunKey {
  std::string scenario;
  std::string peer;
  int threads;

  friend bool operator<(const RunKey& a, const RunKey& b) {
    return std::tie(a.scenario, a.peer, a.threads) <
           std::tie(b.scenario, b.peer, b.threads);
  }
};

// Splits "<scenario>/<peer>".
RunKey KeyOf(const std::string& name, int threads);

// Read-modify-writes per operation.
struct RmwPerOperation {
  double shared;  // on words that many threads write
  double own;     // on a thread's own line
  double swaps;   // of the shared ones: compare-and-swaps,
  double failed;  // and those of them that failed
};

// The machine and the moment at which the figures were taken.
struct Circumstances {
  int cores;
  bool biased;     // Tandem uses thread caches without read-modify-writes
  uint32_t batch;  // buffers that Tandem moves in and out of a cache at once
  // A line for each peer that was left out, and how to get it.
  std::vector<std::string> missing;
};

// The results of all runs, and the table that comes first.
class Summary {
 public:
  explicit Summary(Circumstances circumstances)
      : circumstances_(std::move(circumstances)) {}

  // Adds a repetition. Of an aggregate only the median counts, and only if no
  // repetition is known.
  void Add(const benchmark::BenchmarkReporter::Run& run);
  void AddRmw(const RunKey& key, RmwPerOperation rmw) { rmw_[key] = rmw; }

  bool empty() const { return measured_.empty() && reached_.empty(); }
  void Print(std::ostream& out) const;

  // The median processor time of an operation, if it was measured.
  std::optional<double> Nanos(const RunKey& key) const;
  // Buffers per second of DPDK's loop, divided by those of rte_mempool.
  std::optional<double> LoopRatio(const char* peer, size_t bulk, size_t keep,
                                  int threads) const;

 private:
  // The repetitions of one benchmark, by the name of a counter.
  using Measured = std::map<std::string, std::vector<double>>;

  // The medians, if measured, of a counter, and of the operations per second of
  // all threads together.
  std::optional<double> Median(const RunKey& key,
                               const std::string& counter) const;
  std::optional<double> Rate(const RunKey& key) const;
  // Operations per second with all threads, divided by those with one.
  std::optional<double> Speedup(const RunKey& key) const;
  // Shared read-modify-writes of an operation: the worst of all thread counts.
  std::optional<double> SharedRmw(const char* scenario) const;
  // The share of the cores that runs got in which no thread sleeps; other
  // programs got the rest.
  double ShareOfCores() const;
  // How far from their median the middle half of a benchmark's repetitions
  // lies: the median of all benchmarks that were repeated.
  std::optional<double> Noise() const;

  // The smallest of some of the loop's ratios.
  std::optional<double> LeastLoopRatio(const char* peer,
                                       std::span<const size_t> bulks,
                                       std::span<const size_t> keeps) const;

  void PrintTable(std::ostream& out) const;
  void PrintMempoolLoop(std::ostream& out) const;
  void PrintGoals(std::ostream& out) const;
  void PrintStranding(std::ostream& out) const;
  void PrintRemarks(std::ostream& out) const;
  // A peer's figures with one thread, as a list.
  std::string OneThread(const char* peer) const;

  const Circumstances circumstances_;
  std::map<RunKey, Measured> measured_;
  std::map<RunKey, RmwPerOperation> rmw_;
  // By peer: the fewest buffers that one thread reached, and those in all.
  std::map<std::string, std::pair<double, double>> reached_;
};

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_SUMMARY_H_
