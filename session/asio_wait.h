#ifndef TANDEM_SESSION_ASIO_WAIT_H_
#define TANDEM_SESSION_ASIO_WAIT_H_

#if __cplusplus < 202002L
#error "Tandem needs C++20: compile with -std=c++20"
#endif

#include <asio/async_result.hpp>
#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "tandem/session/asio_completion.h"
#include "tandem/session/deadline_list.h"
#include "tandem/session/event_notifier.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"
#include "tandem/session/waker.h"

namespace tandem {

// Waits for buffers in an Asio event loop.
//
//   asio::io_context context;
//   auto loop = AsioLoop::Create(context).value();
//
//   asio::awaitable<void> Serve(SessionBuffers& session, AsioLoop& loop) {
//     const Allocation got = co_await BuffersFor(session, loop);
//     if (got != Allocation::kGranted) co_return;
//
// Wake-ups come from any thread, with one write to an eventfd(2) for each
// batch. The coroutine resumes on a thread that runs the context, never on the
// thread that served it. If several threads run the context, create a strand
// for each session:
//
//   asio::co_spawn(asio::make_strand(context), Serve(session, *loop), …);
//
// With g++ 12.2, do not await in the condition of an if, switch or loop, unless
// an enclosing block declares a variable. This holds for every Asio awaitable.
// The compiler miscompiles such a coroutine, which then crashes on its first
// run (coroutine_frame.h explains why). The form above is always correct.

// Brings wake-ups and deadlines to one asio::io_context.
//
// Threads:  any number may run the context if the uses of one session are
//           serialized, for example by one strand for each session. Stop: any
//           thread.
// Progress: wake-ups are lock-free. Threads that run the context take turns at
//           a mutex, as they do at Asio's own mutex; no handler is called under
//           it.
// Lifetime: destroy the loop before the context, while no other thread begins a
//           wait. Destruction ends all waits. Until Stop, the loop keeps run()
//           from returning.
class AsioLoop {
 public:
  // Returns the system's error if an eventfd(2) cannot be created or watched,
  // ResourceExhausted if there is no memory.
  static absl::StatusOr<std::unique_ptr<AsioLoop>> Create(
      asio::io_context& context);

  // Calls Stop. Handlers that the context still runs do not touch this object.
  ~AsioLoop();
  AsioLoop(const AsioLoop&) = delete;
  AsioLoop& operator=(const AsioLoop&) = delete;

  // Ends all waits and stops watching, permanently. Each wait is cancelled
  // (kExhausted), unless it has just been granted; its handler is posted, not
  // called in place. Waits that begin later end in the same way.
  void Stop();

 private:
  friend class AsioWait;

  // The part of the loop that is shared with handlers the context has yet to
  // run.
  struct Gate {
    std::mutex mutex;  // protects all members below, and the loop's waits
    AsioLoop* loop;    // null after Stop
  };

  AsioLoop(asio::io_context& context, std::unique_ptr<EventNotifier> notifier);

  // All functions below are called under the gate's mutex.
  bool stopped() const { return gate_->loop == nullptr; }
  void Watch();
  void Dispatch();
  // For waits that have ended: another thread may be about to post them.
  template <class Over>
  void DispatchUntil(Over over);
  void AddDeadline(DeadlineList::Node& node, DeadlineList::Time deadline);
  // Sets the timer for the earliest deadline.
  void ArmTimer();

  asio::io_context& context_;
  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
  const std::unique_ptr<EventNotifier> notifier_;
  // Holds all waits, including those without a deadline.
  DeadlineList deadlines_;
  size_t waits_ = 0;
  asio::steady_timer timer_;
  DeadlineList::Time armed_ = DeadlineList::Time::max();
  // False if there was no memory to watch again: the next wait tries again.
  bool watching_ = false;
  // The last member: if constructing another member fails, no descriptor object
  // exists that would close the notifier's descriptor.
  asio::posix::stream_descriptor descriptor_;
};

// Waits of one session, one at a time, for any completion token.
//
//   AsioWait wait(loop, session);
//   Allocation got = session.AllocateBuffers(wait.waker());
//   if (got == Allocation::kWaiting) got = co_await wait.AsyncFinish(token);
//
// Threads:  one at a time, the session's thread. Other threads may end the
//           wait: session.CancelWait().
// Cost:     none beyond the allocation if the session does not wait.
// Lifetime: destruction ends a wait and posts its handler. The loop and the
//           session must outlive the wait.
class AsioWait : private EventNotifier::Node, private DeadlineList::Node {
 public:
  using Time = DeadlineList::Time;

  AsioWait(AsioLoop& loop, SessionBuffers& session);
  ~AsioWait();

  // The waker for the allocation. If the allocation returns kWaiting, the
  // caller must call AsyncFinish at once.
  Waker waker();

  // An asynchronous operation, void(Allocation), that ends when the wait ends:
  // kGranted, or kExhausted if the wait was cancelled or its deadline passed.
  // An Asio cancellation slot, of any type, cancels the wait.
  //
  // An exception that the handler throws leaves the context's run(), as with
  // Asio's own operations; no other wake-up is lost. The same holds for
  // bad_alloc if Asio has no memory to call the handler.
  template <class CompletionToken>
  auto AsyncFinish(CompletionToken&& token, Time deadline = Time::max()) {
    Begin(deadline);
    return asio::async_initiate<CompletionToken, void(Allocation)>(
        [this](auto handler) {
          Keep(AsioHandler<Allocation>(
              std::move(handler), loop_.context_,
              [&session = session_] { session.CancelWait(); }));
        },
        token);
  }

 private:
  void Begin(Time deadline);
  void Keep(AsioHandler<Allocation> handler);

  // Under the loop's mutex:
  // The waker has been called.
  void Finish();
  // Ends the wait now.
  void End();

  AsioLoop& loop_;
  SessionBuffers& session_;
  AsioHandler<Allocation> handler_;
  // How the wait ended, if it ended before there was a handler.
  std::optional<Allocation> ended_;
  // True from Begin to Finish. Setting it to false is the last access of
  // Finish: after that this object may be destroyed.
  std::atomic<bool> waiting_{false};
};

// Awaits AllocateBuffers. Returns kGranted, kOverloaded (too many sessions
// wait, S7), or kExhausted: the wait was cancelled, its deadline passed, or the
// loop was stopped.
asio::awaitable<Allocation> BuffersFor(
    SessionBuffers& session, AsioLoop& loop,
    AsioWait::Time deadline = AsioWait::Time::max());

// Awaits AllocateReceiveBuffer, with the same results.
asio::awaitable<Allocation> ReceiveBufferFor(
    SessionBuffers& session, Side side, AsioLoop& loop,
    AsioWait::Time deadline = AsioWait::Time::max());

}  // namespace tandem

#endif  // TANDEM_SESSION_ASIO_WAIT_H_
