#ifndef TANDEM_POOL_CACHE_REGISTRY_H_
#define TANDEM_POOL_CACHE_REGISTRY_H_

#include <cstdint>
#include <span>

#include "tandem/pool/thread_cache.h"
#include "tandem/pool/types.h"

namespace tandem {

// Every thread cache of a pool: which are owned, and how far a sweep must go.
//
// Threads:   any. Progress: Claim is lock-free but linear in the caches.
// Invariant: a cache that was ever owned lies in [0, high water).
// New cache: the high-water mark covers it before its owner pushes for the
//            first time, so a sweep that began after a push sees it; a push
//            that the sweep missed sees the sweep's pressure (seq_cst).
template <class Platform>
class CacheRegistry {
 public:
  using Cache = ThreadCache<Platform>;

  explicit CacheRegistry(std::span<Cache> caches)
      : caches_(caches), high_water_(0) {}

  // The cache that `thread` owns; null if none.
  Cache* Find(ThreadToken thread) const {
    for (Cache& cache : InUse()) {
      if (cache.owner() == thread) return &cache;
    }
    return nullptr;
  }

  // An empty cache for `thread`, which owns none; null if all are owned.
  Cache* Claim(ThreadToken thread) {
    for (uint32_t i = 0; i < caches_.size(); ++i) {
      if (!caches_[i].TryOwn(thread)) continue;
      uint32_t mark = high_water_.load();
      while (mark < i + 1 && !high_water_.compare_exchange_weak(mark, i + 1)) {
      }
      return &caches_[i];
    }
    return nullptr;
  }

  // The caches that may hold buffers, others' and the caller's.
  std::span<Cache> InUse() const { return caches_.first(high_water_.load()); }

 private:
  const std::span<Cache> caches_;
  alignas(kCacheLine) typename Platform::template Atomic<uint32_t> high_water_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_CACHE_REGISTRY_H_
