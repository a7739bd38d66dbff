#include "tandem/bench/summary.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "benchmark/benchmark.h"
#include "tandem/bench/measurement.h"
#include "tandem/bench/names.h"

namespace tandem::bench {
namespace {

using Run = benchmark::BenchmarkReporter::Run;

// With a smaller part of the cores, wall time says little.
constexpr double kIdleShare = 0.95;

// The value that a share of all values is below. Requires some.
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

// Three digits that count, or as many as are before the point.
std::string Number(std::optional<double> value) {
  if (!value) return "-";
  const int decimals = *value < 9.995 ? 2 : *value < 99.95 ? 1 : 0;
  return absl::StrFormat("%.*f", decimals, *value);
}

std::string Words(const std::string& name) {
  return absl::StrReplaceAll(name, {{"_", " "}});
}

// A ratio that people ask for, and how it should be.
std::string Goal(const char* what, std::optional<double> value, double limit,
                 bool at_most, bool judged = true) {
  if (!value) return "";
  const bool met = at_most ? *value <= limit : *value >= limit;
  return absl::StrFormat("  %-24s %5s   goal: at %s %g, %s\n", what,
                         Number(value), at_most ? "most" : "least", limit,
                         met      ? "met"
                         : judged ? "MISSED"
                                  : "but other programs took the cores");
}

}  // namespace

RunKey KeyOf(const std::string& name, int threads) {
  const size_t slash = name.find('/');
  return {.scenario = name.substr(0, slash),
          .peer = slash == std::string::npos ? "" : name.substr(slash + 1),
          .threads = threads};
}

void Summary::Add(const Run& run) {
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
  measured.rates.push_back(rate->second.value);
  measured.nanos.push_back(nanos->second.value);
  if (const auto waits = run.counters.find(kWaits);
      waits != run.counters.end()) {
    waits_[key] = waits->second.value;
  }
}

std::optional<double> Summary::Nanos(const RunKey& key) const {
  const auto found = measured_.find(key);
  if (found == measured_.end()) return std::nullopt;
  return Quantile(found->second.nanos, 0.5);
}

std::optional<double> Summary::Speedup(const RunKey& key) const {
  const auto many = measured_.find(key);
  const auto one = measured_.find({key.scenario, key.peer, 1});
  if (many == measured_.end() || one == measured_.end()) return std::nullopt;
  return Quantile(many->second.rates, 0.5) / Quantile(one->second.rates, 0.5);
}

double Summary::ShareOfCores() const {
  std::vector<double> shares;
  for (const auto& [key, measured] : measured_) {
    if (key.peer != kThreadArray && key.threads != 1) continue;
    shares.push_back(Quantile(measured.nanos, 0.5) * 1e-9 *
                     Quantile(measured.rates, 0.5) /
                     std::min(key.threads, cores_));
  }
  return shares.empty() ? 1 : Quantile(shares, 0.5);
}

std::optional<double> Summary::Noise() const {
  std::vector<double> spreads;
  for (const auto& [key, measured] : measured_) {
    if (measured.nanos.size() < 2) continue;
    spreads.push_back(
        (Quantile(measured.nanos, 0.75) - Quantile(measured.nanos, 0.25)) / 2 /
        Quantile(measured.nanos, 0.5));
  }
  if (spreads.empty()) return std::nullopt;
  return Quantile(spreads, 0.5);
}

void Summary::Print(std::ostream& out) const {
  out << "\nTandem beside its peers. An operation takes and returns what it is "
         "named after.\n"
         "ns:      processor time of an operation, median of all repetitions\n"
         "x 1 thr: operations per second over those of one thread, on "
      << cores_
      << " cores\n"
         "RMW:     atomic read-modify-writes of an operation, on words that "
         "threads share\n         and on a word of the thread's own\n\n";
  PrintTable(out);
  PrintGoals(out);
  PrintRemarks(out);
}

void Summary::PrintTable(std::ostream& out) const {
  constexpr char kFormat[] =
      "%-14s %7s  %7s %7s %7s %7s  %7s %7s %7s %7s  %6s %6s\n";
  out << absl::StrFormat(kFormat, "", "", "tandem", "array", "malloc", "mutex",
                         "tandem", "malloc", "mutex", "tandem", "shared",
                         "own");
  out << absl::StrFormat(kFormat, "operation", "threads", "ns", "ns", "ns",
                         "ns", "/array", "/tandem", "/tandem", "x 1 thr", "RMW",
                         "RMW");
  for (const std::string scenario : kScenarios) {
    std::set<int> threads;
    for (const auto& [key, measured] : measured_) {
      if (key.scenario == scenario) threads.insert(key.threads);
    }
    for (const int count : threads) {
      const auto nanos = [&](const char* peer) {
        return Nanos({scenario, peer, count});
      };
      const RunKey key = {scenario, kTandem, count};
      const auto tandem = nanos(kTandem);
      const auto rmw = rmw_.find(key);
      const auto rmw_text = [&](double RmwPerOperation::*which) {
        return rmw == rmw_.end() ? "-"
                                 : absl::StrFormat("%.2f", rmw->second.*which);
      };
      out << absl::StrFormat(
          kFormat, count == *threads.begin() ? Words(scenario) : "",
          absl::StrCat(count), Number(tandem), Number(nanos(kThreadArray)),
          Number(nanos(kMalloc)), Number(nanos(kMutexList)),
          Number(Ratio(tandem, nanos(kThreadArray))),
          Number(Ratio(nanos(kMalloc), tandem)),
          Number(Ratio(nanos(kMutexList), tandem)),
          Number(count == 1 ? std::nullopt : Speedup(key)),
          rmw_text(&RmwPerOperation::shared), rmw_text(&RmwPerOperation::own));
    }
  }
}

void Summary::PrintGoals(std::ostream& out) const {
  const auto one = Nanos({kOneBuffer, kTandem, 1});
  const std::string goals = absl::StrCat(
      Goal("tandem / array", Ratio(one, Nanos({kOneBuffer, kThreadArray, 1})),
           5, true),
      Goal("malloc / tandem", Ratio(Nanos({kOneBuffer, kMalloc, 1}), one), 1,
           false),
      Goal("pair / one buffer", Ratio(Nanos({kPair, kTandem, 1}), one), 1.3,
           true),
      Goal("two threads x one",
           cores_ > 1 ? Speedup({kOneBuffer, kTandem, 2}) : std::nullopt, 1.9,
           false, ShareOfCores() >= kIdleShare));
  if (goals.empty()) return;
  out << "\nOne 16 KiB buffer, one thread unless said otherwise:\n" << goals;
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
  if (!biased_) {
    out << "No restartable sequences here: Tandem uses compare-and-swap.\n";
  } else if (const std::string shared = OneThread(kTandemShared);
             !shared.empty()) {
    out << "Where there are no restartable sequences: " << shared << ".\n";
  }
  if (const std::string unchecked = OneThread(kTandemUnchecked);
      !unchecked.empty()) {
    out << "Without the check for double release: " << unchecked << ".\n";
  }
  for (const auto& [key, waits] : waits_) {
    out << absl::StrFormat("waiting, %d threads, %s: %.0f %% had to wait.\n",
                           key.threads, Words(key.peer), 100 * waits);
  }
  if (const auto noise = Noise()) {
    out << absl::StrFormat(
        "Half of the repetitions lie within %.1f %% of their median; runs got "
        "%.0f %% of the cores.\n",
        100 * *noise, 100 * ShareOfCores());
  }
  out << "-: not measured, or can't be done: an array of one thread's own can "
         "neither hand over\n   nor wait, and malloc has no bound to wait "
         "at.\n";
}

}  // namespace tandem::bench
