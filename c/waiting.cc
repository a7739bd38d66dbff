#include <time.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>

#include "absl/status/statusor.h"
#include "tandem/c/conversions.h"
#include "tandem/c/tandem.h"
#include "tandem/c/versioned.h"
#include "tandem/session/blocking_wait.h"
#include "tandem/session/event_notifier.h"

using tandem::EventNotifier;
using tandem::c::Of;
using tandem::c::OrNoMemory;
using tandem::c::Report;
using tandem::c::ToC;

namespace {

using Time = std::chrono::steady_clock::time_point;

// steady_clock is CLOCK_MONOTONIC. A time beyond its range means forever.
Time TimeOf(const timespec& time) {
  using std::chrono::nanoseconds, std::chrono::seconds;
  constexpr auto kLast =
      std::chrono::duration_cast<seconds>(Time::duration::max()).count();
  if (time.tv_sec >= kLast) return Time::max();
  return Time(seconds(time.tv_sec) + nanoseconds(time.tv_nsec));
}

class Node : public EventNotifier::Node {
 public:
  Node(void (*function)(void*) noexcept, void* context)
      : function_(function), context_(context) {
    on_ready = [](EventNotifier::Node& node) {
      auto& self = static_cast<Node&>(node);
      self.function_(self.context_);
    };
  }

 private:
  void (*const function_)(void*) noexcept;
  void* const context_;
};
static_assert(sizeof(Node) == sizeof(tandem_node));
static_assert(alignof(Node) <= alignof(tandem_node));

Node& Of(tandem_node* node) {
  return *std::launder(reinterpret_cast<Node*>(node));
}

EventNotifier& Of(tandem_notifier* notifier) {
  return *reinterpret_cast<EventNotifier*>(notifier);
}
const EventNotifier& Of(const tandem_notifier* notifier) {
  return *reinterpret_cast<const EventNotifier*>(notifier);
}

}  // namespace

tandem_waker tandem_blocking_waker() noexcept {
  return ToC(tandem::BlockingWaker());
}

tandem_wait_status session_block(tandem_session* session,
                                 const timespec* deadline) noexcept {
  return ToC(tandem::BlockUntilServed(
      Of(session), deadline == nullptr ? Time::max() : TimeOf(*deadline)));
}

void tandem_node_init(tandem_node* node, void (*on_ready)(void*) noexcept,
                      void* context) noexcept {
  new (node) Node(on_ready, context);
}

int tandem_notifier_create(tandem_notifier** notifier, char* message,
                           size_t message_size) noexcept {
  return OrNoMemory(message, message_size, [&] {
    absl::StatusOr<std::unique_ptr<EventNotifier>> created =
        EventNotifier::Create();
    if (created.ok()) {
      *notifier = reinterpret_cast<tandem_notifier*>(created->release());
    }
    return Report(created.status(), message, message_size);
  });
}

void tandem_notifier_destroy(tandem_notifier* notifier) noexcept {
  if (notifier != nullptr) delete &Of(notifier);
}

int tandem_notifier_fd(const tandem_notifier* notifier) noexcept {
  return Of(notifier).fd();
}

tandem_waker tandem_notifier_waker(tandem_notifier* notifier,
                                   tandem_node* node) noexcept {
  return ToC(Of(notifier).WakerFor(Of(node)));
}

void tandem_notifier_post(tandem_notifier* notifier,
                          tandem_node* node) noexcept {
  Of(notifier).Post(Of(node));
}

size_t tandem_notifier_dispatch(tandem_notifier* notifier) noexcept {
  return Of(notifier).Dispatch();
}
