#ifndef TANDEM_TOOLS_RELAY_STATS_METRICS_H_
#define TANDEM_TOOLS_RELAY_STATS_METRICS_H_

#include <string>

#include "tandem/tools/relay/stats/relay_status.h"

namespace tandem {

// The status in Prometheus's text format: tandem_relay_… by event loop,
// tandem_pool_… by core and thread cache, tandem_session_… by class.
std::string Metrics(const RelayStatus& status);

inline constexpr char kMetricsType[] =
    "text/plain; version=0.0.4; charset=utf-8";

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_STATS_METRICS_H_
