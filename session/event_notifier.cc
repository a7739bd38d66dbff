#include "tandem/session/event_notifier.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tandem {

absl::StatusOr<std::unique_ptr<EventNotifier>> EventNotifier::Create() {
  const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, "eventfd");
  return std::unique_ptr<EventNotifier>(new EventNotifier(fd));
}

EventNotifier::~EventNotifier() { close(fd_); }

Waker EventNotifier::WakerFor(Node& node) {
  node.notifier_ = this;
  return {.wake =
              [](void* context) noexcept {
                Node& woken = *static_cast<Node*>(context);
                woken.notifier_->Post(woken);
              },
          .context = &node};
}

void EventNotifier::Post(Node& node) {
  // (1) relaxed: the link is published by (2).
  Node* top = posted_.load(std::memory_order::relaxed);
  do {
    node.next_ = top;
    // (2) release: pairs with (3), publishing the node. Nodes are taken all at
    // once, so none can come back while it is compared (no ABA).
  } while (!posted_.compare_exchange_weak(
      top, &node, std::memory_order::release, std::memory_order::relaxed));
  if (top != nullptr) return;  // Whoever found the list empty has written.
  const int saved_errno = errno;
  eventfd_write(fd_, 1);
  errno = saved_errno;
}

size_t EventNotifier::Dispatch() {
  // Read first: what is posted after the exchange finds the list empty and
  // writes again.
  eventfd_t ignored;
  eventfd_read(fd_, &ignored);
  // (3) acquire: pairs with (2).
  Node* last = posted_.exchange(nullptr, std::memory_order::acquire);
  Node* first = nullptr;
  while (last != nullptr) {
    Node* const before = std::exchange(last->next_, first);
    first = std::exchange(last, before);
  }
  size_t count = 0;
  while (first != nullptr) {
    Node& node = *first;
    // Before the call, which may post the node again or destroy it.
    first = node.next_;
    ++count;
    node.on_ready(node);
  }
  return count;
}

}  // namespace tandem
