#ifndef TANDEM_SESSION_URING_WAIT_H_
#define TANDEM_SESSION_URING_WAIT_H_

#if __cplusplus < 202002L
#error "Tandem needs C++20: compile with -std=c++20"
#endif

#include <linux/time_types.h>

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "tandem/session/coroutine.h"
#include "tandem/session/deadline_list.h"
#include "tandem/session/event_notifier.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"

struct io_uring;
struct io_uring_cqe;

namespace tandem {

// Waits for buffers in a server's io_uring(7): wake-ups and deadlines are
// completions of its own ring.
//
//   auto loop = UringLoop::Create(ring).value();
//   for (;;) {
//     io_uring_submit_and_wait(&ring, loop->Prepare() ? 1 : 0);
//     unsigned head, count = 0;
//     io_uring_cqe* cqe;
//     io_uring_for_each_cqe(&ring, head, cqe) {
//       ++count;
//       if (!loop->Handle(*cqe)) …  // a completion of the server's own
//     }
//     io_uring_cq_advance(&ring, count);
//   }
//
// A session waits as a coroutine, with BuffersFor and ReceiveBufferFor, or as a
// callback, with UringWait.

// Brings wake-ups and deadlines to one ring: a poll of an eventfd(2), which
// EventNotifier writes once for each batch of wake-ups, and one timeout, for
// the earliest deadline.
//
// The thread that releases buffers needs no ring for that, and may be a signal
// handler that interrupted the ring's thread in the middle of a submission:
// write(2) is all that it does. So the loop uses no IORING_OP_MSG_RING, which
// needs a ring to submit it, nor IORING_REGISTER_SEND_MSG_RING, which the
// kernel may refuse, and then the wake-up would be lost.
//
// Threads:  the ring's thread. The wakers, and session.CancelWait(): any.
// Cost:     one request for each batch of wake-ups, and one each time that the
//           earliest deadline becomes earlier, submitted with the server's own.
//           For a batch, write(2) and read(2) of the eventfd.
// Requests: their user_data are addresses in this object. The submission queue
//           is touched in Prepare only, so that the server may build chains of
//           linked requests elsewhere.
// Full:     Prepare submits if the submission queue is full. If the completion
//           queue is full, the kernel keeps completions until there is room
//           (IORING_FEAT_NODROP), and the poll is level-triggered, so that no
//           wake-up is lost. It is lost if the kernel has no memory for a
//           completion (IORING_SQ_CQ_OVERFLOW, cq.koverflow), as any completion
//           then is.
// Lifetime: the loop must outlive its waits, and be destroyed after the ring,
//           or after the last completion of the ring has been handled. Once the
//           ring has ended, wake-ups have no effect, and a wait ends when it is
//           destroyed, without a call.
class UringLoop {
 public:
  // Returns InvalidArgument for a ring of IORING_SETUP_IOPOLL or
  // IORING_SETUP_SQPOLL, the system's error if eventfd(2) fails,
  // ResourceExhausted if there is no memory.
  static absl::StatusOr<std::unique_ptr<UringLoop>> Create(io_uring& ring);

  UringLoop(const UringLoop&) = delete;
  UringLoop& operator=(const UringLoop&) = delete;

  // Puts the loop's requests, at most two, into the submission queue. Call it
  // before each submission. False if there was no room, because a submission
  // failed: the caller must not sleep before it has called this again.
  [[nodiscard]] bool Prepare();

  // Returns false if the completion is not one of the loop's. Otherwise calls
  // the functions and resumes the coroutines of waits that have ended; they may
  // do what a handler of the server's own completions may do.
  bool Handle(const io_uring_cqe& cqe);

  // For waits that the server builds itself.
  EventNotifier& notifier() { return *notifier_; }
  DeadlineList& deadlines() { return deadlines_; }

 private:
  UringLoop(io_uring& ring, std::unique_ptr<EventNotifier> notifier)
      : ring_(ring), notifier_(std::move(notifier)) {}

  // What a completion of the loop's is for.
  enum class Request : uint8_t { kPoll, kTimeout, kUpdate };
  uint64_t DataOf(Request request) const {
    return reinterpret_cast<uintptr_t>(this) + static_cast<uint8_t>(request);
  }

  // False if there is no room.
  bool Poll();
  bool SetTimeout(DeadlineList::Time end);

  io_uring& ring_;
  const std::unique_ptr<EventNotifier> notifier_;
  DeadlineList deadlines_;
  bool polling_ = false;
  // When the timeout in the kernel ends, at the latest; max if there is none.
  DeadlineList::Time timeout_ = DeadlineList::Time::max();
  // The same for the kernel, which reads it when the request is submitted.
  __kernel_timespec time_ = {};
};

// Waits of one session, one at a time, whose end is told by a call.
//
//   UringWait wait(loop, session, OnBuffers, this);
//   switch (wait.AllocateBuffers(deadline)) {
//     case Allocation::kGranted: …
//     case Allocation::kWaiting: return;  // OnBuffers goes on
//
// Threads:  the ring's thread. Other threads may end the wait:
//           session.CancelWait().
// Cost:     none beyond the allocation if the session does not wait.
// Lifetime: destruction ends a wait without a call, and waits for a thread that
//           is delivering the wake-up. The loop and the session must outlive
//           the wait.
class UringWait : private EventNotifier::Node, private DeadlineList::Node {
 public:
  using Time = DeadlineList::Time;

  // Called by UringLoop::Handle when a wait has ended: kGranted, or kExhausted
  // if it was cancelled or its deadline passed. May begin the next wait or
  // destroy this object.
  using Function = void (*)(void* context, Allocation result);

  UringWait(UringLoop& loop, SessionBuffers& session, Function function,
            void* context);
  ~UringWait();

  // As in SessionBuffers. kWaiting: the function will be called.
  Allocation AllocateBuffers(Time deadline = Time::max()) {
    return waiting_ ? Allocation::kWaiting
                    : Begun(session_.AllocateBuffers(waker()), deadline);
  }
  Allocation AllocateReceiveBuffer(Side side, Time deadline = Time::max()) {
    return waiting_
               ? Allocation::kWaiting
               : Begun(session_.AllocateReceiveBuffer(side, waker()), deadline);
  }

 private:
  Waker waker();
  Allocation Begun(Allocation result, Time deadline);
  void Finish();

  UringLoop& loop_;
  SessionBuffers& session_;
  const Function function_;
  void* const context_;
  bool waiting_ = false;
};

// Awaits AllocateBuffers. Returns kGranted, kOverloaded (too many sessions
// wait, S7), or kExhausted: the wait was cancelled, or its deadline passed.
// Threads, lifetime, and what g++ 12.2 compiles wrong: coroutine.h.
inline auto BuffersFor(
    SessionBuffers& session, UringLoop& loop,
    DeadlineList::Time deadline = DeadlineList::Time::max()) {
  return BuffersFor(session, loop.notifier(), loop.deadlines(), deadline);
}

// Awaits AllocateReceiveBuffer, with the same results.
inline auto ReceiveBufferFor(
    SessionBuffers& session, Side side, UringLoop& loop,
    DeadlineList::Time deadline = DeadlineList::Time::max()) {
  return ReceiveBufferFor(session, side, loop.notifier(), loop.deadlines(),
                          deadline);
}

}  // namespace tandem

#endif  // TANDEM_SESSION_URING_WAIT_H_
