#ifndef TANDEM_TESTS_POOL_ARENA_H_
#define TANDEM_TESTS_POOL_ARENA_H_

#include <cstddef>

namespace tandem {

// Calls of operator new so far, in all threads, unless over-aligned.
size_t AllocationsSoFar();

// While an Arena lives, its thread's operator new, unless over-aligned, takes
// from memory of the program itself. So the thread can be stopped there; in
// malloc(3) it would keep a lock. The memory, 1 MiB in all, is not reused.
class Arena {
 public:
  Arena();
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_POOL_ARENA_H_
