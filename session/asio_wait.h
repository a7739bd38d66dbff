#ifndef TANDEM_SESSION_ASIO_WAIT_H_
#define TANDEM_SESSION_ASIO_WAIT_H_

#if __cplusplus < 202002L
#error "Tandem needs C++20: compile with -std=c++20"
#endif

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <chrono>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "tandem/session/asio_completion.h"
#include "tandem/session/deadline_list.h"
#include "tandem/session/event_notifier.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"
#include "tandem/session/waker.h"

namespace tandem {

// Waits in an event loop of Asio's.
//
//   asio::io_context context;
//   auto loop = AsioLoop::Create(context).value();
//
//   asio::awaitable<void> Serve(SessionBuffers& session, AsioLoop& loop) {
//     if (co_await BuffersFor(session, loop) != Allocation::kGranted) …
//
// Wake-ups come from any thread, by one write to an eventfd(2) for each batch;
// the loop that waits goes on, never the thread that serves it.

// Brings wake-ups and deadlines to one asio::io_context.
//
// Threads:  that which runs the context: one.
// Lifetime: longer than all waits in it. It goes when the context no longer
//           runs, before the context; until Stop, it keeps run() from
//           returning.
class AsioLoop {
 public:
  // The system's error if no eventfd(2) can be had.
  static absl::StatusOr<std::unique_ptr<AsioLoop>> Create(
      asio::io_context& context);

  ~AsioLoop();
  AsioLoop(const AsioLoop&) = delete;
  AsioLoop& operator=(const AsioLoop&) = delete;

  EventNotifier& notifier() { return *notifier_; }

  // Watches no more, for good. Requires that nobody waits.
  void Stop();

 private:
  friend class AsioWait;

  AsioLoop(asio::io_context& context, std::unique_ptr<EventNotifier> notifier);

  void Watch();
  void AddDeadline(DeadlineList::Node& node, DeadlineList::Time deadline);
  void RemoveDeadline(DeadlineList::Node& node) { deadlines_.Remove(node); }
  // Sleeps until the earliest deadline.
  void ArmTimer();

  const std::unique_ptr<EventNotifier> notifier_;
  asio::posix::stream_descriptor descriptor_;
  DeadlineList deadlines_;
  asio::steady_timer timer_;
  DeadlineList::Time armed_ = DeadlineList::Time::max();
  bool stopped_ = false;
};

// The waits of one session, one at a time, for any completion token.
//
//   AsioWait wait(loop, session);
//   Allocation got = session.AllocateBuffers(wait.waker());
//   if (got == Allocation::kWaiting) got = co_await wait.AsyncFinish(token);
//
// Threads:  the loop's. Others may end the wait: session.CancelWait().
// Cost:     what need not wait costs nothing more.
// Lifetime: must not go while the session waits.
class AsioWait : private EventNotifier::Node, private DeadlineList::Node {
 public:
  using Time = DeadlineList::Time;

  AsioWait(AsioLoop& loop, SessionBuffers& session);

  // To allocate with. If the answer is kWaiting, AsyncFinish must follow before
  // the loop goes on.
  Waker waker();

  // An asynchronous operation, void(Allocation), that ends when the wait does:
  // kGranted, or kExhausted if it was cancelled or the deadline passed. It has
  // an Asio cancellation slot, of any type, which cancels the wait.
  template <class CompletionToken>
  auto AsyncFinish(CompletionToken&& token, Time deadline = Time::max()) {
    return completion_.AsyncWait(
        std::forward<CompletionToken>(token), [this, deadline](auto slot) {
          if (slot.is_connected()) {
            slot.assign([this](auto) { session_.CancelWait(); });
          }
          if (deadline != Time::max()) loop_.AddDeadline(*this, deadline);
        });
  }

 private:
  void Finish();

  AsioLoop& loop_;
  SessionBuffers& session_;
  AsioCompletion<Allocation> completion_;
};

// Awaits AllocateBuffers. The answer is kGranted, kOverloaded (too many wait,
// S7), or kExhausted: the wait was cancelled, or its deadline passed.
asio::awaitable<Allocation> BuffersFor(
    SessionBuffers& session, AsioLoop& loop,
    AsioWait::Time deadline = AsioWait::Time::max());

// Awaits AllocateReceiveBuffer, likewise.
asio::awaitable<Allocation> ReceiveBufferFor(
    SessionBuffers& session, Side side, AsioLoop& loop,
    AsioWait::Time deadline = AsioWait::Time::max());

}  // namespace tandem

#endif  // TANDEM_SESSION_ASIO_WAIT_H_
