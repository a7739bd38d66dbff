#ifndef TANDEM_TOOLS_RELAY_STATS_METRICS_H_
#define TANDEM_TOOLS_RELAY_STATS_METRICS_H_

#include <string>

#include "tandem/tools/relay/stats/relay_status.h"

namespace tandem {

// The status in Prometheus's text format (kExpositionType):
// tandem_relay_* for each event loop, then the metrics of the pool and
// its classes (metrics/prometheus.h).
std::string Metrics(const RelayStatus& status);

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_STATS_METRICS_H_
