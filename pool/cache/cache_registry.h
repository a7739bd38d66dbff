#ifndef TANDEM_POOL_CACHE_CACHE_REGISTRY_H_
#define TANDEM_POOL_CACHE_CACHE_REGISTRY_H_

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/cache/ownership.h"
#include "tandem/pool/cache/thread_cache.h"
#include "tandem/pool/types.h"

namespace tandem {

// Every thread cache of a pool: which caches are owned, how far a sweep must
// go, and where a sweep should begin.
//
// Threads:   any. Progress: Attach is lock-free but linear in the caches.
// Invariant: a cache that ever had an owner lies in [0, high water).
// New cache: the high-water mark covers it before its owner pushes for the
//            first time. So a sweep that began after a push visits the cache,
//            and a push that the sweep missed sees the sweep's pressure
//            (seq_cst).
// Hints:     a bit for each cache that has been filled and not been found empty
//            since. Advisory: may be missing if filling and emptying race. A
//            sweep that does not get what it needs from hinted caches visits
//            all.
template <class Platform>
class CacheRegistry {
 public:
  using Cache = ThreadCache<Platform>;

  using MaybeFilledBits = typename Platform::template Atomic<uint64_t>;
  static constexpr size_t kHintsPerWord = 64;

  // Either no hints are kept, or `hints` has a bit for each cache. `caches` may
  // be zeros: the owner of a cache constructs it.
  CacheRegistry(std::span<Cache> caches, std::span<MaybeFilledBits> hints)
      : caches_(caches), hints_(hints), high_water_(0), owned_(0) {}

  // The cache that `thread` owns; null if none.
  Cache* Find(ThreadToken thread) const {
    for (Cache& cache : InUse()) {
      if (cache.ownership.owner() == thread) return &cache;
    }
    return nullptr;
  }

  // An empty cache for `thread`, which owns none; null if all are owned.
  Cache* Attach(ThreadToken thread) {
    for (uint32_t i = 0; i < caches_.size(); ++i) {
      if (!caches_[i].ownership.TryOwn(thread)) continue;
      owned_.fetch_add(1);
      uint32_t mark = high_water_.load();
      while (mark < i + 1 && !high_water_.compare_exchange_weak(mark, i + 1)) {
      }
      return &caches_[i];
    }
    return nullptr;
  }

  // Gives up a cache that the caller owns.
  void Detach(Cache& cache) {
    cache.ownership.Disown();
    owned_.fetch_sub(1);
  }

  // The caches that may hold buffers, including the caller's.
  std::span<Cache> InUse() const { return caches_.first(high_water_.load()); }

  // The number of caches with an owner, approximately.
  uint32_t owned() const { return owned_.load(); }

  void HintFilled(const Cache& cache) { SetHint(cache, true); }
  void HintEmpty(const Cache& cache) { SetHint(cache, false); }

  // Calls visit(caches) for up to `piece.size()` hinted caches at a time, which
  // it stores in `piece`, until visit returns true; returns whether it did.
  template <class Visit>
  bool VisitHinted(std::span<Cache*> piece, Visit visit) const {
    size_t count = 0;
    for (size_t i = 0; i < hints_.size(); ++i) {
      uint64_t bits = hints_[i].load(std::memory_order::relaxed);
      for (; bits != 0; bits &= bits - 1) {
        piece[count++] = &caches_[i * kHintsPerWord + std::countr_zero(bits)];
        if (count < piece.size()) continue;
        if (visit(std::span<Cache* const>(piece))) return true;
        count = 0;
      }
    }
    return count != 0 && visit(std::span<Cache* const>(piece).first(count));
  }

  // The same for all caches in use.
  template <class Visit>
  bool VisitAll(std::span<Cache*> piece, Visit visit) const {
    const std::span<Cache> all = InUse();
    for (size_t done = 0; done < all.size();) {
      const size_t count = std::min(piece.size(), all.size() - done);
      for (size_t i = 0; i < count; ++i) piece[i] = &all[done + i];
      if (visit(std::span<Cache* const>(piece).first(count))) return true;
      done += count;
    }
    return false;
  }

 private:
  void SetHint(const Cache& cache, bool filled) {
    if (hints_.empty()) return;
    const size_t at = &cache - caches_.data();
    MaybeFilledBits& word = hints_[at / kHintsPerWord];
    const uint64_t bit = uint64_t{1} << at % kHintsPerWord;
    // relaxed, all: hints. Written only where the bit changes.
    if (((word.load(std::memory_order::relaxed) & bit) != 0) == filled) return;
    if (filled) {
      word.fetch_or(bit, std::memory_order::relaxed);
    } else {
      word.fetch_and(~bit, std::memory_order::relaxed);
    }
  }

  const std::span<Cache> caches_;
  const std::span<MaybeFilledBits> hints_;
  alignas(kCacheLine) typename Platform::template Atomic<uint32_t> high_water_;
  typename Platform::template Atomic<uint32_t> owned_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_CACHE_CACHE_REGISTRY_H_
