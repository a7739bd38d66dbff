#include "tandem/tools/relay/stats/status_json.h"

#include <string>

#include "nlohmann/json.hpp"
#include "tandem/metrics/snapshot_text.h"

namespace tandem {
namespace {

using Json = nlohmann::ordered_json;

Json Loop(const LoopNumbers& numbers) {
  Json json;
  for (const Field<LoopNumbers>& field : kLoopFields) {
    json[std::string(field.name)] = field.of(numbers);
  }
  json["open"] = numbers.open();
  return json;
}

}  // namespace

std::string StatusJson(const RelayStatus& status) {
  // Adds "pool" and "classes".
  Json json = Json::parse(SnapshotJson(status.snapshot.sessions));
  json.update({{"listen", status.listen},
               {"backend", status.backend},
               {"buffer_size", status.buffer_size},
               {"max_waiters", status.max_waiters},
               {"draining", status.draining},
               {"uptime", status.uptime},
               {"total", Loop(status.snapshot.total)},
               {"loops", Json::array()}});
  for (const auto& loop : status.snapshot.threads) {
    json["loops"].push_back(Loop(loop));
  }
  return json.dump();
}

}  // namespace tandem
