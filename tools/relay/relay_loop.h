#ifndef TANDEM_TOOLS_RELAY_RELAY_LOOP_H_
#define TANDEM_TOOLS_RELAY_RELAY_LOOP_H_

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>

#include "absl/status/statusor.h"
#include "tandem/session/asio_wait.h"
#include "tandem/session/session_allocator.h"
#include "tandem/tools/relay/relay_session.h"
#include "tandem/tools/relay/relay_snapshot.h"
#include "tandem/tools/relay/socket.h"

namespace tandem {

// One thread's event loop: it accepts, and runs the sessions it accepted.
//
// The quota: at most so many of this loop's buffers hold data while no session
// of it is being processed. All quotas together leave reserve + 1 buffers. So
// however many peers are slow, and however long: every other buffer comes back
// at the end of the visit that took it, and whoever waits is served (S6).
//
// Threads: Run on one; Drain, Abort and counters from any.
class RelayLoop {
 public:
  using Clock = std::chrono::steady_clock;

  // Loops that have run out of descriptors: the first says so.
  using Shortage = std::atomic<uint32_t>;

  struct Limits {
    size_t quota;  // buffers that may hold data between visits
    uint32_t max_waiters;
    Clock::duration idle_timeout;
  };

  static absl::StatusOr<std::unique_ptr<RelayLoop>> Create(
      SessionAllocator& allocator, OwnedFd listener,
      const SocketAddress& backend, Limits limits, Shortage& shortage);
  ~RelayLoop();

  // Accepts and relays until it has drained.
  void Run();

  // Takes the connections that have arrived and no more; ends when its sessions
  // have. Those that are idle for a second do not count.
  void Drain();
  // Resets all sessions; after Drain.
  void Abort();

  const RelayCounters& counters() const { return counters_; }

 private:
  friend class RelaySession;

  RelayLoop(SessionAllocator& allocator, OwnedFd listener,
            const SocketAddress& backend, Limits limits, Shortage& shortage);

  asio::awaitable<void> Accept();
  enum class Arrived { kMore, kNone, kNoDescriptor };
  // Accepts some of the connections that have arrived.
  Arrived AcceptSome();
  void Begin(OwnedFd client);
  // Whether descriptors, or memory for them, have run out; says so.
  void SetShort(bool is_short);
  asio::awaitable<void> EndIdleSessions();
  // A session has moved bytes.
  void Touch(RelayEntries::iterator place);
  void StopIfDrained();

  SessionAllocator& allocator_;
  const SocketAddress backend_;
  Limits limits_;
  RelayCounters counters_;
  asio::io_context context_;
  std::unique_ptr<AsioLoop> waits_;
  asio::posix::stream_descriptor listener_;
  // For the next session's backend: no connection is accepted that lacks one.
  OwnedFd spare_;
  asio::steady_timer pause_;
  asio::steady_timer idle_timer_;
  // Who has moved bytes last comes last.
  RelayEntries sessions_;
  size_t kept_ = 0;
  Shortage& shortage_;
  bool short_ = false;
  bool draining_ = false;
};

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_RELAY_LOOP_H_
