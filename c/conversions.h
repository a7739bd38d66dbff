#ifndef TANDEM_C_CONVERSIONS_H_
#define TANDEM_C_CONVERSIONS_H_

#include <new>

#include "tandem/c/tandem.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"
#include "tandem/session/waker.h"

namespace tandem::c {

// C's names stand for the C++ objects themselves, under other types that no
// code accesses.
inline BufferPool& Of(tandem_pool* pool) {
  return *reinterpret_cast<BufferPool*>(pool);
}
inline const BufferPool& Of(const tandem_pool* pool) {
  return *reinterpret_cast<const BufferPool*>(pool);
}
inline SessionAllocator& Of(tandem_allocator* allocator) {
  return *reinterpret_cast<SessionAllocator*>(allocator);
}
inline const SessionAllocator& Of(const tandem_allocator* allocator) {
  return *reinterpret_cast<const SessionAllocator*>(allocator);
}

// A session is stored in the C structure itself.
static_assert(sizeof(SessionBuffers) == sizeof(tandem_session));
static_assert(alignof(SessionBuffers) <= alignof(tandem_session));
inline SessionBuffers& Of(tandem_session* session) {
  return *std::launder(reinterpret_cast<SessionBuffers*>(session));
}
inline const SessionBuffers& Of(const tandem_session* session) {
  return *std::launder(reinterpret_cast<const SessionBuffers*>(session));
}

// The enumerations have the same order.
inline Side Of(tandem_side side) { return static_cast<Side>(side); }
static_assert(static_cast<int>(Side::kResponse) == TANDEM_RESPONSE);

inline tandem_allocation ToC(Allocation result) {
  return static_cast<tandem_allocation>(result);
}
static_assert(static_cast<int>(Allocation::kGranted) == TANDEM_GRANTED);
static_assert(static_cast<int>(Allocation::kExhausted) == TANDEM_EXHAUSTED);
static_assert(static_cast<int>(Allocation::kWaiting) == TANDEM_WAITING);
static_assert(static_cast<int>(Allocation::kOverloaded) == TANDEM_OVERLOADED);

inline tandem_wait_status ToC(WaitStatus status) {
  return static_cast<tandem_wait_status>(status);
}
static_assert(static_cast<int>(WaitStatus::kNone) == TANDEM_WAIT_NONE);
static_assert(static_cast<int>(WaitStatus::kWaiting) == TANDEM_WAIT_WAITING);
static_assert(static_cast<int>(WaitStatus::kGranted) == TANDEM_WAIT_GRANTED);
static_assert(static_cast<int>(WaitStatus::kCancelled) ==
              TANDEM_WAIT_CANCELLED);

inline Waker Of(const tandem_waker& waker) {
  return {waker.wake, waker.context, waker.on_cancel};
}
inline tandem_waker ToC(const Waker& waker) {
  return {waker.wake, waker.context, waker.on_cancel};
}

}  // namespace tandem::c

#endif  // TANDEM_C_CONVERSIONS_H_
