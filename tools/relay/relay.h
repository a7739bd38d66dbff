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

// A TCP relay: every connection to one address is connected to another, by
// several threads that share one pool of buffers.
//
//   auto relay = Relay::Create(options).value();
//   relay->Start()  // an error if there are too few threads
//   …
//   relay->Drain();
//   relay->Join();
//
// Threads:  any may call Drain, Abort, running and Snapshot, between Start and
//           the end of Join; Snapshot before, too.
// Lifetime: must have been joined before it goes, if it was started.
class Relay {
 public:
  // Listens; connections are accepted after Start. An error names a flag that
  // is wrong, or the address that is busy.
  static absl::StatusOr<std::unique_ptr<Relay>> Create(
      const RelayOptions& options);

  // ResourceExhausted if a thread can't be had: then it has ended again.
  absl::Status Start();
  // Accepts no more; every session goes on to its end, or to that of the drain
  // timeout.
  void Drain();
  // Accepts no more, and ends all sessions.
  void Abort();
  // Waits until it has drained.
  void Join();
  bool running() const { return running_.load() != 0; }

  // What it has done. Takes microseconds, disturbs no loop, and allocates: for
  // another thread to call as often as it shows the result.
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
