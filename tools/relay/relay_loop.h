#ifndef TANDEM_TOOLS_RELAY_RELAY_LOOP_H_
#define TANDEM_TOOLS_RELAY_RELAY_LOOP_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tandem/session/event_notifier.h"
#include "tandem/session/session_allocator.h"
#include "tandem/tools/relay/relay_context.h"
#include "tandem/tools/relay/relay_session.h"
#include "tandem/tools/relay/relay_snapshot.h"
#include "tandem/tools/relay/socket.h"

namespace tandem {

// The first descriptor that connections must not have: the last ones are left
// to the rest of the program, such as those that ask what it does.
int DescriptorLimit();

// One thread's event loop, on epoll(7): it accepts, and runs the sessions it
// accepted. A turn of it notes what has become ready, then gives each session
// that has something to do one visit.
//
// The quota: at most so many of this loop's buffers hold data while no session
// of it is being processed. All quotas together leave reserve + 1 buffers. So
// however many peers are slow, and however long: every other buffer comes back
// at the end of the visit that took it, and every session that waits is served
// (S6).
//
// Threads: Run on one; Drain, Abort and counters from any.
// Memory:  one allocation a session.
class RelayLoop {
 public:
  // Loops that have run out of descriptors: the first says so.
  using Shortage = std::atomic<uint32_t>;

  // `backends`: at least one. The system's error if it can't be had.
  static absl::StatusOr<std::unique_ptr<RelayLoop>> Create(
      SessionAllocator& allocator, OwnedFd listener,
      const std::vector<SocketAddress>& backends, const RelayLimits& limits,
      Shortage& shortage);

  // Accepts and relays until it has drained.
  void Run();

  // Takes the connections that have arrived, as far as descriptors go, and no
  // more; ends when its sessions have, or when the drain timeout is over. Those
  // that are idle for a second do not count.
  void Drain();
  // Accepts no more, and ends all sessions.
  void Abort();

  const RelayCounters& counters() const { return context_.counters; }

 private:
  using Clock = RelayContext::Clock;

  // What another thread asks of the loop. Asked for once, however often.
  struct Request : EventNotifier::Node {
    RelayLoop* loop = nullptr;
    std::atomic<bool> made{false};
  };

  RelayLoop(SessionAllocator& allocator, OwnedFd listener,
            const std::vector<SocketAddress>& backends,
            const RelayLimits& limits, Shortage& shortage);

  absl::Status Prepare();
  void Make(Request& request);
  // Milliseconds until something is due; 0 if something is ready.
  int TimeToSleep() const;
  // One visit for each session that is ready.
  void VisitReady();

  void BeginDrain();
  void EndAll();

  enum class Arrived { kMore, kNone, kNoDescriptor };
  void Accept();
  // Accepts some of the connections that have arrived.
  Arrived AcceptSome();
  // False if there is no memory.
  bool Begin(OwnedFd client);
  // Has epoll tell of connections, or not.
  bool WatchListener(int operation, bool on);
  // Whether descriptors, or memory for them, have run out; says so.
  void SetShort(bool is_short);
  void EndIdleSessions();

  RelayContext context_;
  OwnedFd listener_;
  // For the next session's backend: no connection is accepted that lacks one.
  OwnedFd spare_;
  Request drain_;
  Request abort_;
  Clock::time_point accept_again_ = Clock::time_point::max();
  Clock::time_point drain_until_ = Clock::time_point::max();
  Shortage& shortage_;
  bool short_ = false;
};

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_RELAY_LOOP_H_
