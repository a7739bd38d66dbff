#ifndef TANDEM_POOL_CACHE_CACHE_BUDGET_H_
#define TANDEM_POOL_CACHE_CACHE_BUDGET_H_

#include <algorithm>
#include <cstdint>

#include "tandem/pool/cache/thread_cache.h"
#include "tandem/pool/types.h"

namespace tandem {

// Limits on the buffers in caches.
struct CacheRules {
  // One cache: 0 to kMaxCacheSize.
  uint32_t most;
  // All caches together, if the limits adapt; otherwise each may hold `most`.
  uint32_t total;
  bool adaptive;
};

// How many buffers each thread may cache. Fixed, or adaptive: a cache starts
// with a limit of 0, and the limit grows by a half whenever the cache runs
// empty or full, while the sum of all limits stays within `total` and the limit
// within the cache's fair share, twice the average of the living threads. If
// the share has shrunk, the limit follows when the cache next holds too few
// buffers, but not below what is in the cache. If a cache wants to grow when
// all is given away, its owner looks at one other cache each time, and takes
// the limit of an idle one (LockFreePool::Adapt).
//
// So the caches of any number of threads hold at most `total` buffers, except
// for those that operations put there that began before a limit was lowered,
// and those in a cache whose barrier the system refused. A thread stopped in
// mid-transfer leaks that much budget.
//
// Threads:  Grow and Shrink: the cache's owner. Reclaim: any thread.
// Cost:     one read-modify-write on a shared word when a limit changes; a
//           cache that has found its size has no such changes.
template <class Platform>
class CacheBudget {
 public:
  using Cache = ThreadCache<Platform>;

  explicit CacheBudget(const CacheRules& rules) : rules_(rules), granted_(0) {}

  // The cache has a new owner.
  void Start(Cache& cache, int64_t now) {
    cache.StartIdling(now);
    if (!rules_.adaptive) cache.SetLimit(rules_.most);
  }

  // The cache has run full or empty; `threads` threads have a cache. True if
  // the limit is now right; false if all is given away.
  bool Grow(Cache& cache, uint32_t threads) {
    if (!rules_.adaptive) return true;
    const uint32_t limit = cache.limit();
    const uint32_t goal =
        std::min(FairShare(threads), limit + std::max(limit / 2, kLeastStep));
    if (goal <= limit) return true;
    uint32_t granted = granted_.load();
    uint32_t more;
    do {
      more = std::min(goal - limit, rules_.total - granted);
      if (more == 0) return false;
    } while (!granted_.compare_exchange_weak(granted, granted + more));
    // Another thread has reclaimed the limit.
    if (!cache.MoveLimit(limit, limit + more)) granted_.fetch_sub(more);
    return true;
  }

  // The cache holds too few buffers. Gives back the part of the limit that is
  // above the fair share and not in use.
  void Shrink(Cache& cache, uint32_t threads) {
    if (rules_.adaptive) {
      LowerTo(cache, std::max(FairShare(threads), cache.size()));
    }
  }

  // Sets the limit to 0, so that no more is put into the cache. Returns the old
  // limit; the caller must pass it to Return once the cache has been emptied.
  uint32_t Reclaim(Cache& cache) {
    return rules_.adaptive ? cache.TakeLimit() : 0;
  }
  void Return(uint32_t limit) {
    if (limit != 0) granted_.fetch_sub(limit);
  }

  const CacheRules& rules() const { return rules_; }
  // The sum of all limits.
  uint32_t granted() const { return granted_.load(); }

 private:
  static constexpr uint32_t kLeastStep = 2;

  uint32_t FairShare(uint32_t threads) const {
    const uint64_t share = uint64_t{2} * rules_.total / std::max(threads, 1u);
    return static_cast<uint32_t>(std::clamp<uint64_t>(share, 1, rules_.most));
  }

  void LowerTo(Cache& cache, uint32_t goal) {
    const uint32_t limit = cache.limit();
    if (limit > goal && cache.MoveLimit(limit, goal)) {
      granted_.fetch_sub(limit - goal);
    }
  }

  const CacheRules rules_;
  alignas(kCacheLine) typename Platform::template Atomic<uint32_t> granted_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_CACHE_CACHE_BUDGET_H_
