#ifndef TANDEM_SESSION_SESSION_BUFFERS_H_
#define TANDEM_SESSION_SESSION_BUFFERS_H_

#include <array>
#include <atomic>
#include <bit>
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

// The state of a session's wait.
enum class WaitStatus {
  kNone,       // the session does not wait
  kWaiting,    // it still waits
  kGranted,    // served: the buffers are in the session
  kCancelled,  // cancelled, possibly by another thread
};

// A buffer that moves from one session to another (E5).
struct DetachedBuffer {
  std::byte* buffer = nullptr;
  RingContent content = {};
};

// The two sides of one connection, each with at most one buffer.
//
//   session.AllocateReceiveBuffer(Side::kRequest)   before a receive
//   session.AllocateBuffers()                       before processing
//   session.ReleaseBuffers()                        after it
//
// An allocation with a waker waits if it cannot be met; without a waker it
// fails at once. A session has at most one wait at a time. Once the waker has
// been called, FinishWait puts the buffers into their sides; it cannot fail.
//
//   state of the wait  leaves it by
//   -----------------  -----------------------------------------------------
//   kNone              an allocation with a waker that cannot be met: kWaiting
//   kWaiting           a serving thread, any: kGranted, then the wake-up
//                      CancelWait, any thread: kCancelled
//                      (until then every allocation returns kWaiting)
//   kGranted           FinishWait or the next allocation: the buffers are in
//                      their sides, kNone
//   kCancelled         FinishWait or the next allocation: kNone
//
// No deadlock (S6): every wait is served if each session that was given both
// buffers returns both before it asks again, and each session that holds a
// single buffer eventually returns it or calls AllocateBuffers for the other.
//
// Threads:  one at a time, any thread; not a signal handler that interrupted a
//           call on this session. The wake-up tells when another thread may
//           continue. CancelWait: any thread, at any time in the session's
//           life.
// Progress: lock-free. No memory is allocated, nothing throws.
// Cost:     if no buffer is missing, or all come from the thread's cache and
//           return to it, the three operations are inlined (while a side holds
//           data, ReleaseBuffers calls a function). They touch the cache lines
//           of the session, the thread cache and the misuse check, and lines of
//           the pool that are never written.
// Memory:   64 bytes, waiting or not: one cache line if the caller aligns it.
// Lifetime: the allocator must outlive it. The destructor cancels a wait and
//           releases all buffers, with or without data.
// Misuse:   aborts with a message that names the buffer, the pool, or both.
class SessionBuffers {
 public:
  explicit SessionBuffers(SessionAllocator& allocator) noexcept;
  ~SessionBuffers();
  SessionBuffers(const SessionBuffers&) = delete;
  SessionBuffers& operator=(const SessionBuffers&) = delete;

  // S1: takes a buffer for one side if at least the pool's reserve remains for
  // pairs. A side that has a buffer succeeds at once.
  [[gnu::always_inline]] Allocation AllocateReceiveBuffer(Side side) noexcept {
    return AllocateOneFast(side) ? Allocation::kGranted
                                 : AllocateBufferAs(allocator_.receive(), side);
  }
  [[gnu::always_inline]] Allocation AllocateReceiveBuffer(
      Side side, Waker waker) noexcept {
    return AllocateOneFast(side)
               ? Allocation::kGranted
               : AllocateBufferAs(allocator_.receive(), side, waker);
  }

  // S2: takes what is missing of the two buffers, all or nothing. If that
  // fails, the session gives back a buffer that it holds empty, but never one
  // with data.
  [[gnu::always_inline]] Allocation AllocateBuffers() noexcept {
    return AllocateBothFast() ? Allocation::kGranted : AllocateBothSlow();
  }
  [[gnu::always_inline]] Allocation AllocateBuffers(Waker waker) noexcept {
    return AllocateBothFast() ? Allocation::kGranted : AllocateBothSlow(waker);
  }

  // S8: takes a buffer for one side, in a class that needs one (pair aborts).
  // Complete is for callers that hold a buffer that others wait for, in this
  // session or elsewhere. Otherwise as AllocateReceiveBuffer.
  Allocation AllocateBufferAs(ClassId id, Side side) noexcept;
  Allocation AllocateBufferAs(ClassId id, Side side, Waker waker) noexcept;

  // S3: gives back each buffer that holds no data.
  [[gnu::always_inline]] void ReleaseBuffers() noexcept {
    // Heads, too: so the contents need not be written. The head of an empty
    // ring is 0, unless SetContent has set another.
    const auto contents = std::bit_cast<std::array<uint64_t, 2>>(contents_);
    if ((contents[0] | contents[1]) != 0) [[unlikely]]
      return ReleaseEmptySides();
    std::byte* const request = buffers_[0];
    std::byte* const response = buffers_[1];
    buffers_ = {};
    std::byte* only = request;
    if (request == nullptr) {
      only = response;
      if (response == nullptr) return;
    } else if (response != nullptr) {
      // Release both at once, so that one release can serve a waiting pair.
      const std::array<std::byte*, 2> pair = {request, response};
      return Door::TakeBackFast(pool_, std::span(pair));
    }
    const std::array<std::byte*, 1> one = {only};
    Door::TakeBackFast(pool_, std::span(one));
  }

  // Returns the state of the wait and ends a wait that was granted or
  // cancelled. Every allocation also ends a granted wait, and returns kWaiting
  // while the wait is pending.
  WaitStatus FinishWait() noexcept;

  // Ends the wait without buffers. True: the wait is over, and the waker is not
  // called unless it asks for that (Waker::on_cancel). False: there was no
  // wait, or it was granted first. In the latter case the waker has been or is
  // being called, its context must live until it has returned, and FinishWait
  // delivers the buffers.
  bool CancelWait() noexcept;

  // A side's buffer (null if it has none), and its bytes as a ring (of zero
  // bytes if it has none). The view is valid while the side keeps its buffer.
  bool has_buffer(Side side) const noexcept { return buffer(side) != nullptr; }
  std::byte* buffer(Side side) const noexcept { return buffers_[Int(side)]; }
  RingBuffer ring(Side side) noexcept {
    return {Storage(side), contents_[Int(side)]};
  }
  RingView ring(Side side) const noexcept {
    return {Storage(side), contents_[Int(side)]};
  }

  // For a server that tracks its bytes itself: sets the filled part of a side's
  // buffer, `size` bytes from `head` on, wrapping at the end. ReleaseBuffers
  // uses `size` to decide whether to release the buffer. Requires a buffer,
  // head below the buffer size, and size at most the buffer size.
  void SetContent(Side side, size_t head, size_t size) noexcept;

  // Moves a side's buffer out of the session (E5). The caller then owns it, and
  // releases it, uses it, or lets a session adopt it. Null if there is none.
  [[nodiscard]] DetachedBuffer Detach(Side side) noexcept;

  // Moves a buffer into a side that has none and waits for none. The buffer was
  // detached from a session of the same pool, or acquired from the pool. `head`
  // and `size` as for SetContent.
  void Adopt(Side side, std::byte* buffer, size_t head = 0,
             size_t size = 0) noexcept;
  void Adopt(Side side, const DetachedBuffer& detached) noexcept {
    Adopt(side, detached.buffer, detached.content.head, detached.content.size);
  }

  // Swaps the contents of two sides (a buffer or none) of one session or of two
  // sessions of one pool. Requires that neither side waits for a buffer.
  void Swap(Side side, SessionBuffers& other, Side other_side) noexcept;

 private:
  using Door = BufferPool::SessionDoor;

  friend WaitStatus BlockUntilServed(
      SessionBuffers& session, std::chrono::steady_clock::time_point deadline);

  // True if the waiting sessions are so few that the pool's buffers could serve
  // all of them within `turns` turns, if each pair comes back after one turn.
  bool WaitMayEndSoon(uint32_t turns) const {
    return allocator_.waiting() <= turns * (pool_.capacity() / 2);
  }
  // What the thread sleeps on while it waits; null without a wait.
  SleepWord<StdPlatform>* sleep_word();

  static size_t Int(Side side) { return static_cast<size_t>(side); }

  // A set of sides: bit i is side i.
  using Sides = uint8_t;
  static constexpr Sides kBothSides = 0b11;
  static Sides SetOf(Side side) { return Sides(1u << Int(side)); }
  Sides MissingSides() const {
    return (has_buffer(Side::kRequest) ? 0 : SetOf(Side::kRequest)) |
           (has_buffer(Side::kResponse) ? 0 : SetOf(Side::kResponse));
  }
  // A side's buffer as a number, 0 if it has none.
  uint64_t Word(Side side) const {
    return reinterpret_cast<uintptr_t>(buffer(side));
  }
  bool HoldsEmpty(Side side) const {
    return has_buffer(side) && contents_[Int(side)].size == 0;
  }

  std::span<std::byte> Storage(Side side) const {
    return {buffer(side), has_buffer(side) ? pool_.buffer_size() : 0};
  }

  // Aborts with a message: `what` is wrong with a call for a side.
  [[noreturn, gnu::cold]] void DieOf(Side side, const char* what) const;
  // Aborts if a pending wait will fill the side.
  void CheckNotAwaited(Side side, const char* what);

  // True if the session is still waiting; otherwise ends the wait.
  bool StillWaiting() { return FinishWait() == WaitStatus::kWaiting; }

  // acquire: pairs with the store when the wait began, in case the wake-up has
  // moved the session to another thread without ordering.
  WaitTicket ticket() const {
    return {ticket_.load(std::memory_order::acquire)};
  }

  // True if no buffer is missing, or the missing one comes from the thread's
  // cache.
  [[gnu::always_inline]] bool AllocateOneFast(Side side) {
    // One test for both: a wait, or a buffer.
    if ((ticket().word | Word(side)) != 0) [[unlikely]]
      return ticket() == WaitTicket{};
    std::array<std::byte*, 1> one;
    if (!Door::HandOutFast(pool_, one)) [[unlikely]]
      return false;
    buffers_[Int(side)] = one[0];
    return true;
  }
  [[gnu::always_inline]] bool AllocateBothFast() {
    if ((ticket().word | Word(Side::kRequest) | Word(Side::kResponse)) != 0)
        [[unlikely]] {
      return ticket() == WaitTicket{} && MissingSides() == 0;
    }
    // Not directly into the session: if this call fails, the pointers are
    // unspecified.
    std::array<std::byte*, 2> pair;
    if (!Door::HandOutFast(pool_, pair)) [[unlikely]]
      return false;
    buffers_ = pair;
    return true;
  }
  // ReleaseBuffers, whatever the sides contain.
  void ReleaseEmptySides() noexcept;
  Allocation AllocateBothSlow() noexcept;
  Allocation AllocateBothSlow(Waker waker) noexcept;
  // For a session that holds one buffer, which is empty.
  Allocation CompleteOrWaitForBoth(Waker waker);

  // Takes a buffer for each side in `sides`; those sides have none.
  Allocation Take(ClassId id, Sides sides);
  Allocation TakeOrWait(ClassId id, Sides sides, Waker waker);
  void Install(Sides sides, std::span<std::byte* const> buffers);

  SessionAllocator& allocator_;
  BufferPool& pool_;  // the allocator's: the fast path needs nothing else of it
  std::array<std::byte*, 2> buffers_ = {};
  // For each side; zero where there is no buffer.
  std::array<RingContent, 2> contents_ = {};
  SessionAllocator::TicketWord ticket_{0};
  Sides awaited_ = 0;  // the sides that the wait will fill
  // Pads to 64 bytes: in an array aligned to a cache line, each has its own
  // line.
  [[maybe_unused]] std::array<std::byte, 7> unused_;
};
static_assert(sizeof(SessionBuffers) == kCacheLine);
static_assert(alignof(SessionBuffers) == 8);

}  // namespace tandem

#endif  // TANDEM_SESSION_SESSION_BUFFERS_H_
