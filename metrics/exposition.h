#ifndef TANDEM_METRICS_EXPOSITION_H_
#define TANDEM_METRICS_EXPOSITION_H_

#if __cplusplus < 202002L
#error "Tandem needs C++20: compile with -std=c++20"
#endif

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tandem {

// A label of a metric. Prometheus allows letters, digits and _ in names, and
// any UTF-8 in values.
struct MetricLabel {
  std::string name;
  std::string value;
};
using MetricLabels = std::vector<MetricLabel>;

// The Content-Type of the text.
inline constexpr char kExpositionType[] =
    "text/plain; version=0.0.4; charset=utf-8";

// A text in Prometheus's exposition format 0.0.4, built family by family.
// Gauge, Counter or Histogram begins a family; each Add then adds one metric to
// it.
//
//   Exposition text;
//   text.Gauge("queue_length", "Jobs that wait.");
//   text.Add({{"queue", "mail"}}, 7);
//   return text.text();
//
// Threads: one at a time.
class Exposition {
 public:
  void Gauge(std::string_view name, std::string_view help);
  // Appends "_total" to the name.
  void Counter(std::string_view name, std::string_view help);
  void Histogram(std::string_view name, std::string_view help);

  void Add(const MetricLabels& labels, uint64_t value);
  void Add(const MetricLabels& labels, double value);
  // For a histogram family: counts[i] is the number of values that are at most
  // bounds[i] and above the previous bound. The last count, one more than there
  // are bounds, covers all other values. `sum` is the sum of all values.
  void Add(const MetricLabels& labels, std::span<const double> bounds,
           std::span<const uint64_t> counts, double sum);

  const std::string& text() const { return text_; }

 private:
  void Begin(std::string_view name, std::string_view type,
             std::string_view help);
  // Appends a line; `value` is its final text.
  void AddLine(std::string_view suffix, const MetricLabels& labels,
               std::string_view bound, std::string_view value);

  std::string family_;
  std::string text_;
};

}  // namespace tandem

#endif  // TANDEM_METRICS_EXPOSITION_H_
