#ifndef TANDEM_POOL_THREAD_BINDING_H_
#define TANDEM_POOL_THREAD_BINDING_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "tandem/pool/platform.h"
#include "tandem/pool/pool_core.h"
#include "tandem/pool/thread_cache.h"

namespace tandem {

// Pools that can have thread caches at once. Further ones work without, slower.
inline constexpr size_t kCachedPools = 64;

// What a pool needs to find the calling thread's cache.
struct PoolPass {
  uint64_t id;       // never given again
  size_t slot;       // shared with no living pool, or kCachedPools
  size_t fast_slot;  // the same, or where nothing ever is: kCachedPools
};

// Which caches the calling thread uses: by the slot of the pool, null if it has
// none, or has not been bound to that pool yet. Written by the thread, and when
// a pool goes by who destroys it.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local std::array<
    std::atomic<ThreadCache<StdPlatform>*>, kCachedPools + 1>
    thread_caches;

// Knows all pools and all threads that use one, so that a thread's caches
// return when it ends, and no thread keeps a cache of a pool that is gone (P6).
//
// Threads: any, but not signal handlers: all functions take a lock, but for a
// thread that is bound. Rule P4 exempts a thread's first use of a pool and its
// end.
// Fork:    the lock is taken before and released after, in both processes, so
//          a child can use pools whatever the parent's other threads were at.
//          Who runs under it, a waker that a thread's end wakes, may not fork.
class ThreadBinder {
 public:
  using Core = PoolCore<StdPlatform>;

  // A pool that must see every operation has no fast slot.
  static PoolPass AddPool(Core* core, bool has_fast_path);
  static void RemovePool(const PoolPass& pass, Core* core);

  // The calling thread's cache, null if the pool has none left for it.
  static ThreadCache<StdPlatform>* Bind(const PoolPass& pass, Core& core);
};

}  // namespace tandem

#endif  // TANDEM_POOL_THREAD_BINDING_H_
