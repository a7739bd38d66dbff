#ifndef TANDEM_TOOLS_RELAY_STATS_RELAY_STATUS_H_
#define TANDEM_TOOLS_RELAY_STATS_RELAY_STATUS_H_

#include <cstdint>
#include <string>

#include "tandem/metrics/fields.h"
#include "tandem/tools/relay/relay_snapshot.h"

namespace tandem {

// What the statistics show: a snapshot, and the relay's settings.
struct RelayStatus {
  std::string listen;
  std::string backend;
  uint32_t buffer_size = 0;
  uint32_t max_waiters = 0;
  bool draining = false;
  double uptime = 0;  // seconds, at the snapshot
  RelaySnapshot snapshot;
};

using LoopNumbers = RelayNumbers<uint64_t>;

// All counters of an event loop.
inline constexpr Field<LoopNumbers> kLoopFields[] = {
    Since<&LoopNumbers::accepted>(
        "accepted", "Connections accepted, refused ones included."),
    Since<&LoopNumbers::refused>(
        "refused",
        "Connections reset because too many sessions wait for buffers."),
    Since<&LoopNumbers::finished>("finished",
                                  "Sessions that ended, whatever ended them."),
    Since<&LoopNumbers::connect_failures>(
        "connect_failures", "Sessions that ended for want of a backend."),
    Since<&LoopNumbers::resets>("resets",
                                "Sessions that ended by a peer's reset."),
    Since<&LoopNumbers::idle_timeouts>(
        "idle_timeouts", "Sessions that ended by the idle timeout."),
    Since<&LoopNumbers::bytes_to_backend>("bytes_to_backend",
                                          "Bytes sent to the backend."),
    Since<&LoopNumbers::bytes_to_client>("bytes_to_client",
                                         "Bytes sent to clients."),
    Since<&LoopNumbers::retries>(
        "retries", "Times that a session under way found no place to wait."),
    Since<&LoopNumbers::accept_pauses>(
        "accept_pauses",
        "Pauses in accepting, for want of descriptors or memory."),
    Now<&LoopNumbers::kept_buffers>(
        "kept_buffers", "Buffers with data that a slow peer has yet to take."),
};
static_assert(sizeof(kLoopFields) / sizeof(kLoopFields[0]) ==
              sizeof(LoopNumbers) / sizeof(uint64_t));

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_STATS_RELAY_STATUS_H_
