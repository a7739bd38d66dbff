#ifndef TANDEM_SESSION_COROUTINE_H_
#define TANDEM_SESSION_COROUTINE_H_

#if __cplusplus < 202002L
#error "Tandem needs C++20: compile with -std=c++20"
#endif

#include <coroutine>
#include <utility>

#include "tandem/session/coroutine_frame.h"
#include "tandem/session/deadline_list.h"
#include "tandem/session/event_notifier.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"
#include "tandem/session/waker.h"

namespace tandem {

// Waits by suspending a C++20 coroutine, which the event loop of a notifier
// resumes, never the thread that serves it.
//
//   const Allocation got = co_await BuffersFor(session, notifier);
//   if (got != Allocation::kGranted) co_return;
//
// With a deadline, or to be cancelled by somebody else:
//
//   got = co_await BuffersFor(session, notifier, deadlines, now + 5s);
//   // meanwhile, on any thread: session.CancelWait()
//
// The answer is kGranted, kOverloaded (too many wait, S7), or kExhausted: the
// wait was cancelled, or its deadline passed.
//
// `if (co_await BuffersFor(...) != ...)` is right as well, with Clang and newer
// g++. In g++ 12.2 a condition may await only inside of a block that declares a
// variable; elsewhere CheckFrame aborts and says so.
//
// Threads:  awaited, resumed, expired and destroyed on the loop's thread.
// Lifetime: session, notifier and deadlines must outlive the wait. A coroutine
//           may be destroyed while it is suspended here: its wait ends, and if
//           it had been granted already, the session has the buffers. That
//           waits for a thread that is just delivering the wake-up.
template <class Request>
class BufferAwaitable : private EventNotifier::Node,
                        private DeadlineList::Node {
 public:
  // `request` is called once, with the session and a waker, to allocate.
  BufferAwaitable(SessionBuffers& session, EventNotifier& notifier,
                  Request request)
      : session_(session), notifier_(notifier), request_(std::move(request)) {
    on_ready = [](EventNotifier::Node& node) {
      std::exchange(static_cast<BufferAwaitable&>(node).waiter_, nullptr)
          .resume();
    };
    on_expired = [](DeadlineList::Node& node) {
      static_cast<BufferAwaitable&>(node).session_.CancelWait();
    };
  }

  // The same with a deadline: the loop calls deadlines.Expire.
  BufferAwaitable(SessionBuffers& session, EventNotifier& notifier,
                  Request request, DeadlineList& deadlines,
                  DeadlineList::Time deadline)
      : BufferAwaitable(session, notifier, std::move(request)) {
    deadlines_ = &deadlines;
    deadline_ = deadline;
  }

  BufferAwaitable(const BufferAwaitable&) = delete;
  BufferAwaitable& operator=(const BufferAwaitable&) = delete;

  ~BufferAwaitable() {
    if (!waiter_) return;
    // Suspended, so the coroutine is being destroyed.
    if (deadlines_ != nullptr) deadlines_->Remove(*this);
    session_.CancelWait();
    // Lost or won, the waker is called once (Waker::on_cancel).
    notifier_.TakeBack(*this);
    session_.FinishWait();
  }

  bool await_ready() const { return false; }

  bool await_suspend(std::coroutine_handle<> waiter) {
    CheckFrame(waiter);
    waiter_ = waiter;
    // All set before: the loop may resume and end this while it still
    // allocates.
    result_ = Allocation::kWaiting;
    if (deadlines_ != nullptr) deadlines_->Add(*this, deadline_);
    Waker waker = notifier_.WakerFor(*this);
    waker.on_cancel = true;
    const Allocation result = request_(session_, waker);
    if (result == Allocation::kWaiting) return true;
    result_ = result;
    waiter_ = nullptr;
    return false;
  }

  Allocation await_resume() {
    // Before the deadline can meet the session's next wait.
    if (deadlines_ != nullptr) deadlines_->Remove(*this);
    if (result_ != Allocation::kWaiting) return result_;
    return session_.FinishWait() == WaitStatus::kGranted
               ? Allocation::kGranted
               : Allocation::kExhausted;
  }

 private:
  SessionBuffers& session_;
  EventNotifier& notifier_;
  Request request_;
  DeadlineList* deadlines_ = nullptr;
  DeadlineList::Time deadline_;
  std::coroutine_handle<> waiter_;  // null unless it is suspended
  Allocation result_ = Allocation::kWaiting;
};

// Awaits AllocateBuffers; with `deadline...` a DeadlineList& and a time.
template <class... Deadline>
auto BuffersFor(SessionBuffers& session, EventNotifier& notifier,
                Deadline&&... deadline) {
  return BufferAwaitable(
      session, notifier,
      [](SessionBuffers& s, Waker waker) { return s.AllocateBuffers(waker); },
      std::forward<Deadline>(deadline)...);
}

// Awaits AllocateReceiveBuffer; with `deadline...` likewise.
template <class... Deadline>
auto ReceiveBufferFor(SessionBuffers& session, Side side,
                      EventNotifier& notifier, Deadline&&... deadline) {
  return BufferAwaitable(
      session, notifier,
      [side](SessionBuffers& s, Waker waker) {
        return s.AllocateReceiveBuffer(side, waker);
      },
      std::forward<Deadline>(deadline)...);
}

}  // namespace tandem

#endif  // TANDEM_SESSION_COROUTINE_H_
