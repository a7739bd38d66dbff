#ifndef TANDEM_POOL_CACHE_SPARE_MAGAZINES_H_
#define TANDEM_POOL_CACHE_SPARE_MAGAZINES_H_

#include <array>
#include <atomic>
#include <cstdint>

#include "tandem/pool/cache/handler_guard.h"
#include "tandem/pool/depot/magazine_stack.h"

namespace tandem {

// A few empty magazines that a thread keeps: a refill leaves one, and the next
// flush fills it, so neither needs a stack of empty magazines.
//
// All zeros are none: no construction is needed. The next owner of the thread
// cache that contains this also gets the magazines.
//
// Threads: the owner of that thread cache, and its signal handlers. A handler
// that interrupts a function of this class finds nothing and no room: so no two
// of them fill the same magazine. Cost: no read-modify-write.
template <class Platform>
class SpareMagazines {
 public:
  static constexpr uint32_t kMost = 4;

  SpareMagazines() : count_(0) {
    for (auto& number : numbers_) {
      number.store(0, std::memory_order::relaxed);  // as below
    }
  }

  // The number of a magazine, which the caller then owns; kNoMagazine if there
  // is none.
  uint32_t Take() {
    const typename HandlerGuard<Platform>::Scope scope(guard_);
    // relaxed, all accesses: by one thread. Owners change by TryOwn and Disown,
    // which are seq_cst.
    const uint32_t count = count_.load(std::memory_order::relaxed);
    if (!scope.hides() || count == 0) return kNoMagazine;
    count_.store(count - 1, std::memory_order::relaxed);
    return numbers_[count - 1].load(std::memory_order::relaxed);
  }

  // Keeps a magazine that the caller owns. False if there is no room.
  bool TryPut(uint32_t number) {
    const typename HandlerGuard<Platform>::Scope scope(guard_);
    // relaxed, all: as in Take.
    const uint32_t count = count_.load(std::memory_order::relaxed);
    if (!scope.hides() || count == kMost) return false;
    numbers_[count].store(number, std::memory_order::relaxed);
    count_.store(count + 1, std::memory_order::relaxed);
    return true;
  }

 private:
  using Word32 = typename Platform::template OwnAtomic<uint32_t>;

  HandlerGuard<Platform> guard_;
  Word32 count_;
  std::array<Word32, kMost> numbers_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_CACHE_SPARE_MAGAZINES_H_
