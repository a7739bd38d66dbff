#ifndef TANDEM_TOOLS_RELAY_STATS_METRICS_H_
#define TANDEM_TOOLS_RELAY_STATS_METRICS_H_

#include <string>

#include "tandem/tools/relay/stats/relay_status.h"

namespace tandem {

// The status in Prometheus's text format (kExpositionType): tandem_relay_... by
// event loop, then the pool's and its classes', as metrics/prometheus.h has
// them.
std::string Metrics(const RelayStatus& status);

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_STATS_METRICS_H_
