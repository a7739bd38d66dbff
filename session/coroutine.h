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

// Waits by suspending a C++20 coroutine. The event loop of a notifier resumes
// it, never the thread that served it.
//
//   const Allocation got = co_await BuffersFor(session, notifier);
//   if (got != Allocation::kGranted) co_return;
//
// With a deadline, or with cancellation by another thread:
//
//   got = co_await BuffersFor(session, notifier, deadlines, now + 5s);
//   // meanwhile, on any thread: session.CancelWait()
//
// The answer is kGranted, kOverloaded (too many sessions wait, S7), or
// kExhausted: the wait was cancelled, or its deadline passed.
//
// `if (co_await BuffersFor(...) != ...)` is also correct with Clang and newer
// g++. With g++ 12.2 a condition may await only inside a block that declares a
// variable; elsewhere CheckFrame aborts with a message.
//
// Threads:  awaited, resumed, expired and destroyed on the loop's thread.
// Lifetime: the session, notifier and deadlines must outlive the wait. A
//           coroutine may be destroyed while it is suspended here: its wait
//           ends, and if the wait had already been granted, the session has the
//           buffers. Destruction waits for a thread that is delivering the
//           wake-up.
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

  // With a deadline: the loop must call deadlines.Expire.
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
    // The coroutine is suspended, so it is being destroyed.
    if (deadlines_ != nullptr) deadlines_->Remove(*this);
    session_.CancelWait();
    // Cancelled or granted, the waker is called exactly once
    // (Waker::on_cancel).
    notifier_.TakeBack(*this);
    session_.FinishWait();
  }

  bool await_ready() const { return false; }

  bool await_suspend(std::coroutine_handle<> waiter) {
    CheckFrame(waiter);
    waiter_ = waiter;
    // Set everything before the request: the loop may resume and destroy this
    // object before the request returns.
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
    // Remove the deadline first, so that it cannot cancel the session's next
    // wait.
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
  std::coroutine_handle<> waiter_;  // null unless suspended
  Allocation result_ = Allocation::kWaiting;
};

// Awaits AllocateBuffers. `deadline...` is empty, or a DeadlineList& and a
// time.
template <class... Deadline>
auto BuffersFor(SessionBuffers& session, EventNotifier& notifier,
                Deadline&&... deadline) {
  return BufferAwaitable(
      session, notifier,
      [](SessionBuffers& s, Waker waker) { return s.AllocateBuffers(waker); },
      std::forward<Deadline>(deadline)...);
}

// Awaits AllocateReceiveBuffer. `deadline...` as above.
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
