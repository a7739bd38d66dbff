#include "tandem/tools/relay/stats/status_json.h"

#include <cstddef>
#include <string>

#include "nlohmann/json.hpp"
#include "tandem/pool/snapshot.h"
#include "tandem/session/session_allocator.h"

namespace tandem {
namespace {

using Json = nlohmann::ordered_json;

template <class Struct, size_t n>
Json Fields(const StatusField<Struct> (&fields)[n], const Struct& from) {
  Json json;
  for (const StatusField<Struct>& field : fields) {
    json[std::string(field.name)] = from.*field.member;
  }
  return json;
}

Json Loop(const LoopNumbers& numbers) {
  Json json = Fields(kLoopFields, numbers);
  json["open"] = numbers.open();
  return json;
}

Json Core(const PoolSnapshot::Core& core) {
  return {{"buffers", core.buffers}, {"changes", core.changes}};
}

Json Cache(const PoolSnapshot::Thread& thread) {
  Json json = Fields(kCacheFields, thread);
  json["owned"] = thread.owned;
  json["cached"] = thread.cached;
  json["limit"] = thread.limit;
  json["biased"] = thread.biased;
  return json;
}

Json Pool(const PoolSnapshot& pool) {
  Json json = {{"capacity", pool.capacity},   {"reserve", pool.reserve},
               {"available", pool.available}, {"cached", pool.cached},
               {"in_use", pool.in_use},       {"waiting", pool.waiting},
               {"pressed", pool.pressed},     {"biased", pool.biased},
               {"barriers", pool.barriers},   {"refusals", pool.refusals},
               {"cold", Core(pool.cold)},     {"cores", Json::array()},
               {"caches", Json::array()}};
  for (const auto& core : pool.cores) json["cores"].push_back(Core(core));
  for (const auto& thread : pool.threads) {
    json["caches"].push_back(Cache(thread));
  }
  return json;
}

Json Class(const WaitClassSnapshot& c) {
  return {{"name", c.name},     {"waiting", c.waiting}, {"waits", c.waits},
          {"grants", c.grants}, {"cancels", c.cancels}, {"buckets", c.buckets}};
}

}  // namespace

std::string StatusJson(const RelayStatus& status) {
  Json json = {{"listen", status.listen},
               {"backend", status.backend},
               {"buffer_size", status.buffer_size},
               {"max_waiters", status.max_waiters},
               {"draining", status.draining},
               {"uptime", status.uptime},
               {"total", Loop(status.snapshot.total)},
               {"loops", Json::array()},
               {"pool", Pool(status.snapshot.sessions.pool)},
               {"classes", Json::array()}};
  for (const auto& loop : status.snapshot.threads) {
    json["loops"].push_back(Loop(loop));
  }
  for (const auto& c : status.snapshot.sessions.classes) {
    json["classes"].push_back(Class(c));
  }
  return json.dump();
}

}  // namespace tandem
