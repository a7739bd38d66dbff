#ifndef TANDEM_SESSION_COROUTINE_FRAME_H_
#define TANDEM_SESSION_COROUTINE_FRAME_H_

#include <dlfcn.h>

#include <coroutine>

#include "tandem/pool/die.h"

namespace tandem {

// Aborts if g++ has miscompiled the coroutine, with a message that says what to
// write instead.
//
// g++ 12.2 turns a condition that awaits into a variable, which it adds to the
// innermost enclosing block that declares a variable. If there is no such
// block, it puts the variable first in the coroutine's frame, in the place of
// the resume function's address. Code that resumes the coroutine or accesses
// its promise then reads at an offset that is eight bytes wrong. This happens
// with every awaitable, including Asio's, so an awaitable cannot prevent it.
// But an awaitable can detect it before it does harm, because the value in that
// place is almost never an address in a program or library. The check never
// rejects a correct frame.
//
// Cost: about 20 ns for each suspension with g++ up to 12, nothing with others.
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
