#ifndef TANDEM_SESSION_COROUTINE_FRAME_H_
#define TANDEM_SESSION_COROUTINE_FRAME_H_

#include <dlfcn.h>

#include <coroutine>

#include "tandem/pool/die.h"

namespace tandem {

// Aborts, with a message that says what to write instead, if the coroutine is
// one that g++ has compiled wrong.
//
// g++ 12.2 turns a condition that awaits into a variable, which it adds to the
// innermost block around the statement that declares one. If there is none, the
// variable comes before all else in the coroutine's frame, where the address of
// the function that resumes it belongs: whoever resumes the coroutine, or finds
// its promise, reads eight bytes beside it. What is awaited makes no difference
// (Asio's own awaitables crash likewise), so no awaitable can mend it; but it
// can be told before it does harm, as what stands in that place is hardly ever
// an address in a program or library. A frame that is right is never taken for
// a wrong one.
//
// Cost: some 20 ns for each suspension with g++ up to 12, nothing with others.
inline void CheckFrame([[maybe_unused]] std::coroutine_handle<> coroutine) {
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ <= 12 && \
    defined(DLFO_STRUCT_HAS_EH_DBASE)
  void* const resume = *static_cast<void* const*>(coroutine.address());
  dl_find_object object;
  if (_dl_find_object(resume, &object) == 0) return;
  Die("tandem: this version of g++ compiles a coroutine wrong that awaits in a "
      "condition where no block around it declares a variable; write `const "
      "Allocation got = co_await ...;` first");
#endif
}

}  // namespace tandem

#endif  // TANDEM_SESSION_COROUTINE_FRAME_H_
