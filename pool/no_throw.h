#ifndef TANDEM_POOL_NO_THROW_H_
#define TANDEM_POOL_NO_THROW_H_

#include <new>

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

}  // namespace tandem

#endif  // TANDEM_POOL_NO_THROW_H_
