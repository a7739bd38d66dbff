#include "tandem/tools/relay/stats/metrics.h"

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "tandem/metrics/exposition.h"
#include "tandem/metrics/prometheus.h"

namespace tandem {

std::string Metrics(const RelayStatus& status) {
  Exposition text;
  text.Gauge("tandem_relay_uptime_seconds", "Time since the relay began.");
  text.Add({}, status.uptime);
  text.Gauge("tandem_relay_draining", "1: it accepts no more connections.");
  text.Add({}, uint64_t{status.draining});
  const auto each_loop = [&](auto add) {
    const std::vector<LoopNumbers>& loops = status.snapshot.threads;
    for (size_t i = 0; i < loops.size(); ++i) {
      add({{"loop", std::to_string(i)}}, loops[i]);
    }
  };
  text.Gauge("tandem_relay_sessions", "Sessions that are open.");
  each_loop([&](const MetricLabels& labels, const LoopNumbers& loop) {
    text.Add(labels, loop.open());
  });
  AddFields("tandem_relay_", kLoopFields, each_loop, text);
  // There is only one pool, so it needs no label.
  AddPools(std::array{PoolMetrics{.labels = {},
                                  .snapshot = status.snapshot.sessions}},
           text);
  return text.text();
}

}  // namespace tandem
