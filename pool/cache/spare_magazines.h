#ifndef TANDEM_POOL_CACHE_SPARE_MAGAZINES_H_
#define TANDEM_POOL_CACHE_SPARE_MAGAZINES_H_

#include <atomic>
#include <cstdint>
#include <span>

#include "tandem/pool/depot/magazine_stack.h"

namespace tandem {

// A few empty magazines that a thread keeps: a refill leaves one, which the
// next flush fills, so that neither goes to a stack for it.
//
// Threads: the owner of the thread cache that it belongs to, and its signal
// handlers. Cost: a read-modify-write on the thread's own line.
template <class Platform>
class SpareMagazines {
 public:
  using Box = Magazine<Platform>;

  static constexpr uint32_t kMost = 4;

  SpareMagazines() : top_(static_cast<uint32_t>(kNoPosition)) {}

  // Where there are none, as in memory of zeros there would seem to be.
  // relaxed: the owner, before anybody else may use it.
  void MakeEmpty() {
    top_.store(static_cast<uint32_t>(kNoPosition), std::memory_order::relaxed);
  }

  // Takes all there are: a chain that ends with kNoPosition.
  MagazineChain TakeAll(std::span<Box> magazines) {
    // acquire, here, and release in TryPut: each other's partner, for the next
    // owner of the cache as for a handler.
    MagazineChain chain;
    chain.top = Position{top_.exchange(static_cast<uint32_t>(kNoPosition),
                                       std::memory_order::acquire)};
    if (chain.empty()) return chain;
    for (Position next = chain.top; next != kNoPosition;
         next = magazines[chain.last].Below()) {
      chain.last = Box::NumberOf(next);
    }
    return chain;
  }

  // Keeps a chain that is not empty and ends with kNoPosition, together with
  // `others`, another one, unless these would be too many, or a handler has
  // put some here meanwhile: then `chain` is both.
  bool TryPut(std::span<Box> magazines, MagazineChain& chain,
              const MagazineChain& others) {
    if (!others.empty()) {
      magazines[chain.last].SetBelow(others.top);
      chain.last = others.last;
    }
    uint32_t count = 0;
    for (Position next = chain.top; next != kNoPosition;
         next = magazines[Box::NumberOf(next)].Below()) {
      if (++count > kMost) return false;
    }
    auto none = static_cast<uint32_t>(kNoPosition);
    return top_.compare_exchange_strong(none, static_cast<uint32_t>(chain.top),
                                        std::memory_order::release,
                                        std::memory_order::relaxed);
  }

 private:
  typename Platform::template OwnAtomic<uint32_t> top_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_CACHE_SPARE_MAGAZINES_H_
