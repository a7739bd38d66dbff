#ifndef TANDEM_TOOLS_RELAY_RELAY_OPTIONS_H_
#define TANDEM_TOOLS_RELAY_RELAY_OPTIONS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace tandem {

// All options, with their meaning and allowed range.
struct RelayOptions {
  // The address to accept connections at: HOST:PORT, [ADDRESS]:PORT for IPv6;
  // port 0 picks a free port.
  std::string listen = "";
  // The address to connect each of them to.
  std::string backend = "";
  // Event loops, each in its own thread: 1 to 256.
  uint32_t threads = 2;
  // The pool's capacity: reserve + 1 to kMaxCapacity.
  uint32_t buffers = 1024;
  // Bytes in a buffer: 64 to 1 GiB, a multiple of 64.
  uint32_t buffer_size = 16 * 1024;
  // Buffers that a receive leaves for pairs: 1 to buffers - 1.
  uint32_t reserve = 2;
  // Sessions that may wait for buffers at once; further new sessions are
  // refused: 1 to 1,048,575.
  uint32_t max_waiters = 65536;
  // A session that has moved no byte for this long is closed, unless it waits
  // for buffers: more than 0.
  absl::Duration idle_timeout = absl::Minutes(5);
  // How long each of the backend's addresses has to accept a connection: more
  // than 0.
  absl::Duration connect_timeout = absl::Seconds(5);
  // A drain ends the remaining sessions after this long: more than 0.
  absl::Duration drain_timeout = absl::Minutes(5);
};

// Returns OK, or InvalidArgument that names the flag, its value and the allowed
// range. The pool and its session layer check their own options.
absl::Status Validate(const RelayOptions& options);

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_RELAY_OPTIONS_H_
