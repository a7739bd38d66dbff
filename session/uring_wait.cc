#include "tandem/session/uring_wait.h"

#include <liburing.h>
#include <poll.h>
#include <time.h>

#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tandem/pool/no_throw.h"
#include "tandem/session/deadline_list.h"

namespace tandem {
namespace {

// Null if the queue is full and nothing of it can be submitted.
io_uring_sqe* NewRequest(io_uring& ring) {
  if (io_uring_sqe* const sqe = io_uring_get_sqe(&ring)) return sqe;
  io_uring_submit(&ring);
  return io_uring_get_sqe(&ring);
}

}  // namespace

absl::StatusOr<std::unique_ptr<UringLoop>> UringLoop::Create(io_uring& ring) {
  // A ring that polls for completions has no polls of descriptors. If a kernel
  // thread submits, there is no way to know when it reads time_.
  if ((ring.flags & (IORING_SETUP_IOPOLL | IORING_SETUP_SQPOLL)) != 0) {
    return absl::InvalidArgumentError(
        "UringLoop::Create: the ring has IORING_SETUP_IOPOLL or "
        "IORING_SETUP_SQPOLL; allowed: neither");
  }
  auto notifier = EventNotifier::Create();
  if (!notifier.ok()) return std::move(notifier).status();
  std::unique_ptr<UringLoop> loop(new (std::nothrow)
                                      UringLoop(ring, *std::move(notifier)));
  if (loop != nullptr) return loop;
  return NoMemory();
}

bool UringLoop::Prepare() {
  const DeadlineList::Time earliest = deadlines_.earliest();
  const bool timed = earliest >= timeout_ || SetTimeout(earliest);
  return (polling_ || Poll()) && timed;
}

bool UringLoop::Poll() {
  io_uring_sqe* const sqe = NewRequest(ring_);
  if (sqe == nullptr) return false;
  // One shot: it looks at the descriptor's state, whatever came before. A
  // multishot poll reports changes only, and the kernel may end it.
  io_uring_prep_poll_add(sqe, notifier_->fd(), POLLIN);
  sqe->user_data = DataOf(Request::kPoll);
  return polling_ = true;
}

bool UringLoop::SetTimeout(DeadlineList::Time end) {
  io_uring_sqe* const sqe = NewRequest(ring_);
  if (sqe == nullptr) return false;
  const timespec time = ToTimespec(end);
  time_ = {.tv_sec = time.tv_sec, .tv_nsec = time.tv_nsec};
  if (timeout_ == DeadlineList::Time::max()) {
    io_uring_prep_timeout(sqe, &time_, 0, IORING_TIMEOUT_ABS);
    sqe->user_data = DataOf(Request::kTimeout);
  } else {
    // If this comes too late, the timeout's completion is on its way.
    io_uring_prep_timeout_update(sqe, &time_, DataOf(Request::kTimeout),
                                 IORING_TIMEOUT_ABS);
    sqe->user_data = DataOf(Request::kUpdate);
  }
  timeout_ = end;
  return true;
}

bool UringLoop::Handle(const io_uring_cqe& cqe) {
  if (cqe.user_data == DataOf(Request::kPoll)) {
    polling_ = false;
    notifier_->Dispatch();
    return true;
  }
  if (cqe.user_data == DataOf(Request::kTimeout)) {
    timeout_ = DeadlineList::Time::max();
    deadlines_.Expire(DeadlineList::Time::clock::now());
    return true;
  }
  return cqe.user_data == DataOf(Request::kUpdate);
}

UringWait::UringWait(UringLoop& loop, SessionBuffers& session,
                     Function function, void* context)
    : loop_(loop), session_(session), function_(function), context_(context) {
  on_ready = [](EventNotifier::Node& node) {
    static_cast<UringWait&>(node).Finish();
  };
  on_expired = [](DeadlineList::Node& node) {
    static_cast<UringWait&>(node).session_.CancelWait();
  };
}

UringWait::~UringWait() {
  if (!waiting_) return;
  loop_.deadlines().Remove(*this);
  session_.CancelWait();
  // Cancelled or granted, the waker is called exactly once (Waker::on_cancel).
  loop_.notifier().TakeBack(*this);
  session_.FinishWait();
}

Waker UringWait::waker() {
  Waker waker = loop_.notifier().WakerFor(*this);
  waker.on_cancel = true;
  return waker;
}

Allocation UringWait::Begun(Allocation result, Time deadline) {
  // The wake-up may have been posted already; only this thread dispatches it.
  if (result == Allocation::kWaiting) {
    waiting_ = true;
    if (deadline != Time::max()) loop_.deadlines().Add(*this, deadline);
  }
  return result;
}

void UringWait::Finish() {
  // Remove the deadline first, so that it cannot cancel the session's next
  // wait.
  loop_.deadlines().Remove(*this);
  waiting_ = false;
  const Allocation result = session_.FinishWait() == WaitStatus::kGranted
                                ? Allocation::kGranted
                                : Allocation::kExhausted;
  function_(context_, result);
}

}  // namespace tandem
