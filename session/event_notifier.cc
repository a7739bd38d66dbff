#include "tandem/session/event_notifier.h"

#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tandem/pool/no_throw.h"

namespace tandem {

absl::StatusOr<std::unique_ptr<EventNotifier>> EventNotifier::Create() {
  const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, "eventfd");
  std::unique_ptr<EventNotifier> notifier(new (std::nothrow) EventNotifier(fd));
  if (notifier != nullptr) return notifier;
  close(fd);
  return NoMemory();
}

EventNotifier::~EventNotifier() {
  // acquire: pairs with (5), so that everything a Post did happens before.
  while (posting_.load(std::memory_order::acquire) != 0)
    std::this_thread::yield();
  close(fd_);
}

Waker EventNotifier::WakerFor(Node& node) {
  // Do not write the same value again: a serving thread may be reading it.
  if (node.notifier_ != this) node.notifier_ = this;
  return {.wake =
              [](void* context) noexcept {
                Node& woken = *static_cast<Node*>(context);
                woken.notifier_->Post(woken);
              },
          .context = &node};
}

void EventNotifier::Post(Node& node) {
  // relaxed: the notifier's owner learns of the node from (2) at the earliest,
  // and (2) comes later.
  posting_.fetch_add(1, std::memory_order::relaxed);
  Link(node);
  // (5) release: the last access, after which the notifier may be gone.
  posting_.fetch_sub(1, std::memory_order::release);
}

void EventNotifier::Link(Node& node) {
  // (1) relaxed: the link is published by (2).
  Node* top = posted_.load(std::memory_order::relaxed);
  do {
    node.next_ = top;
    // (2) seq_cst: release pairs with (3), publishing the node; it also comes
    // before (4) in the total order. All nodes are taken at once, so no node
    // can return during the comparison (no ABA).
  } while (!posted_.compare_exchange_weak(
      top, &node, std::memory_order::seq_cst, std::memory_order::relaxed));
  // (4) If a thread has written since the last reading of the descriptor and
  // has recorded that, the descriptor stays readable until a Dispatch that
  // comes after (2). That other nodes are on the list proves nothing: their
  // threads may have stopped before they wrote.
  const uint64_t reading = readings_.load();
  if (written_.load() == reading) return;
  Write();
  written_.store(reading);
}

void EventNotifier::Write() {
  const int saved_errno = errno;
  const uint64_t one = 1;
  // Not eventfd_write(3), which is a cancellation point.
  syscall(SYS_write, fd_, &one, sizeof(one));
  errno = saved_errno;
}

size_t EventNotifier::Dispatch() {
  // In this order: either a write that is recorded for this reading makes the
  // descriptor readable once more, or its node is collected below.
  eventfd_t ignored;
  eventfd_read(fd_, &ignored);
  readings_.fetch_add(1);
  CollectPosted();
  // On every exit, make the descriptor readable if nodes remain.
  struct Leaving {
    EventNotifier& notifier;
    ~Leaving() {
      if (notifier.ready_.next_ != &notifier.ready_) notifier.Write();
    }
  } const leaving{*this};
  size_t count = 0;
  while (ready_.next_ != &ready_) {
    Node& node = *ready_.next_;
    // Remove the node before the call, which may post it again or destroy it.
    RemoveFromRing(node);
    ++count;
    node.on_ready(node);
  }
  return count;
}

void EventNotifier::TakeBack(Node& node) {
  for (CollectPosted(); !node.ready(); CollectPosted()) {
    std::this_thread::yield();
  }
  RemoveFromRing(node);
}

void EventNotifier::CollectPosted() {
  // (3) seq_cst: acquire pairs with (2); in Dispatch it also comes after the
  // increment of readings_. TakeBack does not read the descriptor, so a pending
  // write still reaches the next Dispatch.
  Node* posted = posted_.exchange(nullptr);
  // The list is newest first: insert each node before the one that was posted
  // after it.
  Node* after = &ready_;
  while (posted != nullptr) {
    Node* const earlier = std::exchange(posted->next_, after);
    posted->previous_ = after->previous_;
    posted->previous_->next_ = after->previous_ = posted;
    after = std::exchange(posted, earlier);
  }
}

void EventNotifier::RemoveFromRing(Node& node) {
  node.previous_->next_ = node.next_;
  node.next_->previous_ = node.previous_;
  node.next_ = node.previous_ = nullptr;
}

}  // namespace tandem
