#include "tandem/session/asio_wait.h"

#include <memory>
#include <utility>

#include "absl/status/statusor.h"

namespace tandem {

absl::StatusOr<std::unique_ptr<AsioLoop>> AsioLoop::Create(
    asio::io_context& context) {
  auto notifier = EventNotifier::Create();
  if (!notifier.ok()) return std::move(notifier).status();
  return std::unique_ptr<AsioLoop>(new AsioLoop(context, *std::move(notifier)));
}

AsioLoop::AsioLoop(asio::io_context& context,
                   std::unique_ptr<EventNotifier> notifier)
    : notifier_(std::move(notifier)),
      descriptor_(context, notifier_->fd()),
      timer_(context) {
  Watch();
}

AsioLoop::~AsioLoop() {
  // The notifier closes it.
  descriptor_.release();
}

void AsioLoop::Stop() {
  stopped_ = true;
  descriptor_.cancel();
  timer_.cancel();
}

void AsioLoop::Watch() {
  if (stopped_) return;
  descriptor_.async_wait(asio::posix::descriptor_base::wait_read,
                         [this](asio::error_code error) {
                           if (error) return;
                           notifier_->Dispatch();
                           Watch();
                         });
}

void AsioLoop::AddDeadline(DeadlineList::Node& node,
                           DeadlineList::Time deadline) {
  deadlines_.Add(node, deadline);
  if (deadline < armed_) ArmTimer();
}

void AsioLoop::ArmTimer() {
  armed_ = deadlines_.earliest();
  if (stopped_ || armed_ == DeadlineList::Time::max()) return;
  timer_.expires_at(armed_);
  timer_.async_wait([this](asio::error_code error) {
    if (error) return;
    deadlines_.Expire(DeadlineList::Time::clock::now());
    ArmTimer();
  });
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

Waker AsioWait::waker() {
  Waker waker = loop_.notifier().WakerFor(*this);
  waker.on_cancel = true;
  return waker;
}

void AsioWait::Finish() {
  // Before the deadline can meet the session's next wait.
  loop_.RemoveDeadline(*this);
  completion_.Complete(session_.FinishWait() == WaitStatus::kGranted
                           ? Allocation::kGranted
                           : Allocation::kExhausted);
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
