#ifndef TANDEM_SESSION_WAKER_H_
#define TANDEM_SESSION_WAKER_H_

namespace tandem {

// How a waiter is told that its buffers are there: a function and a context,
// nothing allocated.
//
// Called once for each wait that was granted, on the thread that served it,
// possibly before the call that subscribed has returned, possibly in a signal
// handler. It must not block or throw, nor create or destroy a pool. It may use
// any pool, and any session that no other thread uses; what that frees is
// served after it returns, not nested.
//
// Without a context, `wake` is given the address of the wait's own word, which
// outlives the wait: what a thread sleeps on. Without a function nobody is
// told: the waiter looks by itself.
//
// It must return: no longjmp, no thread exit.
struct Waker {
  void (*wake)(void* context) noexcept = nullptr;
  void* context = nullptr;
  // Call it for a wait that is cancelled as well: for who sleeps until it is
  // over, one way or the other.
  bool on_cancel = false;
};

}  // namespace tandem

#endif  // TANDEM_SESSION_WAKER_H_
