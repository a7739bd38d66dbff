// Prometheus's exposition format 0.0.4, character by character.

#include "tandem/metrics/exposition.h"

#include <array>
#include <cstdint>
#include <limits>

#include "gtest/gtest.h"

namespace tandem {
namespace {

TEST(ExpositionTest, FamiliesHaveHelpTypeAndMetrics) {
  Exposition text;
  text.Gauge("queue_length", "Jobs that wait.");
  text.Add({}, uint64_t{7});
  text.Counter("jobs", "Jobs done.");
  text.Add({{"queue", "mail"}, {"host", "a"}},
           std::numeric_limits<uint64_t>::max());
  text.Add({{"queue", "print"}}, 0.5);
  EXPECT_EQ(text.text(),
            "# HELP queue_length Jobs that wait.\n"
            "# TYPE queue_length gauge\n"
            "queue_length 7\n"
            "# HELP jobs_total Jobs done.\n"
            "# TYPE jobs_total counter\n"
            "jobs_total{queue=\"mail\",host=\"a\"} 18446744073709551615\n"
            "jobs_total{queue=\"print\"} 0.5\n");
}

TEST(ExpositionTest, LabelsAndHelpTextsAreEscaped) {
  Exposition text;
  text.Gauge("g", "a \"b\" \\ c\nd");
  text.Add({{"pool", "a \"b\" \\ c\nd"}}, uint64_t{1});
  EXPECT_EQ(text.text(),
            "# HELP g a \"b\" \\\\ c\\nd\n"
            "# TYPE g gauge\n"
            "g{pool=\"a \\\"b\\\" \\\\ c\\nd\"} 1\n");
}

TEST(ExpositionTest, HistogramsAreCumulative) {
  Exposition text;
  text.Histogram("wait_seconds", "How long.");
  text.Add({{"class", "pair"}}, std::array{1e-06, 0.5},
           std::array<uint64_t, 3>{2, 0, 5}, 12.25);
  EXPECT_EQ(text.text(),
            "# HELP wait_seconds How long.\n"
            "# TYPE wait_seconds histogram\n"
            "wait_seconds_bucket{class=\"pair\",le=\"1e-06\"} 2\n"
            "wait_seconds_bucket{class=\"pair\",le=\"0.5\"} 2\n"
            "wait_seconds_bucket{class=\"pair\",le=\"+Inf\"} 7\n"
            "wait_seconds_sum{class=\"pair\"} 12.25\n"
            "wait_seconds_count{class=\"pair\"} 7\n");
}

TEST(ExpositionTest, NumbersThatAreNoneHavePrometheusNames) {
  Exposition text;
  text.Gauge("g", "h");
  text.Add({}, std::numeric_limits<double>::infinity());
  text.Add({}, -std::numeric_limits<double>::infinity());
  text.Add({}, std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(text.text(), "# HELP g h\n# TYPE g gauge\ng +Inf\ng -Inf\ng NaN\n");
}

}  // namespace
}  // namespace tandem
