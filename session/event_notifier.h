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
// that becomes readable: one write for each batch of wake-ups, not for each.
//
//   struct Connection : EventNotifier::Node {
//     SessionBuffers buffers;  // on_ready is set: what to do with them
//   };
//   buffers.AllocateBuffers(notifier->WakerFor(connection))
//   …
//   when notifier->fd() is readable: notifier->Dispatch()
//
// Threads:  Post and the wakers: any, signal handlers included; lock-free.
//           Dispatch and TakeBack: the event loop's thread.
// Memory:   none beyond the nodes, which their owners embed.
// Lifetime: a node must live until its function has been called, until its
//           wait was cancelled with success, or until it was taken back; the
//           notifier longer than all nodes. Its destructor waits for threads
//           that are still in Post.
// Stopped:  a thread that stops while it posts keeps its own node from the
//           loop, and nobody else's (P4).
class EventNotifier {
 public:
  // What the event loop is to do for one waiter. Must not be posted again
  // before on_ready has been called.
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
    Node* previous_ = nullptr;  // in the ring of what is ready
  };

  // The system's error if no eventfd(2) can be had, ResourceExhausted if there
  // is no memory.
  static absl::StatusOr<std::unique_ptr<EventNotifier>> Create();

  ~EventNotifier();
  EventNotifier(const EventNotifier&) = delete;
  EventNotifier& operator=(const EventNotifier&) = delete;

  // Non-blocking, close-on-exec; readable while there is something to dispatch.
  int fd() const { return fd_; }

  // A waker that has the loop call node.on_ready.
  Waker WakerFor(Node& node);

  // Has the loop call node.on_ready.
  void Post(Node& node);

  // Calls what has been posted, in the order of posting, and returns how many.
  // If a function throws, the next Dispatch calls those behind it, and the
  // descriptor is readable until then.
  size_t Dispatch();

  // Takes back a node that was posted and has not been called: it is not
  // called any more. If another thread is about to post it, this waits for
  // that.
  void TakeBack(Node& node);

 private:
  explicit EventNotifier(int fd) : fd_(fd) {
    ready_.next_ = ready_.previous_ = &ready_;
  }

  // Puts the node on the list, and writes if nobody has.
  void Link(Node& node);
  void Write();
  // Moves what has been posted to the end of the ring.
  void CollectPosted();
  static void RemoveFromRing(Node& node);

  const int fd_;
  // How many times the descriptor has been read, and as of which reading it has
  // been written last: equal means that nobody need write.
  std::atomic<uint64_t> readings_{1};
  std::atomic<uint64_t> written_{0};
  std::atomic<Node*> posted_{nullptr};  // last first
  std::atomic<uint32_t> posting_{0};    // calls of Post under way
  // The ends of a ring, the loop's own: what is to be called, first first. It
  // does not live in Dispatch, which a function that throws leaves early.
  Node ready_;
};

}  // namespace tandem

#endif  // TANDEM_SESSION_EVENT_NOTIFIER_H_
