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

// Waits in an event loop of Asio's.
//
//   asio::io_context context;
//   auto loop = AsioLoop::Create(context).value();
//
//   asio::awaitable<void> Serve(SessionBuffers& session, AsioLoop& loop) {
//     const Allocation got = co_await BuffersFor(session, loop);
//     if (got != Allocation::kGranted) co_return;
//
// Wake-ups come from any thread, by one write to an eventfd(2) for each batch;
// a thread that runs the context goes on, never the thread that serves it. If
// several run it, each session has a strand:
//
//   asio::co_spawn(asio::make_strand(context), Serve(session, *loop), …);
//
// With g++ 12.2 don't await in the condition of an if, switch or loop, neither
// this nor anything of Asio's, unless a block around it declares a variable: it
// compiles such a coroutine wrong, which crashes when it is first run
// (coroutine_frame.h says why). The form above is right everywhere.

// Brings wake-ups and deadlines to one asio::io_context.
//
// Threads:  any number may run the context, if what uses one session is kept
//           apart: one strand for each session, say. Stop: any.
// Progress: wake-ups are lock-free. Threads that run the context take turns at
//           a mutex, as they do at Asio's own; no handler is called under it.
// Lifetime: must be destroyed when its waits have ended or are to end, while no
//           other thread begins one, and before the context. Until Stop, it
//           keeps run() from returning.
class AsioLoop {
 public:
  // The system's error if no eventfd(2) can be had or watched,
  // ResourceExhausted if there is no memory.
  static absl::StatusOr<std::unique_ptr<AsioLoop>> Create(
      asio::io_context& context);

  // Stops. Nothing that the context still runs touches this any more.
  ~AsioLoop();
  AsioLoop(const AsioLoop&) = delete;
  AsioLoop& operator=(const AsioLoop&) = delete;

  // Ends all waits, and watches no more, for good. Each wait is cancelled
  // (kExhausted), or had been granted just before; its handler is posted, not
  // called in place. Waits that begin later end likewise.
  void Stop();

 private:
  friend class AsioWait;

  // What handlers that the context has yet to run hold of the loop.
  struct Gate {
    std::mutex mutex;  // over all below, and its waits
    AsioLoop* loop;    // null once it has stopped
  };

  AsioLoop(asio::io_context& context, std::unique_ptr<EventNotifier> notifier);

  // All below is called under the gate's mutex.
  bool stopped() const { return gate_->loop == nullptr; }
  void Watch();
  void Dispatch();
  // For waits that have ended: another thread may be about to post them.
  template <class Over>
  void DispatchUntil(Over over);
  void AddDeadline(DeadlineList::Node& node, DeadlineList::Time deadline);
  // Sleeps until the earliest deadline.
  void ArmTimer();

  asio::io_context& context_;
  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
  const std::unique_ptr<EventNotifier> notifier_;
  // All waits, those without a deadline as well.
  DeadlineList deadlines_;
  size_t waits_ = 0;
  asio::steady_timer timer_;
  DeadlineList::Time armed_ = DeadlineList::Time::max();
  // False if there was no memory to watch again: the next wait tries.
  bool watching_ = false;
  // The last, so that it is not there to close the notifier's descriptor if
  // one of the others can't be had.
  asio::posix::stream_descriptor descriptor_;
};

// The waits of one session, one at a time, for any completion token.
//
//   AsioWait wait(loop, session);
//   Allocation got = session.AllocateBuffers(wait.waker());
//   if (got == Allocation::kWaiting) got = co_await wait.AsyncFinish(token);
//
// Threads:  one at a time, the session's. Others may end the wait:
//           session.CancelWait().
// Cost:     what need not wait costs nothing more.
// Lifetime: destroyed while it waits, it ends the wait; the handler is posted.
//           Loop and session must outlive the wait.
class AsioWait : private EventNotifier::Node, private DeadlineList::Node {
 public:
  using Time = DeadlineList::Time;

  AsioWait(AsioLoop& loop, SessionBuffers& session);
  ~AsioWait();

  // To allocate with. If the answer is kWaiting, AsyncFinish must follow at
  // once.
  Waker waker();

  // An asynchronous operation, void(Allocation), that ends when the wait does:
  // kGranted, or kExhausted if it was cancelled or the deadline passed. It has
  // an Asio cancellation slot, of any type, which cancels the wait.
  //
  // An exception of the handler's leaves the context's run(), as it does with
  // Asio's own operations; no other wake-up is lost by it. So does bad_alloc,
  // if Asio has no memory to call the handler.
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
  // How it ended, if that was before there was a handler.
  std::optional<Allocation> ended_;
  // From Begin to Finish, whose last touch it is: false lets this go.
  std::atomic<bool> waiting_{false};
};

// Awaits AllocateBuffers. The answer is kGranted, kOverloaded (too many wait,
// S7), or kExhausted: the wait was cancelled, its deadline passed, or the loop
// was stopped.
asio::awaitable<Allocation> BuffersFor(
    SessionBuffers& session, AsioLoop& loop,
    AsioWait::Time deadline = AsioWait::Time::max());

// Awaits AllocateReceiveBuffer, likewise.
asio::awaitable<Allocation> ReceiveBufferFor(
    SessionBuffers& session, Side side, AsioLoop& loop,
    AsioWait::Time deadline = AsioWait::Time::max());

}  // namespace tandem

#endif  // TANDEM_SESSION_ASIO_WAIT_H_
