#include "tandem/tools/relay/stats/metrics.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tandem/tools/relay/stats/relay_status.h"

namespace tandem {
namespace {

using ::testing::Contains;

std::vector<std::string> Lines(const RelayStatus& status) {
  return absl::StrSplit(Metrics(status), '\n');
}

TEST(MetricsTest, EveryLoopCacheCoreAndClassHasItsLine) {
  RelayStatus status;
  status.uptime = 2.5;
  status.snapshot.threads.resize(2);
  status.snapshot.threads[1].accepted = 7;
  status.snapshot.threads[1].finished = 3;
  status.snapshot.threads[1].refused = 1;
  status.snapshot.threads[0].kept_buffers = 4;
  PoolSnapshot& pool = status.snapshot.sessions.pool;
  pool.capacity = 64;
  pool.available = 40;
  pool.cached = 9;
  pool.in_use = 15;
  pool.refusals = 2;
  pool.cores = {{.buffers = 11, .changes = 5}, {.buffers = 29, .changes = 0}};
  pool.threads.resize(1);
  pool.threads[0].revocations = 6;
  pool.threads[0].biased = true;
  auto& pair = status.snapshot.sessions.classes.emplace_back();
  pair.name = "pair";
  pair.waiting = 8;

  const std::vector<std::string> lines = Lines(status);
  for (const char* const line :
       {"tandem_relay_uptime_seconds 2.5", "tandem_relay_draining 0",
        "# TYPE tandem_relay_accepted_total counter",
        "tandem_relay_accepted_total{loop=\"1\"} 7",
        "tandem_relay_sessions{loop=\"1\"} 3",
        "# TYPE tandem_relay_kept_buffers gauge",
        "tandem_relay_kept_buffers{loop=\"0\"} 4", "tandem_pool_capacity 64",
        "tandem_pool_available 40", "tandem_pool_cached 9",
        "tandem_pool_in_use 15", "tandem_pool_refusals_total 2",
        "tandem_pool_core_buffers{core=\"1\"} 29",
        "tandem_pool_core_changes_total{core=\"0\"} 5",
        "tandem_pool_cache_biased{cache=\"0\"} 1",
        "tandem_pool_cache_revocations_total{cache=\"0\"} 6",
        "tandem_session_waiting{class=\"pair\"} 8"}) {
    EXPECT_THAT(lines, Contains(line));
  }
}

// Tandem's bucket i counts waits below 2^i microseconds that are in no earlier
// bucket; Prometheus's counts all waits below.
TEST(MetricsTest, WaitsAreACumulativeHistogramInSeconds) {
  RelayStatus status;
  auto& pair = status.snapshot.sessions.classes.emplace_back();
  pair.name = "pair";
  pair.wait_nanos = 1'500'000'000;
  pair.buckets[0] = 1;
  pair.buckets[10] = 2;  // below 1.024 ms
  pair.buckets.back() = 3;

  const std::vector<std::string> lines = Lines(status);
  const std::string name = "tandem_session_wait_seconds";
  for (const std::string& line : {
           absl::StrCat("# TYPE ", name, " histogram"),
           absl::StrCat(name, "_bucket{class=\"pair\",le=\"1e-06\"} 1"),
           absl::StrCat(name, "_bucket{class=\"pair\",le=\"0.000512\"} 1"),
           absl::StrCat(name, "_bucket{class=\"pair\",le=\"0.001024\"} 3"),
           absl::StrCat(name, "_bucket{class=\"pair\",le=\"+Inf\"} 6"),
           absl::StrCat(name, "_count{class=\"pair\"} 6"),
           absl::StrCat(name, "_sum{class=\"pair\"} 1.5"),
       }) {
    EXPECT_THAT(lines, Contains(line)) << Metrics(status);
  }
}

}  // namespace
}  // namespace tandem
