#ifndef TANDEM_TOOLS_RELAY_RELAY_OPTIONS_H_
#define TANDEM_TOOLS_RELAY_RELAY_OPTIONS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace tandem {

// Everything that can be set, with what it means and what is allowed.
struct RelayOptions {
  // Where to accept connections: HOST:PORT, [ADDRESS]:PORT for IPv6; port 0 for
  // any that is free.
  std::string listen = "";
  // Where to connect each of them to.
  std::string backend = "";
  // Event loops, each in a thread of its own: 1 to 256.
  uint32_t threads = 2;
  // The pool's capacity: reserve + 1 to kMaxCapacity.
  uint32_t buffers = 1024;
  // Bytes in a buffer: 64 to 1 GiB, a multiple of 64.
  uint32_t buffer_size = 16 * 1024;
  // Buffers that a receive leaves for pairs: 1 to buffers - 1.
  uint32_t reserve = 2;
  // Sessions that may wait for buffers at once; beyond, new ones are refused:
  // 1 to 1,048,575.
  uint32_t max_waiters = 65536;
  // A session that has moved no byte for so long is closed, unless it waits for
  // buffers: more than 0.
  absl::Duration idle_timeout = absl::Minutes(5);
  // How long each of the backend's addresses has to take a connection: more
  // than 0.
  absl::Duration connect_timeout = absl::Seconds(5);
  // A drain ends what is left after so long: more than 0.
  absl::Duration drain_timeout = absl::Minutes(5);
};

// OK, or InvalidArgument that names the flag, its value and what is allowed.
// What the pool and its session layer check themselves is left to them.
absl::Status Validate(const RelayOptions& options);

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_RELAY_OPTIONS_H_
