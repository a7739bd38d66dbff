#ifndef TANDEM_SESSION_WAKER_H_
#define TANDEM_SESSION_WAKER_H_

namespace tandem {

// The notification of a waiter that its buffers are there: a function and a
// context. Nothing is allocated.
//
// It is called once for each granted wait, on the thread that served it. The
// call may come before the subscribing call has returned, and may come in a
// signal handler. It must not block or throw, and must not create or destroy a
// pool. It may use any pool, and any session that no other thread uses; buffers
// that it frees are served after it returns, not nested.
//
// Without a context, `wake` gets the address of the wait's own word, which
// outlives the wait: a thread can sleep on it. Without a function there is no
// notification, and the waiter must look by itself.
//
// It must return: no longjmp, no thread exit.
struct Waker {
  void (*wake)(void* context) noexcept = nullptr;
  void* context = nullptr;
  // Also call it for a cancelled wait: for a thread that sleeps until the wait
  // is over, granted or cancelled.
  bool on_cancel = false;
};

}  // namespace tandem

#endif  // TANDEM_SESSION_WAKER_H_
