#include "tandem/bench/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tandem/bench/loop_names.h"
#include "tandem/bench/names.h"
#include "tandem/bench/summary.h"

namespace tandem::bench {
namespace {

constexpr int kWidth = 1080;
constexpr int kHeight = 760;
constexpr std::string_view kInk = "#222222";
constexpr std::string_view kPale = "#dddddd";

struct Series {
  const char* peer;
  const char* label;
  std::string_view colour;  // told apart by the colour-blind (Okabe and Ito)
};
constexpr auto kSeries = std::to_array<Series>({
    {kTandem, "Tandem", "#d55e00"},
    {kTandemUnchecked, "Tandem, no check", "#e69f00"},
    {kThreadArray, "array of the thread", "#999999"},
    {kMempool, "rte_mempool", "#0072b2"},
    {kTcmalloc, "tcmalloc", "#009e73"},
    {kMimalloc, "mimalloc", "#56b4e9"},
    {kJemalloc, "jemalloc", "#cc79a7"},
    {kMalloc, "glibc malloc", "#7a5c00"},
    {kMutexList, "list under a mutex", "#000000"},
});

struct Panel {
  const char* scenario;
  const char* title;
};
constexpr auto kPanels = std::to_array<Panel>({
    {kOneBuffer, "one buffer"},
    {kBatch, "32 together"},
    {kBurst, "64 one by one"},
});
constexpr std::array kThreadCounts = {1, 2, 4, 8, 16};

std::string Text(double x, double y, std::string_view text, int size = 13,
                 std::string_view anchor = "middle",
                 std::string_view colour = kInk) {
  return absl::StrFormat(
      "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%d\" text-anchor=\"%s\" "
      "fill=\"%s\">%s</text>\n",
      x, y, size, anchor, colour, text);
}

std::string Line(double x1, double y1, double x2, double y2,
                 std::string_view colour, double width) {
  return absl::StrFormat(
      "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" "
      "stroke-width=\"%.1f\"/>\n",
      x1, y1, x2, y2, colour, width);
}

// One panel: nanoseconds, on a logarithmic scale, over threads.
class TimeChart {
 public:
  TimeChart(const Summary& summary, const Panel& panel, double left)
      : summary_(summary), panel_(panel), left_(left) {}

  std::string Draw() const {
    double least = 1e9;
    double most = 0;
    for (const Series& series : kSeries) {
      for (const int threads : kThreadCounts) {
        if (const auto nanos = At(series, threads)) {
          least = std::min(least, *nanos);
          most = std::max(most, *nanos);
        }
      }
    }
    if (most == 0) return "";
    const int low = static_cast<int>(std::floor(std::log10(least)));
    const int high = static_cast<int>(std::ceil(std::log10(most)));
    const auto y = [&](double nanos) {
      return kBottom - (std::log10(nanos) - low) / std::max(high - low, 1) *
                           (kBottom - kTop);
    };
    std::string svg =
        Text(left_ + kPanelWidth / 2, kTop - 12, panel_.title, 15);
    for (int power = low; power <= high; ++power) {
      const double nanos = std::pow(10, power);
      absl::StrAppend(
          &svg, Line(left_, y(nanos), left_ + kPanelWidth, y(nanos), kPale, 1),
          Text(left_ - 6, y(nanos) + 4, absl::StrFormat("%g", nanos), 12,
               "end"));
    }
    for (size_t i = 0; i < kThreadCounts.size(); ++i) {
      absl::StrAppend(&svg,
                      Text(X(i), kBottom + 18, absl::StrCat(kThreadCounts[i])));
    }
    // Backwards, so that Tandem is drawn on top.
    for (size_t i = kSeries.size(); i-- > 0;) {
      absl::StrAppend(&svg, Draw(kSeries[i], y));
    }
    return svg;
  }

  static constexpr double kTop = 90;
  static constexpr double kBottom = 330;
  static constexpr double kPanelWidth = 215;

 private:
  std::optional<double> At(const Series& series, int threads) const {
    return summary_.Nanos({panel_.scenario, series.peer, threads});
  }
  double X(size_t i) const {
    return left_ + 12 +
           (kPanelWidth - 24) * static_cast<double>(i) /
               (kThreadCounts.size() - 1);
  }

  template <class Y>
  std::string Draw(const Series& series, Y y) const {
    std::string points;
    std::string svg;
    for (size_t i = 0; i < kThreadCounts.size(); ++i) {
      const auto nanos = At(series, kThreadCounts[i]);
      if (!nanos) continue;
      absl::StrAppendFormat(&points, "%.1f,%.1f ", X(i), y(*nanos));
      absl::StrAppendFormat(
          &svg, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", X(i),
          y(*nanos), series.colour);
    }
    return absl::StrFormat(
               "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" "
               "stroke-width=\"%s\"/>\n",
               points, series.colour, series.peer == kTandem ? "3" : "1.6") +
           svg;
  }

  const Summary& summary_;
  const Panel& panel_;
  const double left_;
};

// Blue if Tandem does more than rte_mempool, orange if less, white if as much.
// A factor of 4 has the full colour.
std::string CellColour(double ratio) {
  const double share = std::clamp(std::log2(ratio) / 2, -1.0, 1.0);
  const auto mix = [&](int full) {
    return static_cast<int>(std::lround(255 + (full - 255) * std::abs(share)));
  };
  return share >= 0
             ? absl::StrFormat("#%02x%02x%02x", mix(86), mix(160), mix(233))
             : absl::StrFormat("#%02x%02x%02x", mix(230), mix(130), mix(40));
}

// Draws the ratios for one number of threads.
std::string DrawGrid(const Summary& summary, const char* peer, int threads,
                     double left, double top) {
  constexpr double kCellWidth = 32.5;
  constexpr double kCellHeight = 23;
  const double right = left + kCellWidth * kLoopBulks.size();
  std::string svg;
  for (size_t row = 0; row < kLoopKeeps.size(); ++row) {
    const double y = top + kCellHeight * static_cast<double>(row);
    for (size_t column = 0; column < kLoopBulks.size(); ++column) {
      const auto ratio =
          summary.LoopRatio(peer, kLoopBulks[column], kLoopKeeps[row], threads);
      if (!ratio) continue;
      const double x = left + kCellWidth * static_cast<double>(column);
      absl::StrAppendFormat(
          &svg,
          "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
          "fill=\"%s\" stroke=\"white\"/>\n",
          x, y, kCellWidth, kCellHeight, CellColour(*ratio));
      absl::StrAppend(
          &svg,
          Text(x + kCellWidth / 2, y + kCellHeight / 2 + 4,
               absl::StrFormat(*ratio < 9.95 ? "%.1f" : "%.0f", *ratio), 12));
    }
    absl::StrAppend(&svg, Text(left - 6, y + kCellHeight / 2 + 4,
                               absl::StrCat(kLoopKeeps[row]), 12, "end"));
  }
  if (svg.find("<rect") == std::string::npos) return "";
  const double bottom = top + kCellHeight * kLoopKeeps.size();
  for (size_t column = 0; column < kLoopBulks.size(); ++column) {
    absl::StrAppend(
        &svg, Text(left + kCellWidth * (static_cast<double>(column) + 0.5),
                   bottom + 16, absl::StrCat(kLoopBulks[column]), 12));
  }
  return absl::StrCat(
      svg, Text((left + right) / 2, top - 8,
                absl::StrCat(threads, threads == 1 ? " thread" : " threads",
                             peer == kTandem ? ", with the misuse check"
                                             : ", without the check"),
                13));
}

}  // namespace

void WritePlot(const Summary& summary, std::ostream& out) {
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
      "viewBox=\"0 0 %d %d\" font-family=\"sans-serif\">\n"
      "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
      kWidth, kHeight, kWidth, kHeight);
  absl::StrAppend(&svg, Text(30, 32,
                             "Nanoseconds of processor time to take and "
                             "return, by threads",
                             18, "start"));
  double left = 60;
  for (const Panel& panel : kPanels) {
    absl::StrAppend(&svg, TimeChart(summary, panel, left).Draw());
    left += TimeChart::kPanelWidth + 60;
  }
  double y = TimeChart::kTop + 10;
  for (const Series& series : kSeries) {
    const bool shown =
        std::any_of(kPanels.begin(), kPanels.end(), [&](const Panel& panel) {
          return summary.Nanos({panel.scenario, series.peer, 1}).has_value();
        });
    if (!shown) continue;
    absl::StrAppend(&svg,
                    Line(left - 25, y - 4, left - 3, y - 4, series.colour,
                         series.peer == kTandem ? 4 : 2),
                    Text(left + 3, y, series.label, 13, "start"));
    y += 22;
  }
  std::string grids;
  for (size_t row = 0; row < 2; ++row) {
    const char* const peer = row == 0 ? kTandemUnchecked : kTandem;
    for (size_t column = 0; column < kLoopThreads.size(); ++column) {
      absl::StrAppend(&grids, DrawGrid(summary, peer, kLoopThreads[column],
                                       90 + 290 * static_cast<double>(column),
                                       435 + 170 * static_cast<double>(row)));
    }
  }
  if (!grids.empty()) {
    absl::StrAppend(
        &svg,
        Text(
            30, 385,
            "DPDK's loop, mempool_perf: buffers a second, Tandem / rte_mempool",
            18, "start"),
        grids);
    double line = 470;
    for (const char* text : {"Each thread keeps so many buffers (rows),",
                             "which it takes and returns in bulks of so",
                             "many (columns). Caches of 512 for both.",
                             "Blue: Tandem does more; orange: less."}) {
      absl::StrAppend(&svg, Text(690, line, text, 13, "start"));
      line += 20;
    }
  }
  out << svg << "</svg>\n";
}

}  // namespace tandem::bench
