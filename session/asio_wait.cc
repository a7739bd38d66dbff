#include "tandem/session/asio_wait.h"

#include <asio/system_error.hpp>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tandem/pool/no_throw.h"

namespace tandem {

absl::StatusOr<std::unique_ptr<AsioLoop>> AsioLoop::Create(
    asio::io_context& context) {
  auto notifier = EventNotifier::Create();
  if (!notifier.ok()) return std::move(notifier).status();
  try {
    std::unique_ptr<AsioLoop> loop(new AsioLoop(context, *std::move(notifier)));
    loop->Watch();
    return loop;
  } catch (const asio::system_error& error) {
    return absl::ErrnoToStatus(error.code().value(), "watching an eventfd");
  } catch (const std::bad_alloc&) {
    return NoMemory();
  }
}

AsioLoop::AsioLoop(asio::io_context& context,
                   std::unique_ptr<EventNotifier> notifier)
    : context_(context),
      notifier_(std::move(notifier)),
      timer_(context),
      descriptor_(context, notifier_->fd()) {
  gate_->loop = this;
}

AsioLoop::~AsioLoop() { Stop(); }

void AsioLoop::Stop() {
  const std::lock_guard lock(gate_->mutex);
  if (stopped()) return;
  gate_->loop = nullptr;
  // The notifier closes the descriptor.
  descriptor_.release();
  timer_.cancel();
  deadlines_.Expire(DeadlineList::Time::max());
  DispatchUntil([this] { return waits_ == 0; });
}

void AsioLoop::Watch() {
  descriptor_.async_wait(asio::posix::descriptor_base::wait_read,
                         [gate = gate_](asio::error_code error) {
                           const std::lock_guard lock(gate->mutex);
                           AsioLoop* const loop = gate->loop;
                           if (error || loop == nullptr) return;
                           loop->watching_ = false;
                           loop->Dispatch();
                         });
  watching_ = true;
}

void AsioLoop::Dispatch() {
  // Watch again in any case: if there is no memory to post a handler, the next
  // dispatch handles the remaining wake-ups.
  try {
    notifier_->Dispatch();
  } catch (...) {
    Watch();
    throw;
  }
  Watch();
}

template <class Over>
void AsioLoop::DispatchUntil(Over over) {
  while (!over()) {
    try {
      if (notifier_->Dispatch() == 0) std::this_thread::yield();
    } catch (const std::bad_alloc&) {
      // Asio had no memory to post this handler, so it is lost; continue with
      // the others.
    }
  }
}

void AsioLoop::AddDeadline(DeadlineList::Node& node,
                           DeadlineList::Time deadline) {
  deadlines_.Add(node, deadline);
  if (deadline < armed_) ArmTimer();
}

void AsioLoop::ArmTimer() {
  armed_ = DeadlineList::Time::max();
  const DeadlineList::Time earliest = deadlines_.earliest();
  if (stopped() || earliest == DeadlineList::Time::max()) return;
  timer_.expires_at(earliest);
  timer_.async_wait([gate = gate_](asio::error_code error) {
    const std::lock_guard lock(gate->mutex);
    AsioLoop* const loop = gate->loop;
    if (error || loop == nullptr) return;
    loop->deadlines_.Expire(DeadlineList::Time::clock::now());
    loop->ArmTimer();
  });
  armed_ = earliest;
}

AsioWait::AsioWait(AsioLoop& loop, SessionBuffers& session)
    : loop_(loop), session_(session) {
  on_ready = [](EventNotifier::Node& node) {
    static_cast<AsioWait&>(node).Finish();
  };
  on_expired = [](DeadlineList::Node& node) {
    static_cast<AsioWait&>(node).session_.CancelWait();
  };
}

AsioWait::~AsioWait() {
  if (!waiting_) return;
  const std::lock_guard lock(loop_.gate_->mutex);
  End();
}

Waker AsioWait::waker() {
  Waker waker = loop_.notifier_->WakerFor(*this);
  waker.on_cancel = true;
  return waker;
}

void AsioWait::Begin(Time deadline) {
  const std::lock_guard lock(loop_.gate_->mutex);
  // Another thread of the context may already have ended the wait.
  if (ended_) return;
  waiting_ = true;
  ++loop_.waits_;
  loop_.AddDeadline(*this, deadline);
  if (loop_.stopped()) {
    End();
  } else if (!loop_.watching_) {
    loop_.Watch();
  }
}

void AsioWait::Keep(AsioHandler<Allocation> handler) {
  const std::lock_guard lock(loop_.gate_->mutex);
  if (ended_) {
    std::move(handler).Post(*std::exchange(ended_, std::nullopt));
  } else {
    handler_ = std::move(handler);
  }
}

void AsioWait::Finish() {
  // Remove the deadline first, so that it cannot cancel the session's next
  // wait.
  loop_.deadlines_.Remove(*this);
  const Allocation got = session_.FinishWait() == WaitStatus::kGranted
                             ? Allocation::kGranted
                             : Allocation::kExhausted;
  AsioHandler<Allocation> handler = std::move(handler_);
  if (!handler) ended_ = got;
  if (waiting_) {
    --loop_.waits_;
    waiting_ = false;
  }
  // From here on this object may be gone.
  if (handler) std::move(handler).Post(got);
}

void AsioWait::End() {
  session_.CancelWait();
  // Cancelled or granted, the waker is called exactly once (Waker::on_cancel).
  loop_.DispatchUntil([this] { return !waiting_; });
}

asio::awaitable<Allocation> BuffersFor(SessionBuffers& session, AsioLoop& loop,
                                       AsioWait::Time deadline) {
  AsioWait wait(loop, session);
  const Allocation got = session.AllocateBuffers(wait.waker());
  if (got != Allocation::kWaiting) co_return got;
  const Allocation end =
      co_await wait.AsyncFinish(asio::use_awaitable, deadline);
  co_return end;
}

asio::awaitable<Allocation> ReceiveBufferFor(SessionBuffers& session, Side side,
                                             AsioLoop& loop,
                                             AsioWait::Time deadline) {
  AsioWait wait(loop, session);
  const Allocation got = session.AllocateReceiveBuffer(side, wait.waker());
  if (got != Allocation::kWaiting) co_return got;
  const Allocation end =
      co_await wait.AsyncFinish(asio::use_awaitable, deadline);
  co_return end;
}

}  // namespace tandem
