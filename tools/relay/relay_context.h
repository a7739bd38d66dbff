#ifndef TANDEM_TOOLS_RELAY_RELAY_CONTEXT_H_
#define TANDEM_TOOLS_RELAY_RELAY_CONTEXT_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <utility>
#include <vector>

#include "tandem/session/deadline_list.h"
#include "tandem/session/event_notifier.h"
#include "tandem/session/session_allocator.h"
#include "tandem/tools/relay/relay_snapshot.h"
#include "tandem/tools/relay/socket.h"

namespace tandem {

class RelaySession;

// The limits that a loop sets for its sessions.
struct RelayLimits {
  using Duration = std::chrono::steady_clock::duration;

  size_t quota;  // buffers that may hold data between visits
  uint32_t max_waiters;
  Duration idle_timeout;
  Duration connect_timeout;
  Duration drain_timeout;
};

// Sessions that are ready for a visit, first come, first served. Owns nothing,
// allocates nothing.
class ReadyQueue {
 public:
  class Node {
   public:
    Node() = default;
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

   private:
    friend class ReadyQueue;
    Node* after_ = nullptr;
    bool queued_ = false;
  };

  bool empty() const { return first_ == nullptr; }

  // Appends the node; leaves it in place if it is already in a queue.
  void Add(Node& node) {
    if (std::exchange(node.queued_, true)) return;
    node.after_ = nullptr;
    (first_ == nullptr ? first_ : last_->after_) = &node;
    last_ = &node;
  }

  // Removes and returns the first node; null if there is none.
  Node* Take() {
    Node* const node = first_;
    if (node == nullptr) return nullptr;
    first_ = node->after_;
    node->queued_ = false;
    return node;
  }

 private:
  Node* first_ = nullptr;
  Node* last_ = nullptr;
};

// The state that a loop shares with its sessions.
//
// Threads: the loop's thread only; any thread may read `counters`.
struct RelayContext {
  using Clock = std::chrono::steady_clock;

  SessionAllocator& allocator;
  const std::vector<SocketAddress> backends;  // in the order of trying
  RelayLimits limits;
  std::unique_ptr<EventNotifier> notifier = nullptr;
  OwnedFd epoll = {};
  Clock::time_point now = Clock::now();   // start of this turn of the loop
  std::list<RelaySession> sessions = {};  // in order of last activity
  ReadyQueue ready = {};
  DeadlineList deadlines = {};
  size_t kept = 0;  // buffers with data in them, between visits
  RelayCounters counters = {};
};

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_RELAY_CONTEXT_H_
