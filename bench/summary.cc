#include "tandem/bench/summary.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <ostream>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "benchmark/benchmark.h"
#include "tandem/bench/loop_names.h"
#include "tandem/bench/measurement.h"
#include "tandem/bench/names.h"
#include "tandem/bench/peers.h"

namespace tandem::bench {
namespace {

using Run = benchmark::BenchmarkReporter::Run;

// With a smaller share of the cores, wall time says little.
constexpr double kIdleShare = 0.95;

// The value below which that share of all values lies. Requires at least
// one value.
double Quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const double at = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] +
         (at - static_cast<double>(below)) * (values[above] - values[below]);
}

std::optional<double> Ratio(std::optional<double> a, std::optional<double> b) {
  if (!a || !b) return std::nullopt;
  return *a / *b;
}

// Three significant digits, or as many as stand before the point.
std::string Number(std::optional<double> value) {
  if (!value) return "-";
  const int decimals = *value < 9.995 ? 2 : *value < 99.95 ? 1 : 0;
  return absl::StrFormat("%.*f", decimals, *value);
}

std::string Words(const std::string& name) {
  return absl::StrReplaceAll(name, {{"_", " "}});
}

std::optional<double> Times(std::optional<double> value, double factor) {
  if (!value) return std::nullopt;
  return *value * factor;
}

// What a ratio should be.
struct Goal {
  enum Kind { kAtMost, kBelow, kAtLeast, kNone } kind;
  double limit = 0;
};

// The line for a ratio, empty if it was not measured. If the ratio says little,
// `excuse` says why.
std::string Line(const std::string& what, std::optional<double> value,
                 Goal goal, const char* excuse = nullptr) {
  if (!value) return "";
  if (goal.kind == Goal::kNone) {
    return absl::StrFormat("  %-44s %5s\n", what, Number(value));
  }
  const bool met = goal.kind == Goal::kAtMost    ? *value <= goal.limit
                   : goal.kind == Goal::kAtLeast ? *value >= goal.limit
                                                 : *value < goal.limit;
  constexpr std::array kWords = {"at most", "below", "at least"};
  return absl::StrFormat("  %-44s %5s   goal: %s %g, %s\n", what, Number(value),
                         kWords[goal.kind], goal.limit,
                         met                 ? "met"
                         : excuse != nullptr ? excuse
                                             : "MISSED");
}

}  // namespace

RunKey KeyOf(const std::string& name, int threads) {
  const size_t slash = name.find('/');
  return {.scenario = name.substr(0, slash),
          .peer = slash == std::string::npos ? "" : name.substr(slash + 1),
          .threads = threads};
}

void Summary::Add(const Run& run) {
  if (const auto reached = run.counters.find(kReached);
      reached != run.counters.end() && run.run_type == Run::RT_Iteration) {
    const std::pair<double, double> found = {
        reached->second.value, run.counters.at(kBuffersInAll).value};
    const auto [least, first] =
        reached_.try_emplace(KeyOf(run.run_name.function_name, 1).peer, found);
    if (!first) least->second = std::min(least->second, found);
    return;
  }
  const auto rate = run.counters.find(kRate);
  const auto nanos = run.counters.find(kProcessorNanos);
  if (rate == run.counters.end() || nanos == run.counters.end()) return;
  const RunKey key =
      KeyOf(run.run_name.function_name, static_cast<int>(run.threads));
  if (run.run_type == Run::RT_Aggregate &&
      (run.aggregate_name != "median" || measured_.count(key) != 0)) {
    return;
  }
  Measured& measured = measured_[key];
  for (const auto& [name, counter] : run.counters) {
    measured[name].push_back(counter.value);
  }
}

std::optional<double> Summary::Median(const RunKey& key,
                                      const std::string& counter) const {
  const auto found = measured_.find(key);
  if (found == measured_.end()) return std::nullopt;
  const auto values = found->second.find(counter);
  if (values == found->second.end()) return std::nullopt;
  return Quantile(values->second, 0.5);
}

std::optional<double> Summary::Nanos(const RunKey& key) const {
  return Median(key, kProcessorNanos);
}

std::optional<double> Summary::Rate(const RunKey& key) const {
  return Median(key, kRate);
}

std::optional<double> Summary::Speedup(const RunKey& key) const {
  return Ratio(Rate(key), Rate({key.scenario, key.peer, 1}));
}

std::optional<double> Summary::SharedRmw(const char* scenario) const {
  std::optional<double> worst;
  for (const auto& [key, rmw] : rmw_) {
    if (key.scenario == scenario)
      worst = std::max(worst.value_or(0), rmw.shared);
  }
  return worst;
}

double Summary::ShareOfCores() const {
  std::vector<double> shares;
  for (const auto& [key, measured] : measured_) {
    if (key.peer != kThreadArray && key.threads != 1) continue;
    shares.push_back(*Nanos(key) * 1e-9 * *Rate(key) /
                     std::min(key.threads, circumstances_.cores));
  }
  return shares.empty() ? 1 : Quantile(shares, 0.5);
}

std::optional<double> Summary::Noise() const {
  std::vector<double> spreads;
  for (const auto& [key, measured] : measured_) {
    const std::vector<double>& nanos = measured.at(kProcessorNanos);
    if (nanos.size() < 2) continue;
    spreads.push_back((Quantile(nanos, 0.75) - Quantile(nanos, 0.25)) / 2 /
                      Quantile(nanos, 0.5));
  }
  if (spreads.empty()) return std::nullopt;
  return Quantile(spreads, 0.5);
}

void Summary::Print(std::ostream& out) const {
  out << "\nTandem beside its peers: nanoseconds of processor time for an "
         "operation, all\nthreads together, median of all repetitions. An "
         "operation takes and returns what\nit is named after.\n"
         "no check: Tandem without the check for double release\n"
         "x 1 thr:  Tandem's operations per second over those of one thread, "
         "on "
      << circumstances_.cores
      << " cores\n"
         "RMW:      Tandem's atomic read-modify-writes of an operation, on "
         "words that threads\n          share and on a word of the thread's "
         "own\n\n";
  PrintTable(out);
  PrintMempoolLoop(out);
  PrintStranding(out);
  PrintGoals(out);
  PrintRemarks(out);
}

void Summary::PrintTable(std::ostream& out) const {
  struct Column {
    const char* title;
    const char* peer;
  };
  constexpr auto kColumns = std::to_array<Column>({
      {"tandem", kTandem},
      {"no check", kTandemUnchecked},
      {"array", kThreadArray},
      {"mempool", kMempool},
      {"malloc", kMalloc},
      {"tcmalloc", kTcmalloc},
      {"jemalloc", kJemalloc},
      {"mimalloc", kMimalloc},
      {"tbb", kTbbmalloc},
      {"boost", kBoostStack},
      {"moodycml", kMoodycamel},
      {"mutex", kMutexList},
      {"fair", kFairList},
  });
  out << absl::StrFormat("%-12s %7s", "", "threads");
  for (const Column& column : kColumns) {
    out << absl::StrFormat(" %8s", column.title);
  }
  out << absl::StrFormat("  %7s %7s %7s\n", "x 1 thr", "RMW", "own RMW");
  for (const std::string scenario : kScenarios) {
    std::set<int> threads;
    for (const auto& [key, measured] : measured_) {
      if (key.scenario == scenario) threads.insert(key.threads);
    }
    for (const int count : threads) {
      out << absl::StrFormat(
          "%-12s %7d", count == *threads.begin() ? Words(scenario) : "", count);
      for (const Column& column : kColumns) {
        out << absl::StrFormat(" %8s",
                               Number(Nanos({scenario, column.peer, count})));
      }
      const RunKey key = {scenario, kTandem, count};
      const auto rmw = rmw_.find(key);
      const auto rmw_text = [&](double RmwPerOperation::*which) {
        return rmw == rmw_.end() ? "-"
                                 : absl::StrFormat("%.2f", rmw->second.*which);
      };
      out << absl::StrFormat(
          "  %7s %7s %7s\n", Number(count == 1 ? std::nullopt : Speedup(key)),
          rmw_text(&RmwPerOperation::shared), rmw_text(&RmwPerOperation::own));
    }
  }
}

void Summary::PrintStranding(std::ostream& out) const {
  if (reached_.empty()) return;
  out << "\nStranding: the buffers that one thread gets, of all that there "
         "are, while\nfifteen others sleep that have used "
      << kCachedBuffers << " each:\n";
  for (const auto& [peer, found] : reached_) {
    out << absl::StrFormat("  %-12s %5.0f of %5.0f\n", Words(peer), found.first,
                           found.second);
  }
}

std::optional<double> Summary::LoopRatio(const char* peer, size_t bulk,
                                         size_t keep, int threads) const {
  const std::string name = LoopName(bulk, keep);
  return Ratio(Rate({name, peer, threads}), Rate({name, kMempool, threads}));
}

void Summary::PrintMempoolLoop(std::ostream& out) const {
  if (!LeastLoopRatio(kTandemUnchecked, kLoopBulks, kLoopKeeps)) return;
  out << "\nDPDK's loop, mempool_perf: threads keep so many buffers, which "
         "they "
         "take and return\nin bulks. Buffers a second, Tandem without the "
         "check "
         "/ rte_mempool, and with it:\n\n"
      << absl::StrFormat("%-7s %7s", "threads", "keep");
  for (const size_t bulk : kLoopBulks) {
    out << absl::StrFormat("   bulk %4d", bulk);
  }
  for (const int threads : kLoopThreads) {
    for (const size_t keep : kLoopKeeps) {
      out << absl::StrFormat("\n%7d %7d", threads, keep);
      for (const size_t bulk : kLoopBulks) {
        out << absl::StrFormat(
            "  %4s %4s",
            Number(LoopRatio(kTandemUnchecked, bulk, keep, threads)),
            Number(LoopRatio(kTandem, bulk, keep, threads)));
      }
    }
  }
  out << "\n";
}

std::optional<double> Summary::LeastLoopRatio(
    const char* peer, std::span<const size_t> bulks,
    std::span<const size_t> keeps) const {
  std::optional<double> least;
  for (const int threads : kLoopThreads) {
    for (const size_t keep : keeps) {
      for (const size_t bulk : bulks) {
        if (const auto ratio = LoopRatio(peer, bulk, keep, threads)) {
          least = std::min(least.value_or(*ratio), *ratio);
        }
      }
    }
  }
  return least;
}

void Summary::PrintGoals(std::ostream& out) const {
  const auto nanos = [&](const char* scenario, const char* peer,
                         int threads = 1) {
    return Nanos({scenario, peer, threads});
  };
  const auto one = nanos(kOneBuffer, kTandem);
  const auto pair = nanos(kPair, kTandem);
  const auto batch = nanos(kBatch, kTandem);
  const auto mempool = nanos(kBatch, kMempool);
  std::optional<double> hot;
  for (const char* scenario :
       {kOneBuffer, kPair, kSessionPair, kBatch, kBurst}) {
    if (const auto rmw = SharedRmw(scenario)) {
      hot = std::max(hot.value_or(0), *rmw);
    }
  }
  // A burst takes each of its buffers and returns it.
  const auto burst =
      Times(SharedRmw(kBigBurst), circumstances_.batch / (2.0 * kBigBurstSize));

  std::string lines = absl::StrCat(
      Line("one buffer: tandem / array",
           Ratio(one, nanos(kOneBuffer, kThreadArray)), {Goal::kAtMost, 1.5}),
      Line("pair: tandem / array", Ratio(pair, nanos(kPair, kThreadArray)),
           {Goal::kAtMost, 1.5}),
      Line("pair / one buffer", Ratio(pair, one), {Goal::kAtMost, 1.3}),
      Line("batch of 32: a buffer / one buffer",
           Ratio(Times(batch, 1.0 / kBatchSize), one), {Goal::kAtMost, 0.5}),
      Line("batch of 32: tandem / mempool", Ratio(batch, mempool),
           {Goal::kNone}),
      Line("batch of 32: tandem, no check / mempool",
           Ratio(nanos(kBatch, kTandemUnchecked), mempool),
           {Goal::kAtMost, 1}));
  for (const char* peer :
       {kMalloc, kTcmalloc, kJemalloc, kMimalloc, kTbbmalloc}) {
    absl::StrAppend(&lines, Line(absl::StrCat("one buffer: tandem / ", peer),
                                 Ratio(one, nanos(kOneBuffer, peer)),
                                 peer == kMalloc ? Goal{Goal::kAtMost, 1}
                                                 : Goal{Goal::kNone}));
  }
  for (const char* peer : {kTcmalloc, kJemalloc, kMimalloc, kTbbmalloc,
                           kBoostStack, kMoodycamel, kMempool}) {
    absl::StrAppend(
        &lines,
        Line(absl::StrCat("hand off, 2 threads: tandem / ", peer),
             Ratio(nanos(kHandOff, kTandem, 2), nanos(kHandOff, peer, 2)),
             peer == kMempool ? Goal{Goal::kNone} : Goal{Goal::kBelow, 1}));
  }
  absl::StrAppend(
      &lines,
      Line("one buffer: two threads x one",
           circumstances_.cores > 1 ? Speedup({kOneBuffer, kTandem, 2})
                                    : std::nullopt,
           {Goal::kAtLeast, 1.9},
           ShareOfCores() < kIdleShare ? "but other programs took the cores"
                                       : nullptr),
      Line("shared RMW, where caches serve", hot, {Goal::kAtMost, 0}),
      Line(absl::StrCat("shared RMW in bursts, x batch of ",
                        circumstances_.batch),
           burst, {Goal::kAtMost, 2}));
  for (const int threads : {2, 8}) {
    absl::StrAppend(&lines,
                    Line(absl::StrCat("exhaustion, ", threads,
                                      " threads: caches x without"),
                         Ratio(Rate({kExhaustion, kTandem, threads}),
                               Rate({kExhaustion, kTandemUncached, threads})),
                         {Goal::kAtLeast, 1}));
  }
  const std::span keeps(kLoopKeeps);
  absl::StrAppend(
      &lines,
      Line("loop, keeps to 1,024: no check / mempool, least",
           LeastLoopRatio(kTandemUnchecked, kLoopBulks, keeps.first(4)),
           {Goal::kAtLeast, 1}),
      Line("loop, keep of 2,048: no check / mempool, least",
           LeastLoopRatio(kTandemUnchecked, kLoopBulks, keeps.last(1)),
           {Goal::kAtLeast, 0.8}),
      Line("loop: tandem / mempool, least",
           LeastLoopRatio(kTandem, kLoopBulks, kLoopKeeps),
           {Goal::kAtLeast, 0.4}),
      Line("loop, one by one: tandem / mempool, least",
           LeastLoopRatio(kTandem, std::span(kLoopBulks).first(1), kLoopKeeps),
           {Goal::kAtLeast, 0.9}));
  if (lines.empty()) return;
  out << "\nOne thread unless said otherwise:\n" << lines;
}

std::string Summary::OneThread(const char* peer) const {
  std::string text;
  for (const char* scenario : kScenarios) {
    const auto nanos = Nanos({scenario, peer, 1});
    if (!nanos) continue;
    absl::StrAppend(&text, text.empty() ? "" : ", ", Words(scenario), " ",
                    Number(nanos), " ns");
  }
  return text;
}

void Summary::PrintRemarks(std::ostream& out) const {
  out << "\n";
  if (!circumstances_.biased) {
    out << "No restartable sequences here: Tandem uses compare-and-swap.\n";
  } else if (const std::string shared = OneThread(kTandemShared);
             !shared.empty()) {
    out << "Where there are no restartable sequences: " << shared << ".\n";
  }
  for (const auto& [key, measured] : measured_) {
    if (const auto waits = Median(key, kWaits)) {
      out << absl::StrFormat("waiting, %d threads, %s: %.0f %% had to wait.\n",
                             key.threads, Words(key.peer), 100 * *waits);
      if (const auto rmw = rmw_.find(key); rmw != rmw_.end()) {
        const auto& [shared, own, swaps, failed] = rmw->second;
        out << absl::StrFormat(
            "  %.2f shared RMW: %.2f compare-and-swaps, of which %.2f failed; "
            "%.2f additions and exchanges.\n",
            shared, swaps, failed, shared - swaps);
      }
    }
    if (const auto failures = Median(key, kFailures)) {
      out << absl::StrFormat(
          "exhaustion, %d threads, %s: %.0f rounds of %d buffers, %.0f "
          "failures and %.0f membarriers a second.\n",
          key.threads, Words(key.peer), *Rate(key), kWanted,
          *failures * *Rate(key), *Median(key, kBarriers) * *Rate(key));
    }
  }
  if (const auto rate = Rate({kContendedLine, kWord, 2})) {
    out << absl::StrFormat(
        "A cache line moves from one core to another in %s ns here.\n",
        Number(1e9 / *rate));
  }
  for (const std::string& line : circumstances_.missing) {
    out << "Left out: " << line << ".\n";
  }
  if (const auto noise = Noise()) {
    out << absl::StrFormat(
        "Half of the repetitions lie within %.1f %% of their median; runs got "
        "%.0f %% of the cores.\n",
        100 * *noise, 100 * ShareOfCores());
  }
  out << "-: not measured, or can't be done: an array of one thread's own can "
         "neither hand over\n   nor wait, and allocators have no bound to wait "
         "at.\n";
}

}  // namespace tandem::bench
