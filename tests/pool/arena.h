#ifndef TANDEM_TESTS_POOL_ARENA_H_
#define TANDEM_TESTS_POOL_ARENA_H_

#include <cstddef>

namespace tandem {

// Calls of operator new so far, in all threads, unless over-aligned.
size_t AllocationsSoFar();

// While one lives, what its thread gets from operator new, unless it is
// over-aligned, comes from memory of the program's own: so the thread can be
// stopped there, as it could not in malloc(3), whose locks it would keep. Never
// used again: 1 MiB in all.
class Arena {
 public:
  Arena();
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_POOL_ARENA_H_
