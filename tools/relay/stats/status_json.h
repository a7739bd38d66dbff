#ifndef TANDEM_TOOLS_RELAY_STATS_STATUS_JSON_H_
#define TANDEM_TOOLS_RELAY_STATS_STATUS_JSON_H_

#include <string>

#include "tandem/tools/relay/stats/relay_status.h"

namespace tandem {

// The status in the form that the page reads. The page computes rates and
// percentiles from two successive readings.
std::string StatusJson(const RelayStatus& status);

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_STATS_STATUS_JSON_H_
