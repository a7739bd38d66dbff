#ifndef TANDEM_POOL_CACHE_SPARE_MAGAZINES_H_
#define TANDEM_POOL_CACHE_SPARE_MAGAZINES_H_

#include <atomic>
#include <cstdint>
#include <span>

#include "tandem/pool/depot/magazine_stack.h"

namespace tandem {

// A few empty magazines that a thread keeps: a refill leaves one, and the next
// flush fills it, so neither needs a stack of empty magazines.
//
// Threads: the owner of the thread cache that contains it, and its signal
// handlers. Cost: a read-modify-write on the thread's own line.
template <class Platform>
class SpareMagazines {
 public:
  using Box = Magazine<Platform>;

  static constexpr uint32_t kMost = 4;

  SpareMagazines() : top_(static_cast<uint32_t>(kNoPosition)) {}

  // Makes it empty: zeros, as in new memory, would name a magazine. relaxed:
  // called by the owner, before any other use.
  void MakeEmpty() {
    top_.store(static_cast<uint32_t>(kNoPosition), std::memory_order::relaxed);
  }

  // Takes all magazines: a chain that ends with kNoPosition.
  MagazineChain TakeAll(std::span<Box> magazines) {
    // acquire here pairs with release in TryPut, for the next owner of the
    // cache as well as for a handler.
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

  // Keeps `chain`, which is not empty and ends with kNoPosition, together with
  // `others`, another chain. False if these would be too many, or if a handler
  // has put magazines here meanwhile: then `chain` contains both.
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
    // release: pairs with acquire in TakeAll; without it the next owner may
    // miss a link of the chain. Failure, relaxed: nothing is read.
    return top_.compare_exchange_strong(none, static_cast<uint32_t>(chain.top),
                                        std::memory_order::release,
                                        std::memory_order::relaxed);
  }

 private:
  typename Platform::template OwnAtomic<uint32_t> top_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_CACHE_SPARE_MAGAZINES_H_
