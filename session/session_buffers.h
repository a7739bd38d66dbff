#ifndef TANDEM_SESSION_SESSION_BUFFERS_H_
#define TANDEM_SESSION_SESSION_BUFFERS_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/buffer.h"
#include "tandem/pool/types.h"
#include "tandem/session/ring_buffer.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/wait_class.h"
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
// Progress: lock-free. No memory is allocated.
// Lifetime: the allocator must outlive it. Destruction cancels a wait, and
//           releases all buffers, with or without data.
class SessionBuffers {
 public:
  explicit SessionBuffers(SessionAllocator& allocator);
  ~SessionBuffers();
  SessionBuffers(const SessionBuffers&) = delete;
  SessionBuffers& operator=(const SessionBuffers&) = delete;

  // S1: a buffer for one side, if at least the pool's reserve remains for
  // pairs. A side that has one succeeds at once.
  Allocation AllocateReceiveBuffer(Side side);
  Allocation AllocateReceiveBuffer(Side side, Waker waker);

  // S2: what is missing of the two buffers, all or none. If that fails, a
  // buffer that the session holds empty is given back; one with data never is.
  Allocation AllocateBuffers();
  Allocation AllocateBuffers(Waker waker);

  // S8: a buffer for one side, in a declared class or receive (complete and
  // pair abort). As AllocateReceiveBuffer otherwise.
  Allocation AllocateBufferAs(ClassId id, Side side);
  Allocation AllocateBufferAs(ClassId id, Side side, Waker waker);

  // S3: gives back each buffer that holds no data.
  void ReleaseBuffers();

  // How the wait stands; if it was granted or cancelled, this ends it. Every
  // allocation ends a wait that was granted, and answers kWaiting to one that
  // was not.
  WaitStatus FinishWait();

  // Ends the wait without buffers. True: it is over, and the waker is not
  // called unless it asks for that (Waker::on_cancel). False: there was no
  // wait, or it was granted first; then the waker has been or is being called,
  // its context must live until it has returned, and FinishWait has the
  // buffers.
  bool CancelWait();

  // The bytes of a side: a ring over its buffer, of no bytes if it has none.
  RingBuffer& ring(Side side) { return rings_[Int(side)]; }
  const RingBuffer& ring(Side side) const { return rings_[Int(side)]; }
  bool has_buffer(Side side) const {
    return static_cast<bool>(buffers_[Int(side)]);
  }
  const Buffer& buffer(Side side) const { return buffers_[Int(side)]; }

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
  bool HoldsEmptyBuffer() const;

  // Aborts if the class is not for one side alone.
  void CheckOneSided(ClassId id) const;

  // True if the session is still waiting. Ends the wait otherwise.
  bool StillWaiting() { return FinishWait() == WaitStatus::kWaiting; }

  // Takes a buffer for each side in `sides`, which have none.
  Allocation Take(ClassId id, Sides sides);
  Allocation TakeOrWait(ClassId id, Sides sides, Waker waker);
  void Install(Sides sides, std::span<std::byte* const> buffers);

  SessionAllocator& allocator_;
  std::array<Buffer, 2> buffers_;
  std::array<RingBuffer, 2> rings_;
  Sides awaited_ = 0;  // the sides that a wait will fill
  SessionAllocator::TicketWord ticket_{0};
};

}  // namespace tandem

#endif  // TANDEM_SESSION_SESSION_BUFFERS_H_
