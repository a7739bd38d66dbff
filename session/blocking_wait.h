#ifndef TANDEM_SESSION_BLOCKING_WAIT_H_
#define TANDEM_SESSION_BLOCKING_WAIT_H_

#include <chrono>

#include "tandem/session/session_buffers.h"
#include "tandem/session/waker.h"

namespace tandem {

// Waits by blocking the calling thread.
//
//   if (session.AllocateBuffers(BlockingWaker()) == Allocation::kWaiting) {
//     status = BlockUntilServed(session, deadline);
//   }
//
// While few sessions wait, the thread first lets other threads run, eight times
// at most (sched_yield): if its buffers come within that time, no system call
// wakes it. Then it sleeps in the kernel (futex) on the wait's own word, which
// belongs to the allocator. So no memory of the sleeping thread must outlive a
// wake-up.

// The waker for a session that calls BlockUntilServed.
Waker BlockingWaker();

// Sleeps until the session's wait is over, and ends it. At the deadline the
// wait is cancelled; if it was granted just before, the session keeps the
// buffers and the answer is kGranted. kCancelled: the deadline passed, or
// another thread cancelled the wait. kNone: there was no wait.
WaitStatus BlockUntilServed(SessionBuffers& session,
                            std::chrono::steady_clock::time_point deadline =
                                std::chrono::steady_clock::time_point::max());

}  // namespace tandem

#endif  // TANDEM_SESSION_BLOCKING_WAIT_H_
