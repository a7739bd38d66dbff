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

// The first descriptor that connections must not use: the last descriptors are
// left to the rest of the program, such as the statistics server.
int DescriptorLimit();

// One thread's event loop, on epoll(7): it accepts connections and runs their
// sessions. One turn of the loop notes which sockets have become ready, then
// gives one visit to each session that is ready.
//
// The quota: at most this many of the loop's buffers hold data between visits.
// All quotas together leave reserve + 1 buffers. So, however many peers are
// slow and for however long, every other buffer comes back at the end of the
// visit that took it, and every waiting session is served (S6).
//
// Threads: Run: one thread. Drain, Abort and counters: any.
// Memory:  one allocation for each session.
class RelayLoop {
 public:
  // The number of loops that have run out of descriptors: the first one reports
  // it.
  using Shortage = std::atomic<uint32_t>;

  // `backends`: at least one. Returns the system's error on failure.
  static absl::StatusOr<std::unique_ptr<RelayLoop>> Create(
      SessionAllocator& allocator, OwnedFd listener,
      const std::vector<SocketAddress>& backends, const RelayLimits& limits,
      Shortage& shortage);

  // Accepts and relays until the loop has drained.
  void Run();

  // Accepts the connections that have already arrived, as far as descriptors
  // go, and no more. The loop ends when its sessions have ended, or at the
  // drain timeout. Sessions that are idle for a second are closed.
  void Drain();
  // Accepts no more connections, and ends all sessions.
  void Abort();

  const RelayCounters& counters() const { return context_.counters; }

 private:
  using Clock = RelayContext::Clock;

  // A request from another thread to the loop. Repeated requests count once.
  struct Request : EventNotifier::Node {
    RelayLoop* loop = nullptr;
    std::atomic<bool> made{false};
  };

  RelayLoop(SessionAllocator& allocator, OwnedFd listener,
            const std::vector<SocketAddress>& backends,
            const RelayLimits& limits, Shortage& shortage);

  absl::Status Prepare();
  void Make(Request& request);
  // Milliseconds until the next deadline; 0 if a session is ready.
  int TimeToSleep() const;
  // Gives one visit to each session that is ready.
  void VisitReady();

  void BeginDrain();
  void EndAll();

  enum class Arrived { kMore, kNone, kNoDescriptor };
  void Accept();
  // Accepts some of the connections that have arrived.
  Arrived AcceptSome();
  // False if there is no memory.
  bool Begin(OwnedFd client);
  // Starts or stops watching the listener with epoll.
  bool WatchListener(int operation, bool on);
  // Sets whether descriptors, or memory for them, have run out; reports it.
  void SetShort(bool is_short);
  void EndIdleSessions();

  RelayContext context_;
  OwnedFd listener_;
  // Reserved for the next session's backend: the loop accepts no connection
  // without it.
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
