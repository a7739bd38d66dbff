#ifndef TANDEM_TOOLS_RELAY_RELAY_H_
#define TANDEM_TOOLS_RELAY_RELAY_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/session/session_allocator.h"
#include "tandem/tools/relay/relay_loop.h"
#include "tandem/tools/relay/relay_options.h"
#include "tandem/tools/relay/relay_snapshot.h"
#include "tandem/tools/relay/socket.h"

namespace tandem {

// A TCP relay: it connects every connection to one address with another
// address. Several threads share one pool of buffers.
//
//   auto relay = Relay::Create(options).value();
//   relay->Start()  // an error if there are too few threads
//   …
//   relay->Drain();
//   relay->Join();
//
// Threads:  any thread may call Drain, Abort, running and Snapshot between
//           Start and the end of Join; Snapshot also before Start.
// Lifetime: if it was started, it must be joined before it is destroyed.
class Relay {
 public:
  // Listens; accepts connections only after Start. An error names a wrong flag,
  // or the address that is in use.
  static absl::StatusOr<std::unique_ptr<Relay>> Create(
      const RelayOptions& options);

  // ResourceExhausted if a thread cannot be created; then all threads have
  // ended.
  absl::Status Start();
  // Accepts no more connections. Every session continues to its end or to the
  // drain timeout.
  void Drain();
  // Accepts no more connections, and ends all sessions.
  void Abort();
  // Waits until the relay has drained.
  void Join();
  bool running() const { return running_.load() != 0; }

  // The relay's statistics. Takes microseconds, disturbs no loop, and
  // allocates: another thread may call it as often as it shows the result.
  RelaySnapshot Snapshot() const;

  const SocketAddress& address() const { return address_; }
  BufferPool& pool() { return *pool_; }

 private:
  Relay() = default;

  SocketAddress address_;
  std::unique_ptr<BufferPool> pool_;
  std::unique_ptr<SessionAllocator> allocator_;
  RelayLoop::Shortage shortage_{0};
  std::vector<std::unique_ptr<RelayLoop>> loops_;
  std::vector<std::thread> threads_;
  std::atomic<uint32_t> running_{0};
};

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_RELAY_H_
