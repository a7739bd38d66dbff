// E7: metrics of any number of pools and session layers.

#include "tandem/metrics/prometheus.h"

#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::vector<std::string> Lines(const std::string& text) {
  return absl::StrSplit(text, '\n');
}

class PrometheusTest : public testing::Test {
 protected:
  const std::unique_ptr<BufferPool> plain_ =
      NewPool({.name = "plain", .buffer_size = 64, .capacity = 32});
  const std::unique_ptr<BufferPool> pool_ =
      NewPool({.name = "served", .buffer_size = 64, .capacity = 8});
  const std::unique_ptr<SessionAllocator> sessions_ =
      SessionAllocator::Create(pool_.get()).value();
};

TEST_F(PrometheusTest, TellsTwoPoolsApart) {
  SessionBuffers session(*sessions_);
  ASSERT_EQ(session.AllocateBuffers(), Allocation::kGranted);
  const std::vector<std::string> lines = Lines(
      PrometheusText(std::vector{MetricsOf(*plain_), MetricsOf(*sessions_)}));
  for (const char* const line : {
           "# TYPE tandem_pool_capacity gauge",
           "tandem_pool_capacity{pool=\"plain\"} 32",
           "tandem_pool_capacity{pool=\"served\"} 8",
           "tandem_pool_in_use{pool=\"plain\"} 0",
           "tandem_pool_in_use{pool=\"served\"} 2",
           "# TYPE tandem_pool_barriers_total counter",
           "tandem_pool_core_buffers{pool=\"plain\",core=\"cold\"} 32",
           "tandem_session_waiting{pool=\"served\",class=\"pair\"} 0",
       }) {
    EXPECT_THAT(lines, Contains(line));
  }
}

TEST_F(PrometheusTest, PoolAloneHasNoClasses) {
  EXPECT_THAT(Lines(PrometheusText(std::vector{MetricsOf(*plain_)})),
              Not(Contains(StartsWith("tandem_session_waiting{"))));
}

TEST_F(PrometheusTest, CountsWaits) {
  SessionBuffers first(*sessions_);
  std::vector<std::byte*> all = TakeAll(*pool_);
  ASSERT_EQ(first.AllocateBuffers({}), Allocation::kWaiting);
  const auto lines = [&] {
    return Lines(PrometheusText(std::vector{MetricsOf(*sessions_)}));
  };
  const std::string labels = "{pool=\"served\",class=\"pair\"}";
  EXPECT_THAT(lines(), Contains("tandem_session_waiting" + labels + " 1"));
  pool_->ReleaseMany(all);
  ASSERT_EQ(first.FinishWait(), WaitStatus::kGranted);
  EXPECT_THAT(lines(), Contains("tandem_session_waiting" + labels + " 0"));
  EXPECT_THAT(lines(), Contains("tandem_session_grants_total" + labels + " 1"));
  EXPECT_THAT(lines(),
              Contains("tandem_session_wait_seconds_count" + labels + " 1"));
}

// As the format demands: HELP and TYPE once, then all of a family's metrics.
TEST_F(PrometheusTest, EachFamilyIsInOnePieceAndEachMetricOnce) {
  std::set<std::string> families, metrics;
  std::string family;
  for (const std::string& line : Lines(PrometheusText(
           std::vector{MetricsOf(*plain_), MetricsOf(*sessions_)}))) {
    if (line.empty()) continue;
    if (line.starts_with("# HELP ")) {
      family = line.substr(7, line.find(' ', 7) - 7);
      EXPECT_TRUE(families.insert(family).second) << line;
    } else if (line.starts_with("# TYPE ")) {
      EXPECT_THAT(line, StartsWith("# TYPE " + family + " "));
    } else {
      EXPECT_THAT(line, StartsWith(family));
      EXPECT_TRUE(metrics.insert(line.substr(0, line.rfind(' '))).second)
          << line;
    }
  }
  EXPECT_GT(families.size(), 30u);
}

// docs/grafana_dashboard.json asks only for metrics that exist.
TEST_F(PrometheusTest, DashboardKnowsItsMetrics) {
  std::ifstream file("docs/grafana_dashboard.json");
  const std::string dashboard(std::istreambuf_iterator<char>(file), {});
  pool_->ReleaseMany(TakeAll(*pool_));  // Or there is no cache to tell of.
  const std::string text = PrometheusText(std::vector{MetricsOf(*sessions_)});
  int names = 0;
  for (size_t at = 0; (at = dashboard.find("tandem_", at)) != dashboard.npos;) {
    const size_t end =
        dashboard.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", at);
    const std::string name = dashboard.substr(at, end - at);
    EXPECT_THAT(text, HasSubstr("\n" + name + "{pool=\"served\""));
    ++names;
    at = end;
  }
  EXPECT_GT(names, 10);
}

}  // namespace
}  // namespace tandem
