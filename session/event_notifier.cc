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

namespace tandem {

absl::StatusOr<std::unique_ptr<EventNotifier>> EventNotifier::Create() {
  const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, "eventfd");
  std::unique_ptr<EventNotifier> notifier(new (std::nothrow) EventNotifier(fd));
  if (notifier != nullptr) return notifier;
  close(fd);
  // No message, which would take memory.
  return absl::Status(absl::StatusCode::kResourceExhausted, "");
}

EventNotifier::~EventNotifier() {
  // acquire: pairs with (5), what a post did last comes before.
  while (posting_.load(std::memory_order::acquire) != 0)
    std::this_thread::yield();
  close(fd_);
}

Waker EventNotifier::WakerFor(Node& node) {
  // Not anew while a server may read it.
  if (node.notifier_ != this) node.notifier_ = this;
  return {.wake =
              [](void* context) noexcept {
                Node& woken = *static_cast<Node*>(context);
                woken.notifier_->Post(woken);
              },
          .context = &node};
}

void EventNotifier::Post(Node& node) {
  // relaxed: (2), which comes after, lets the notifier's owner know of the node
  // at the earliest.
  posting_.fetch_add(1, std::memory_order::relaxed);
  Link(node);
  // (5) release: the last touch, after which the notifier may be gone.
  posting_.fetch_sub(1, std::memory_order::release);
}

void EventNotifier::Link(Node& node) {
  // (1) relaxed: the link is published by (2).
  Node* top = posted_.load(std::memory_order::relaxed);
  do {
    node.next_ = top;
    // (2) seq_cst: release pairs with (3), publishing the node; and it comes
    // before (4). Nodes are taken all at once, so none can come back while it
    // is compared (no ABA).
  } while (!posted_.compare_exchange_weak(
      top, &node, std::memory_order::seq_cst, std::memory_order::relaxed));
  // (4) Somebody may have written since the descriptor was last read, and then
  // said so: it stays readable until a Dispatch that comes after (2). That
  // others have posted before says nothing, they may have stopped before they
  // wrote.
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
  // In this order: a write that was told of as of this reading makes the
  // descriptor readable once more, or its node is collected below.
  eventfd_t ignored;
  eventfd_read(fd_, &ignored);
  readings_.fetch_add(1);
  CollectPosted();
  // However this is left, the descriptor tells of what remains.
  struct Leaving {
    EventNotifier& notifier;
    ~Leaving() {
      if (notifier.ready_.next_ != &notifier.ready_) notifier.Write();
    }
  } const leaving{*this};
  size_t count = 0;
  while (ready_.next_ != &ready_) {
    Node& node = *ready_.next_;
    // Before the call, which may post the node again or destroy it.
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
  // (3) seq_cst: acquire pairs with (2); and in Dispatch it comes after the
  // addition. In TakeBack nothing is read: what the descriptor tells of, or is
  // about to, is for the next Dispatch as before.
  Node* posted = posted_.exchange(nullptr);
  // Last first: each goes before the one that was posted after it.
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
