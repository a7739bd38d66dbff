#ifndef TANDEM_POOL_CACHE_CACHE_BUDGET_H_
#define TANDEM_POOL_CACHE_CACHE_BUDGET_H_

#include <algorithm>
#include <cstdint>

#include "tandem/pool/cache/thread_cache.h"
#include "tandem/pool/types.h"

namespace tandem {

// How many buffers caches may hold.
struct CacheRules {
  // One cache: 0 to kMaxCacheSize.
  uint32_t most;
  // All caches together, if they are to adapt; else each may hold `most`.
  uint32_t total;
  bool adaptive;
};

// How many buffers each thread may cache. Either as many for each, or as many
// as it has use for: a cache starts with none and grows by a half whenever it
// runs empty or full, as long as the sum of all limits stays within `total`,
// and it has no more than its fair share then, twice the average of the threads
// that live. A share that has become smaller takes effect when the cache next
// holds too few, down to what is in it. Who wants to grow when all is given
// away looks at one other cache each time, and takes what an idle one may hold
// (LockFreePool::Adapt).
//
// So the caches of any number of threads hold at most `total` buffers, but for
// what the operations in progress put there that began before a limit was
// lowered, and what a cache kept whose barrier the system refused. A thread
// that is stopped for ever while it moves a limit keeps what that was from the
// others.
//
// Threads:  Grow and Shrink by the cache's owner; Reclaim by anyone.
// Cost:     one read-modify-write on a shared word when a limit changes, which
//           in a cache that has found its size is never.
template <class Platform>
class CacheBudget {
 public:
  using Cache = ThreadCache<Platform>;

  explicit CacheBudget(const CacheRules& rules) : rules_(rules), granted_(0) {}

  // A new owner begins.
  void Start(Cache& cache, int64_t now) {
    cache.StartIdling(now);
    if (!rules_.adaptive) cache.SetLimit(rules_.most);
  }

  // The cache has run full or empty, `threads` have one. True if it may hold
  // what it should now; false if all is given away.
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
    // Somebody has reclaimed it.
    if (!cache.MoveLimit(limit, limit + more)) granted_.fetch_sub(more);
    return true;
  }

  // The cache holds too few. Gives back what is more than its fair share and
  // not in use.
  void Shrink(Cache& cache, uint32_t threads) {
    if (rules_.adaptive) {
      LowerTo(cache, std::max(FairShare(threads), cache.size()));
    }
  }

  // Nothing more is to be put into the cache. Returns what it might hold until
  // now, which is to be given to Return once the cache has been emptied.
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
