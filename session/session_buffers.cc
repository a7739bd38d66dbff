#include "tandem/session/session_buffers.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/die.h"

namespace tandem {

SessionBuffers::SessionBuffers(SessionAllocator& allocator)
    : allocator_(allocator) {}

SessionBuffers::~SessionBuffers() {
  if (!CancelWait()) FinishWait();
}

Allocation SessionBuffers::AllocateReceiveBuffer(Side side) {
  return AllocateBufferAs(allocator_.receive(), side);
}

Allocation SessionBuffers::AllocateReceiveBuffer(Side side, Waker waker) {
  return AllocateBufferAs(allocator_.receive(), side, waker);
}

Allocation SessionBuffers::AllocateBufferAs(ClassId id, Side side) {
  CheckOneSided(id);
  if (StillWaiting()) return Allocation::kWaiting;
  if (has_buffer(side)) return Allocation::kGranted;
  return Take(id, SetOf(side));
}

Allocation SessionBuffers::AllocateBufferAs(ClassId id, Side side,
                                            Waker waker) {
  CheckOneSided(id);
  if (StillWaiting()) return Allocation::kWaiting;
  if (has_buffer(side)) return Allocation::kGranted;
  return TakeOrWait(id, SetOf(side), waker);
}

Allocation SessionBuffers::AllocateBuffers() {
  if (StillWaiting()) return Allocation::kWaiting;
  const Sides missing = MissingSides();
  if (missing == 0) return Allocation::kGranted;
  const bool pair = missing == kBothSides;
  const Allocation result =
      Take(pair ? allocator_.pair() : allocator_.complete(), missing);
  if (result != Allocation::kGranted) ReleaseBuffers();
  return result;
}

Allocation SessionBuffers::AllocateBuffers(Waker waker) {
  if (StillWaiting()) return Allocation::kWaiting;
  Sides missing = MissingSides();
  if (missing == 0) return Allocation::kGranted;
  if (missing != kBothSides && HoldsEmptyBuffer()) {
    // It gives its empty buffer back and joins the queue as a pair, unless it
    // gets the other one now.
    if (Take(allocator_.complete(), missing) == Allocation::kGranted) {
      return Allocation::kGranted;
    }
    ReleaseBuffers();
    missing = kBothSides;
  }
  return TakeOrWait(
      missing == kBothSides ? allocator_.pair() : allocator_.complete(),
      missing, waker);
}

void SessionBuffers::ReleaseBuffers() {
  // Both at once, so that a pair that waits is served by one release.
  std::array<std::byte*, 2> idle;
  size_t count = 0;
  for (const Side side : kSides) {
    if (!has_buffer(side) || !ring(side).empty()) continue;
    rings_[Int(side)] = RingBuffer();
    idle[count++] = buffers_[Int(side)].Detach();
  }
  if (count != 0) allocator_.pool().ReleaseMany(std::span(idle).first(count));
}

WaitStatus SessionBuffers::FinishWait() {
  // acquire: pairs with the store in Subscribe, if the wake-up has moved the
  // session to another thread without ordering it.
  const WaitTicket ticket{ticket_.load(std::memory_order::acquire)};
  if (ticket == WaitTicket{}) return WaitStatus::kNone;
  std::array<std::byte*, 2> storage;
  const auto out = std::span(storage).first(std::popcount(awaited_));
  switch (allocator_.queue_.Collect(ticket, out)) {
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

bool SessionBuffers::CancelWait() {
  const WaitTicket ticket{ticket_.load()};
  return ticket != WaitTicket{} && allocator_.queue_.Cancel(ticket);
}

SessionAllocator::TicketWord* SessionBuffers::wait_word() {
  const WaitTicket ticket{ticket_.load()};
  if (ticket == WaitTicket{}) return nullptr;
  return &allocator_.queue_.WordOf(ticket);
}

void SessionBuffers::CheckOneSided(ClassId id) const {
  if (id == allocator_.complete() || id == allocator_.pair()) [[unlikely]] {
    Die("tandem: pool \"", allocator_.pool().name(),
        "\": classes complete and pair are for AllocateBuffers");
  }
}

SessionBuffers::Sides SessionBuffers::MissingSides() const {
  Sides missing = 0;
  for (const Side side : kSides) {
    if (!has_buffer(side)) missing |= SetOf(side);
  }
  return missing;
}

bool SessionBuffers::HoldsEmptyBuffer() const {
  return std::any_of(kSides.begin(), kSides.end(), [&](Side side) {
    return has_buffer(side) && ring(side).empty();
  });
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
  // If it waits, the session may belong to another thread by now.
  if (result == Allocation::kGranted) Install(sides, out);
  return result;
}

void SessionBuffers::Install(Sides sides, std::span<std::byte* const> buffers) {
  allocator_.Adopt(buffers);
  size_t next = 0;
  for (const Side side : kSides) {
    if ((sides & SetOf(side)) == 0) continue;
    Buffer& buffer = buffers_[Int(side)];
    buffer = Buffer(allocator_.pool(), buffers[next++]);
    rings_[Int(side)] = RingBuffer(buffer.bytes());
  }
}

}  // namespace tandem
