#ifndef TANDEM_SESSION_DEADLINE_LIST_H_
#define TANDEM_SESSION_DEADLINE_LIST_H_

#if __cplusplus < 202002L
#error "Tandem needs C++20: compile with -std=c++20"
#endif

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace tandem {

// The deadlines of one event loop's waits. The nodes are embedded in their
// owners: the list allocates no memory.
//
//   for (;;) {
//     epoll_wait(…, until deadlines.earliest());
//     notifier->Dispatch();
//     deadlines.Expire(DeadlineList::Time::clock::now());
//   }
//
// Threads: the event loop's thread.
// Cost:    Add and Remove: constant. Expire: linear if a deadline may have
//          passed, else constant.
class DeadlineList {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Embedded in a waiting object. On at most one list; its owner must remove it
  // before destroying it.
  class Node {
   public:
    Node() = default;
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

    void (*on_expired)(Node& node) = nullptr;

   private:
    friend class DeadlineList;
    bool listed() const { return next_ != nullptr; }

    Time deadline_;
    Node* previous_ = nullptr;
    Node* next_ = nullptr;
  };

  DeadlineList() {
    for (Node* ends : {&ends_, &due_}) ends->previous_ = ends->next_ = ends;
  }
  DeadlineList(const DeadlineList&) = delete;
  DeadlineList& operator=(const DeadlineList&) = delete;

  // Moves the node if it is already listed.
  void Add(Node& node, Time deadline) {
    Remove(node);
    node.deadline_ = deadline;
    Append(node, ends_);
    earliest_ = std::min(earliest_, deadline);
  }

  // Does nothing if the node is not listed.
  void Remove(Node& node) {
    if (!node.listed()) return;
    node.previous_->next_ = node.next_;
    node.next_->previous_ = node.previous_;
    node.previous_ = node.next_ = nullptr;
  }

  // The loop may sleep until this time: no deadline is earlier. After a Remove,
  // all deadlines may be later. Time::max(): sleep forever.
  Time earliest() const {
    return due_.next_ == &due_ ? earliest_ : Time::min();
  }

  // Removes each node whose deadline is not after `now` and calls its function,
  // which may add and remove nodes. Returns the number of calls. If a function
  // throws, the next Expire calls the remaining functions.
  size_t Expire(Time now) {
    if (now < earliest()) return 0;
    // Move expired nodes to a separate ring first: a function may remove any
    // node, including one that is about to be called.
    earliest_ = Time::max();
    for (Node* node = ends_.next_; node != &ends_;) {
      Node& seen = *node;
      node = node->next_;
      if (seen.deadline_ <= now) {
        Remove(seen);
        Append(seen, due_);
      } else {
        earliest_ = std::min(earliest_, seen.deadline_);
      }
    }
    size_t count = 0;
    while (due_.next_ != &due_) {
      Node& node = *due_.next_;
      Remove(node);
      ++count;
      node.on_expired(node);
    }
    return count;
  }

 private:
  static void Append(Node& node, Node& ends) {
    node.previous_ = ends.previous_;
    node.next_ = &ends;
    node.previous_->next_ = ends.previous_ = &node;
  }

  // The heads of two rings: pending nodes, and nodes about to be called.
  Node ends_;
  Node due_;
  Time earliest_ = Time::max();
};

// A deadline as the kernel takes it: steady_clock is CLOCK_MONOTONIC. Times
// before that clock's start, which are due, become 0: the kernel refuses them.
inline timespec ToTimespec(DeadlineList::Time deadline) {
  using std::chrono::nanoseconds, std::chrono::seconds;
  const nanoseconds since =
      std::max(nanoseconds(0), nanoseconds(deadline.time_since_epoch()));
  return {.tv_sec = std::chrono::duration_cast<seconds>(since).count(),
          .tv_nsec = (since % seconds(1)).count()};
}

}  // namespace tandem

#endif  // TANDEM_SESSION_DEADLINE_LIST_H_
