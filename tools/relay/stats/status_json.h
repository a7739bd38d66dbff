#ifndef TANDEM_TOOLS_RELAY_STATS_STATUS_JSON_H_
#define TANDEM_TOOLS_RELAY_STATS_STATUS_JSON_H_

#include <string>

#include "tandem/tools/relay/stats/relay_status.h"

namespace tandem {

// The status as the page reads it, which computes rates and percentiles from
// one reading and the next.
std::string StatusJson(const RelayStatus& status);

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_STATS_STATUS_JSON_H_
