#ifndef TANDEM_SESSION_EVENT_NOTIFIER_H_
#define TANDEM_SESSION_EVENT_NOTIFIER_H_

#if __cplusplus < 202002L
#error "Tandem needs C++20: compile with -std=c++20"
#endif

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "tandem/session/waker.h"

namespace tandem {

// Brings wake-ups from any thread to one event loop, through a file descriptor
// that becomes readable. One write serves a whole batch of wake-ups.
//
//   struct Connection : EventNotifier::Node {
//     SessionBuffers buffers;  // on_ready is set: what to do with them
//   };
//   buffers.AllocateBuffers(notifier->WakerFor(connection))
//   …
//   when notifier->fd() is readable: notifier->Dispatch()
//
//   a node is  in        leaves it by
//   ---------  --------  -------------------------------------------------
//   idle       nothing   Post, or its waker, any thread: posted
//   posted     the list  Dispatch or TakeBack, all nodes at once: ready
//   ready      the ring  Dispatch: idle, then on_ready; TakeBack: idle
//
// Threads:  Post and the wakers: any, including signal handlers; lock-free.
//           Dispatch and TakeBack: the event loop's thread.
// Memory:   none beyond the nodes, which their owners embed.
// Lifetime: a node must live until its function has been called, until its wait
//           was cancelled with success, or until it was taken back. The
//           notifier must outlive all nodes. Its destructor waits for threads
//           that are still in Post.
// Stopped:  a thread that stops in Post withholds only its own node from the
//           loop (P4).
class EventNotifier {
 public:
  // What the event loop must do for one waiter. The owner must not post a node
  // again before on_ready has been called.
  class Node {
   public:
    Node() = default;
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

    void (*on_ready)(Node& node) = nullptr;  // set before the first Post

   private:
    friend class EventNotifier;
    bool ready() const { return previous_ != nullptr; }

    EventNotifier* notifier_ = nullptr;
    Node* next_ = nullptr;
    Node* previous_ = nullptr;  // in the ring of ready nodes
  };

  // Returns the system's error if eventfd(2) fails, ResourceExhausted if there
  // is no memory.
  static absl::StatusOr<std::unique_ptr<EventNotifier>> Create();

  ~EventNotifier();
  EventNotifier(const EventNotifier&) = delete;
  EventNotifier& operator=(const EventNotifier&) = delete;

  // Non-blocking, close-on-exec; readable while there are nodes to dispatch.
  int fd() const { return fd_; }

  // Returns a waker that makes the loop call node.on_ready.
  Waker WakerFor(Node& node);

  // Makes the loop call node.on_ready.
  void Post(Node& node);

  // Calls the posted nodes in the order of posting and returns their number. If
  // a function throws, the next Dispatch calls the remaining nodes, and the
  // descriptor is readable until then.
  size_t Dispatch();

  // Takes back a node that was posted and has not been called: it will not be
  // called. If another thread is about to post it, this function waits for that
  // thread.
  void TakeBack(Node& node);

 private:
  explicit EventNotifier(int fd) : fd_(fd) {
    ready_.next_ = ready_.previous_ = &ready_;
  }

  // Puts the node on the list, and writes unless another thread has written.
  void Link(Node& node);
  void Write();
  // Moves the posted nodes to the end of the ring.
  void CollectPosted();
  static void RemoveFromRing(Node& node);

  const int fd_;
  // The number of readings of the descriptor, and the reading for which it was
  // last written. If they are equal, no write is necessary.
  std::atomic<uint64_t> readings_{1};
  std::atomic<uint64_t> written_{0};
  std::atomic<Node*> posted_{nullptr};  // newest first
  std::atomic<uint32_t> posting_{0};    // calls of Post in progress
  // Head of the ring of nodes to call, in order; only the loop uses it. It is a
  // member because a function that throws leaves Dispatch early.
  Node ready_;
};

}  // namespace tandem

#endif  // TANDEM_SESSION_EVENT_NOTIFIER_H_
