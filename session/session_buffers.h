#ifndef TANDEM_SESSION_SESSION_BUFFERS_H_
#define TANDEM_SESSION_SESSION_BUFFERS_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "tandem/pool/types.h"
#include "tandem/session/ring_buffer.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/wait_class.h"
#include "tandem/session/waiter_queue.h"
#include "tandem/session/waker.h"

namespace tandem {

enum class Side : uint8_t { kRequest, kResponse };
inline constexpr std::array<Side, 2> kSides = {Side::kRequest, Side::kResponse};

// How a session's wait stands.
enum class WaitStatus {
  kNone,       // it does not wait
  kWaiting,    // still
  kGranted,    // it was served: the buffers are in the session
  kCancelled,  // it was cancelled, maybe by another thread
};

// A buffer on its way from one session to another (E5).
struct DetachedBuffer {
  std::byte* buffer = nullptr;
  RingContent content = {};
};

// One connection's two sides, each with at most one buffer.
//
//   session.AllocateReceiveBuffer(Side::kRequest)   before a receive
//   session.AllocateBuffers()                       before processing
//   session.ReleaseBuffers()                        after it
//
// The allocations take a waker if the session is to wait where they can't be
// met; without one they fail at once. A session waits for one thing at a time.
// Its buffers come with the wake-up: once the waker has been called, FinishWait
// puts them into their sides, and cannot fail.
//
// No dead-lock (S6): if every session that was given both buffers returns both
// before it asks again, and one that holds a single buffer returns it or asks
// for the other by AllocateBuffers in the end, every wait is served.
//
// Threads:  one at a time, whichever, and no signal handler that interrupted
//           it; the wake-up says when another may go on. CancelWait: any, at
//           any time in the session's life.
// Progress: lock-free. No memory is allocated, nothing throws.
// Cost:     where nothing is missing, or all comes from the thread's cache and
//           goes back there, the three operations are inlined, and touch the
//           session's line, the cache's, the check's, and what of the allocator
//           and the pool nobody writes.
// Memory:   64 bytes, waiting or not: a cache line where the caller aligns it
//           to one.
// Lifetime: the allocator must outlive it. Destruction cancels a wait, and
//           releases all buffers, with or without data.
// Misuse:   aborts with a message that names the buffer, the pool, or both.
class SessionBuffers {
 public:
  explicit SessionBuffers(SessionAllocator& allocator) noexcept;
  ~SessionBuffers();
  SessionBuffers(const SessionBuffers&) = delete;
  SessionBuffers& operator=(const SessionBuffers&) = delete;

  // S1: a buffer for one side, if at least the pool's reserve remains for
  // pairs. A side that has one succeeds at once.
  Allocation AllocateReceiveBuffer(Side side) noexcept {
    return AllocateOneFast(side) ? Allocation::kGranted
                                 : AllocateBufferAs(allocator_.receive(), side);
  }
  Allocation AllocateReceiveBuffer(Side side, Waker waker) noexcept {
    return AllocateOneFast(side)
               ? Allocation::kGranted
               : AllocateBufferAs(allocator_.receive(), side, waker);
  }

  // S2: what is missing of the two buffers, all or none. If that fails, a
  // buffer that the session holds empty is given back; one with data never is.
  Allocation AllocateBuffers() noexcept {
    return AllocateBothFast() ? Allocation::kGranted : AllocateBothSlow();
  }
  Allocation AllocateBuffers(Waker waker) noexcept {
    return AllocateBothFast() ? Allocation::kGranted : AllocateBothSlow(waker);
  }

  // S8: a buffer for one side, in a class that needs one (pair aborts).
  // Complete is for who holds a buffer that others wait for, in this session or
  // elsewhere. As AllocateReceiveBuffer otherwise.
  Allocation AllocateBufferAs(ClassId id, Side side) noexcept;
  Allocation AllocateBufferAs(ClassId id, Side side, Waker waker) noexcept;

  // S3: gives back each buffer that holds no data.
  void ReleaseBuffers() noexcept {
    const bool request = HoldsEmpty(Side::kRequest);
    const bool response = HoldsEmpty(Side::kResponse);
    if (request && response) {
      // Both at once, so that a pair that waits is served by one release.
      const std::array<std::byte*, 2> pair = buffers_;
      buffers_ = {};
      contents_ = {};
      allocator_.door_.TakeBackFast(std::span(pair));
    } else if (request || response) {
      const size_t side = Int(request ? Side::kRequest : Side::kResponse);
      const std::array<std::byte*, 1> one = {
          std::exchange(buffers_[side], nullptr)};
      contents_[side] = {};
      allocator_.door_.TakeBackFast(std::span(one));
    }
  }

  // How the wait stands; if it was granted or cancelled, this ends it. Every
  // allocation ends a wait that was granted, and answers kWaiting to one that
  // was not.
  WaitStatus FinishWait() noexcept;

  // Ends the wait without buffers. True: it is over, and the waker is not
  // called unless it asks for that (Waker::on_cancel). False: there was no
  // wait, or it was granted first; then the waker has been or is being called,
  // its context must live until it has returned, and FinishWait has the
  // buffers.
  bool CancelWait() noexcept;

  // A side's buffer, null if it has none; and its bytes, as a ring of none if
  // so. The view holds while the side keeps its buffer.
  bool has_buffer(Side side) const noexcept { return buffer(side) != nullptr; }
  std::byte* buffer(Side side) const noexcept { return buffers_[Int(side)]; }
  RingBuffer ring(Side side) noexcept {
    return {Storage(side), contents_[Int(side)]};
  }
  RingView ring(Side side) const noexcept {
    return {Storage(side), contents_[Int(side)]};
  }

  // For a server that keeps account of its bytes by itself: how much of a
  // side's buffer is filled, `size` bytes from `head` on, around its end. What
  // ReleaseBuffers does with the buffer is decided by `size`. Requires a
  // buffer, head below its size, and size not above it.
  void SetContent(Side side, size_t head, size_t size) noexcept;

  // Moves a side's buffer out of the session (E5): the caller has it now, and
  // releases it, uses it, or has a session adopt it. Null if there is none.
  [[nodiscard]] DetachedBuffer Detach(Side side) noexcept;

  // Moves a buffer into a side that has none and waits for none. It was
  // detached from a session of the same pool, or acquired from the pool; how
  // much of it is filled as for SetContent.
  void Adopt(Side side, std::byte* buffer, size_t head = 0,
             size_t size = 0) noexcept;
  void Adopt(Side side, const DetachedBuffer& detached) noexcept {
    Adopt(side, detached.buffer, detached.content.head, detached.content.size);
  }

  // Swaps what two sides have, a buffer or none, of the same session or of two
  // of one pool. Requires that neither waits for one.
  void Swap(Side side, SessionBuffers& other, Side other_side) noexcept;

 private:
  friend WaitStatus BlockUntilServed(
      SessionBuffers& session, std::chrono::steady_clock::time_point deadline);

  // The word whose low half changes when the wait is over; null if none.
  SessionAllocator::TicketWord* wait_word();

  static size_t Int(Side side) { return static_cast<size_t>(side); }

  // Sides as a set: bit i is side i.
  using Sides = uint8_t;
  static constexpr Sides kBothSides = 0b11;
  static Sides SetOf(Side side) { return Sides(1u << Int(side)); }
  Sides MissingSides() const;
  bool HoldsEmpty(Side side) const {
    return has_buffer(side) && contents_[Int(side)].size == 0;
  }

  std::span<std::byte> Storage(Side side) const {
    return {buffer(side), has_buffer(side) ? buffer_size_ : 0};
  }

  // Aborts: `what` is wrong with a call for a side.
  [[noreturn, gnu::cold]] void DieOf(Side side, const char* what) const;
  // Aborts if a wait is under way that will fill the side.
  void CheckNotAwaited(Side side, const char* what);

  // True if the session is still waiting. Ends the wait otherwise.
  bool StillWaiting() { return FinishWait() == WaitStatus::kWaiting; }

  // acquire: pairs with the store when the wait began, if the wake-up has moved
  // the session to another thread without ordering it.
  WaitTicket ticket() const {
    return {ticket_.load(std::memory_order::acquire)};
  }

  // True if nothing is missing, or what is comes from the thread's cache.
  [[gnu::always_inline]] bool AllocateOneFast(Side side) {
    if (ticket() != WaitTicket{}) [[unlikely]]
      return false;
    if (has_buffer(side)) return true;
    std::array<std::byte*, 1> one;
    if (!allocator_.door_.HandOutFast(one)) [[unlikely]]
      return false;
    buffers_[Int(side)] = one[0];
    return true;
  }
  [[gnu::always_inline]] bool AllocateBothFast() {
    if (ticket() != WaitTicket{}) [[unlikely]]
      return false;
    if (buffers_[0] != nullptr || buffers_[1] != nullptr) {
      return buffers_[0] != nullptr && buffers_[1] != nullptr;
    }
    // Not into the session at once: if this fails they are unspecified.
    std::array<std::byte*, 2> pair;
    if (!allocator_.door_.HandOutFast(pair)) [[unlikely]]
      return false;
    buffers_ = pair;
    return true;
  }
  Allocation AllocateBothSlow() noexcept;
  Allocation AllocateBothSlow(Waker waker) noexcept;
  // For a session that holds one buffer, which is empty.
  Allocation CompleteOrWaitForBoth(Waker waker);

  // Takes a buffer for each side in `sides`, which have none.
  Allocation Take(ClassId id, Sides sides);
  Allocation TakeOrWait(ClassId id, Sides sides, Waker waker);
  void Install(Sides sides, std::span<std::byte* const> buffers);

  SessionAllocator& allocator_;
  std::array<std::byte*, 2> buffers_ = {};
  // Of each side; nothing where there is no buffer.
  std::array<RingContent, 2> contents_ = {};
  SessionAllocator::TicketWord ticket_{0};
  const uint32_t buffer_size_;  // the pool's, in the session's own line
  Sides awaited_ = 0;           // the sides that a wait will fill
  // So that in an array that starts at a cache line each has one of its own.
  [[maybe_unused]] std::array<std::byte, 11> unused_;
};
static_assert(sizeof(SessionBuffers) == kCacheLine);
static_assert(alignof(SessionBuffers) == 8);

}  // namespace tandem

#endif  // TANDEM_SESSION_SESSION_BUFFERS_H_
