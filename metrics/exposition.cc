#include "tandem/metrics/exposition.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>

namespace tandem {
namespace {

template <class Number>
std::string ToText(Number number) {
  if constexpr (std::is_floating_point_v<Number>) {
    if (std::isinf(number)) return number > 0 ? "+Inf" : "-Inf";
    if (std::isnan(number)) return "NaN";
  }
  std::array<char, 32> text;
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), number).ptr;
  return {text.data(), end};
}

// Prometheus's escapes: label values escape all three characters, help texts do
// not escape the quotation mark.
void AppendEscaped(std::string& to, std::string_view text, bool quoted) {
  for (const char c : text) {
    if (c == '\n') {
      to += "\\n";
      continue;
    }
    if (c == '\\' || (quoted && c == '"')) to += '\\';
    to += c;
  }
}

}  // namespace

void Exposition::Begin(std::string_view name, std::string_view type,
                       std::string_view help) {
  family_ = name;
  ((text_ += "# HELP ") += name) += ' ';
  AppendEscaped(text_, help, false);
  ((((text_ += "\n# TYPE ") += name) += ' ') += type) += '\n';
}

void Exposition::Gauge(std::string_view name, std::string_view help) {
  Begin(name, "gauge", help);
}

void Exposition::Counter(std::string_view name, std::string_view help) {
  Begin(std::string(name) + "_total", "counter", help);
}

void Exposition::Histogram(std::string_view name, std::string_view help) {
  Begin(name, "histogram", help);
}

void Exposition::AddLine(std::string_view suffix, const MetricLabels& labels,
                         std::string_view bound, std::string_view value) {
  (text_ += family_) += suffix;
  char before = '{';
  const auto add_label = [&](std::string_view name, std::string_view text) {
    ((text_ += before) += name) += "=\"";
    AppendEscaped(text_, text, true);
    text_ += '"';
    before = ',';
  };
  for (const MetricLabel& label : labels) add_label(label.name, label.value);
  if (!bound.empty()) add_label("le", bound);
  if (before == ',') text_ += '}';
  ((text_ += ' ') += value) += '\n';
}

void Exposition::Add(const MetricLabels& labels, uint64_t value) {
  AddLine("", labels, "", ToText(value));
}

void Exposition::Add(const MetricLabels& labels, double value) {
  AddLine("", labels, "", ToText(value));
}

void Exposition::Add(const MetricLabels& labels, std::span<const double> bounds,
                     std::span<const uint64_t> counts, double sum) {
  uint64_t count = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    count += counts[i];
    AddLine("_bucket", labels, i < bounds.size() ? ToText(bounds[i]) : "+Inf",
            ToText(count));
  }
  AddLine("_sum", labels, "", ToText(sum));
  AddLine("_count", labels, "", ToText(count));
}

}  // namespace tandem
