// What a buffer costs: Tandem beside its peers, in the same run.
//
//   bazel run -c opt //bench:throughput
//   bazel run -c opt //bench:throughput -- --benchmark_filter=one_buffer
//
// It takes about three minutes, and prints Google Benchmark's lines and then
// one table with the ratios between them. Every flag of Google Benchmark works;
// --benchmark_out=FILE keeps each repetition.
//
// Peers. All do the same work on buffers of 16 KiB, and none touches the
// buffers' memory:
//   tandem        a pool of 8192 with default options
//   thread_array  a thread_local array of pointers, bounds checked: the limit
//   rte_mempool   DPDK's pool, with a cache for each thread as large as
//                 Tandem's; it checks nothing
//   malloc        glibc's, set never to give memory back (its best)
//   tcmalloc      gperftools', and
//   jemalloc
//   mimalloc      likewise as they are installed, with their defaults
//   tbbmalloc     oneTBB's scalable_malloc, likewise
//   boost_stack   boost::lockfree::stack of addresses, for all threads
//   moodycamel    moodycamel::ConcurrentQueue, likewise, with tokens
//   mutex_list    one free list under a std::mutex
// and Tandem with one option changed, where one thread tells enough:
//   tandem_shared     as where there are no restartable sequences
//   tandem_unchecked  without the check for double release
//   tandem_uncached   without thread caches
// A peer that is not installed is left out; the end of the output says so.
//
// Scenarios, by what a user does:
//   one_buffer    takes one buffer and returns it
//   pair          takes two together and returns them together
//   session_pair  the same through a session (SessionBuffers)
//   batch_of_32   takes 32 together and returns them together
//   burst_of_64   takes 64 one by one, then returns them one by one
//   burst_of_512  likewise: as many as a thread caches
//   hand_off      one thread takes a buffer, another returns it
//   exhaustion    80 buffers for each thread, which wants 128: it takes them
//                 one by one; if it finds none left, it returns what it has and
//                 starts again
//   loop_32_of_512, and so on: the loop of DPDK's own test, mempool_perf: takes
//                 512 in bulks of 32, then returns them; see loop_names.h
//   stranding     a count: 15 threads take 512 each, return them, and sleep;
//                 how many does another thread get?
//   waiting       8 buffers, and more sessions than these are enough for: takes
//                 two, blocking the thread until it can; yields; returns them
//
// Method. Each figure is the median of 7 repetitions of at least 50 ms, or 300
// ms for exhaustion. The repetitions of all benchmarks run in random order, so
// that a slow moment of the machine does not affect one peer alone. The cost of
// an operation is processor time, for all threads together. So other programs
// on the machine do not count, and a thread that sleeps, for a lock or for
// buffers, costs nothing meanwhile. Scaling with threads, and exhaustion, are
// wall time.
//   A thread warms up before the clock runs: code, caches, the peer's state.
// The threads of one run stay on cores by turns; if there are more threads than
// cores, they share them. The process has had a second thread before the first
// run, as every server has: glibc omits locks in a process that never had one.
// Read-modify-writes are counted in a program of their own
// (throughput_counted.cc), because counting costs time.
//
// To repeat figures, use an idle machine (the end of the output tells how idle
// and how noisy it was), a fixed frequency (`cpupower frequency-set -g
// performance`), and on large machines one socket (`numactl -N 0 -m 0`).

#include <malloc.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "tandem/bench/allocators.h"
#include "tandem/bench/counted_run.h"
#include "tandem/bench/lock_free_lists.h"
#include "tandem/bench/measurement.h"
#include "tandem/bench/mempool.h"
#include "tandem/bench/plot.h"
#include "tandem/bench/scenarios.h"
#include "tandem/bench/summary.h"
#include "tandem/pool/snapshot.h"
#include "tandem/pool/types.h"

namespace tandem::bench {
namespace {

// Shows results as Google Benchmark would, but for the repetitions one by one,
// and keeps them for the summary.
class SummaryReporter : public benchmark::BenchmarkReporter {
 public:
  SummaryReporter(benchmark::BenchmarkReporter& display, Summary& summary)
      : display_(display), summary_(summary) {}

  bool ReportContext(const Context& context) override {
    return display_.ReportContext(context);
  }
  void ReportRuns(const std::vector<Run>& runs) override {
    std::vector<Run> shown;
    for (const Run& run : runs) {
      summary_.Add(run);
      if (run.run_type == Run::RT_Iteration ? run.repetitions <= 1
                                            : run.aggregate_name == "median") {
        shown.push_back(run);
      }
    }
    if (!shown.empty()) display_.ReportRuns(shown);
  }
  void Finalize() override { display_.Finalize(); }

 private:
  benchmark::BenchmarkReporter& display_;
  Summary& summary_;
};

void PrintHelp() {
  std::cout
      << "What a buffer costs: Tandem beside a thread's own array, DPDK's\n"
         "mempool, allocators, and a list under a mutex. Ends with a table "
         "and\n"
         "the ratios that are its goals.\n\n"
         "  bazel run -c opt //bench:throughput -- [flags]\n\n"
         "Names are <scenario>/<peer>: --benchmark_filter=hand_off/tandem.\n"
         "Set unless given: --benchmark_repetitions=7, --benchmark_min_time "
         "at\n"
         "0.05 s, --benchmark_enable_random_interleaving. --plot=FILE.svg "
         "draws\n"
         "times by threads, and the ratios of DPDK's loop. All flags:\n\n";
  benchmark::PrintDefaultHelp();
}

// The value of the last argument that begins with `flag`, which is taken out
// with all others that do; empty if there is none.
std::string TakeFlag(std::string_view flag, std::vector<char*>& arguments) {
  std::string value;
  std::erase_if(arguments, [&](std::string_view argument) {
    if (!argument.starts_with(flag)) return false;
    value = argument.substr(flag.size());
    // `bazel run` starts elsewhere.
    const char* const folder = std::getenv("BUILD_WORKING_DIRECTORY");
    if (folder != nullptr && !value.starts_with('/')) {
      value = absl::StrCat(folder, "/", value);
    }
    return true;
  });
  return value;
}

int Main(int argc, char** argv) {
  MakeRoomForAllocators(argv);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  std::thread([] {}).join();
  // First, so that flags of the same name override them.
  std::string interleaving = "--benchmark_enable_random_interleaving=true";
  std::string repetitions = "--benchmark_repetitions=7";
  std::string min_time = "--benchmark_min_time=0.05";
  if (kNewLibrary) min_time += "s";
  std::vector<char*> arguments = {argv[0], interleaving.data(),
                                  repetitions.data(), min_time.data()};
  arguments.insert(arguments.end(), argv + 1, argv + argc);
  const std::string plot = TakeFlag("--plot=", arguments);
  int count = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  benchmark::Initialize(&count, arguments.data(), PrintHelp);
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) {
    return EXIT_FAILURE;
  }

  RegisterTandem();
  RegisterPeers();
  std::vector<std::string> missing;
  RegisterAllocators(missing);
  RegisterMempool(missing);
  RegisterLockFreeLists(missing);
  const PoolSnapshot tandem = TandemNow();
  Summary summary({.cores = CoreCount(),
                   .biased = tandem.biased,
                   .batch = std::min((tandem.cache_limit + 1) / 2, kMaxBatch),
                   .missing = std::move(missing)});
  const auto& display = benchmark::CreateDefaultDisplayReporter();
  SummaryReporter reporter(*display, summary);
  benchmark::RunSpecifiedBenchmarks(&reporter);
  if (summary.empty()) return EXIT_SUCCESS;

  const absl::Status counted =
      AddCountedRuns(argv[0], benchmark::GetBenchmarkFilter(), summary);
  // What is piped on as JSON or CSV stays clean.
  const bool for_people =
      dynamic_cast<benchmark::ConsoleReporter*>(&*display) != nullptr;
  std::ostream& out = for_people ? std::cout : std::cerr;
  summary.Print(out);
  if (!plot.empty()) {
    std::ofstream file(plot);
    WritePlot(summary, file);
    if (!file.flush()) {
      std::cerr << "--plot=" << plot << " could not be written\n";
      return EXIT_FAILURE;
    }
  }
  if (!counted.ok()) {
    out << "Read-modify-writes were not counted: " << counted.message() << "\n";
  }
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace tandem::bench

int main(int argc, char** argv) { return tandem::bench::Main(argc, argv); }
