#include "tandem/session/session_buffers.h"

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "tandem/pool/die.h"

namespace tandem {

SessionBuffers::SessionBuffers(SessionAllocator& allocator) noexcept
    : allocator_(allocator), pool_(allocator.pool()) {}

SessionBuffers::~SessionBuffers() {
  if (!CancelWait()) FinishWait();
  contents_ = {};
  ReleaseEmptySides();
}

void SessionBuffers::ReleaseEmptySides() noexcept {
  std::array<std::byte*, 2> empty;
  size_t count = 0;
  for (const Side side : kSides) {
    if (!HoldsEmpty(side)) continue;
    empty[count++] = std::exchange(buffers_[Int(side)], nullptr);
    contents_[Int(side)] = {};
  }
  // Both at once, so that one release can serve a waiting pair.
  if (count != 0) allocator_.door_.TakeBack(std::span(empty).first(count));
}

Allocation SessionBuffers::AllocateBufferAs(ClassId id, Side side) noexcept {
  allocator_.CheckNeedsOne(id);
  if (StillWaiting()) return Allocation::kWaiting;
  if (has_buffer(side)) return Allocation::kGranted;
  return Take(id, SetOf(side));
}

Allocation SessionBuffers::AllocateBufferAs(ClassId id, Side side,
                                            Waker waker) noexcept {
  allocator_.CheckNeedsOne(id);
  if (StillWaiting()) return Allocation::kWaiting;
  if (has_buffer(side)) return Allocation::kGranted;
  return TakeOrWait(id, SetOf(side), waker);
}

Allocation SessionBuffers::AllocateBothSlow() noexcept {
  if (StillWaiting()) return Allocation::kWaiting;
  const Sides missing = MissingSides();
  if (missing == 0) return Allocation::kGranted;
  const bool pair = missing == kBothSides;
  const Allocation result =
      Take(pair ? allocator_.pair() : allocator_.complete(), missing);
  if (result != Allocation::kGranted) ReleaseEmptySides();
  return result;
}

Allocation SessionBuffers::AllocateBothSlow(Waker waker) noexcept {
  if (StillWaiting()) return Allocation::kWaiting;
  const Sides missing = MissingSides();
  if (missing == 0) return Allocation::kGranted;
  if (missing == kBothSides)
    return TakeOrWait(allocator_.pair(), missing, waker);
  if (HoldsEmpty(Side::kRequest) || HoldsEmpty(Side::kResponse)) {
    return CompleteOrWaitForBoth(waker);
  }
  return TakeOrWait(allocator_.complete(), missing, waker);
}

Allocation SessionBuffers::CompleteOrWaitForBoth(Waker waker) {
  std::array<std::byte*, 2> storage;
  const auto one = std::span(storage).first(1);
  const ClassId complete = allocator_.complete();
  Allocation result = Allocation::kGranted;
  if (!allocator_.door_.TakeCheaply(one, allocator_.queue_.TermsOf(complete))) {
    awaited_ = kBothSides;
    result = SessionAllocator::AllocationOf(allocator_.queue_.CompleteOrJoin(
        allocator_.door_.cache(), complete, [&] { ReleaseEmptySides(); },
        allocator_.pair(), storage, waker, ticket_));
  }
  // If the session waits, it may already belong to another thread.
  if (result == Allocation::kGranted) {
    const Sides missing = MissingSides();
    Install(missing, std::span(storage).first(std::popcount(missing)));
  }
  return result;
}

WaitStatus SessionBuffers::FinishWait() noexcept {
  const WaitTicket wait = ticket();
  if (wait == WaitTicket{}) return WaitStatus::kNone;
  std::array<std::byte*, 2> storage;
  const auto out = std::span(storage).first(std::popcount(awaited_));
  switch (allocator_.queue_.Redeem(wait, out)) {
    case WaiterStatus::kWaiting:
      return WaitStatus::kWaiting;
    case WaiterStatus::kGranted:
      ticket_.store(0);
      Install(awaited_, out);
      return WaitStatus::kGranted;
    case WaiterStatus::kCancelled:
    case WaiterStatus::kIdle:
      ticket_.store(0);
      return WaitStatus::kCancelled;
  }
  return WaitStatus::kNone;
}

bool SessionBuffers::CancelWait() noexcept {
  const WaitTicket ticket{ticket_.load()};
  return ticket != WaitTicket{} && allocator_.queue_.Cancel(ticket);
}

void SessionBuffers::SetContent(Side side, size_t head, size_t size) noexcept {
  if (!has_buffer(side)) [[unlikely]] {
    DieOf(side, "content set where there is no buffer");
  }
  const size_t buffer_size = pool_.buffer_size();
  if (head >= buffer_size || size > buffer_size) [[unlikely]] {
    DieOf(side, "content set beyond its buffer");
  }
  contents_[Int(side)] = {.head = static_cast<uint32_t>(head),
                          .size = static_cast<uint32_t>(size)};
}

DetachedBuffer SessionBuffers::Detach(Side side) noexcept {
  if (!has_buffer(side)) return {};
  std::byte* const buffer = std::exchange(buffers_[Int(side)], nullptr);
  allocator_.door_.Pass(buffer, Holder::kSession, Holder::kUser);
  return {.buffer = buffer, .content = std::exchange(contents_[Int(side)], {})};
}

void SessionBuffers::Adopt(Side side, std::byte* buffer, size_t head,
                           size_t size) noexcept {
  CheckNotAwaited(side, "adoption while it waits for a buffer");
  if (has_buffer(side)) [[unlikely]] {
    DieOf(side, "adoption while it has a buffer");
  }
  allocator_.door_.Pass(buffer, Holder::kUser, Holder::kSession);
  buffers_[Int(side)] = buffer;
  SetContent(side, head, size);
}

void SessionBuffers::Swap(Side side, SessionBuffers& other,
                          Side other_side) noexcept {
  if (&other.allocator_ != &allocator_) [[unlikely]] {
    DieOf(side, "swap with a session of another pool");
  }
  CheckNotAwaited(side, "swap while it waits for a buffer");
  other.CheckNotAwaited(other_side, "swap while it waits for a buffer");
  std::swap(buffers_[Int(side)], other.buffers_[Int(other_side)]);
  std::swap(contents_[Int(side)], other.contents_[Int(other_side)]);
}

void SessionBuffers::DieOf(Side side, const char* what) const {
  Die("tandem: pool \"", pool_.name(), "\": session ",
      static_cast<const void*>(this), ", ",
      side == Side::kRequest ? "request" : "response", " side: ", what);
}

void SessionBuffers::CheckNotAwaited(Side side, const char* what) {
  if (StillWaiting() && (awaited_ & SetOf(side)) != 0) [[unlikely]] {
    DieOf(side, what);
  }
}

SleepWord<StdPlatform>* SessionBuffers::sleep_word() {
  const WaitTicket ticket{ticket_.load()};
  if (ticket == WaitTicket{}) return nullptr;
  return &allocator_.queue_.WordOf(ticket);
}

Allocation SessionBuffers::Take(ClassId id, Sides sides) {
  std::array<std::byte*, 2> storage;
  const auto out = std::span(storage).first(std::popcount(sides));
  if (!allocator_.Take(id, out)) return Allocation::kExhausted;
  Install(sides, out);
  return Allocation::kGranted;
}

Allocation SessionBuffers::TakeOrWait(ClassId id, Sides sides, Waker waker) {
  std::array<std::byte*, 2> storage;
  const auto out = std::span(storage).first(std::popcount(sides));
  awaited_ = sides;
  const Allocation result = allocator_.TakeOrWait(id, out, waker, ticket_);
  // If the session waits, it may already belong to another thread.
  if (result == Allocation::kGranted) Install(sides, out);
  return result;
}

void SessionBuffers::Install(Sides sides, std::span<std::byte* const> buffers) {
  allocator_.door_.HandOut(buffers, Holder::kSession);
  size_t next = 0;
  for (const Side side : kSides) {
    if ((sides & SetOf(side)) != 0) buffers_[Int(side)] = buffers[next++];
  }
}

}  // namespace tandem
