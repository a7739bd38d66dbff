#ifndef TANDEM_POOL_NO_THROW_H_
#define TANDEM_POOL_NO_THROW_H_

#include <new>

#include "absl/status/status.h"

namespace tandem {

// Runs `work`, which may use operator new; false if that has thrown. So no
// function of the library throws when memory is short (E1). If compiled without
// exceptions, operator new ends the process itself, or does what the embedder
// has set.
template <class Work>
[[nodiscard]] bool HasMemoryFor(Work work) noexcept {
#ifdef __cpp_exceptions
  try {
    work();
  } catch (const std::bad_alloc&) {
    return false;
  }
#else
  work();
#endif
  return true;
}

// ResourceExhausted without a message: a message needs memory.
inline absl::Status NoMemory() noexcept {
  return absl::Status(absl::StatusCode::kResourceExhausted, "");
}

// The result of `work`, or ResourceExhausted if operator new throws in it; with
// this message, if there is memory for it.
template <class Result, class Work>
Result WithoutThrowing(const char* message, Work work) noexcept {
  Result result = NoMemory();
  if (!HasMemoryFor([&] { result = work(); })) {
    (void)HasMemoryFor([&] { result = absl::ResourceExhaustedError(message); });
  }
  return result;
}

}  // namespace tandem

#endif  // TANDEM_POOL_NO_THROW_H_
