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
  ptrdiff_t offset;  // see FastCache
};

// Which caches the calling thread uses: by the slot of the pool, null if it has
// none, or has not been bound to that pool yet. Written by the thread, and when
// a pool goes by who destroys it.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local std::array<
    std::atomic<ThreadCache<StdPlatform>*>, kCachedPools + 1>
    thread_caches;

// The calling thread's cache for the fast path: thread_caches[slot] of the
// pool, or where nothing ever is if it has no such way. The offset is from the
// thread's pointer, and the same in all threads, as the array is in static
// thread-local storage.
[[gnu::always_inline]] inline ThreadCache<StdPlatform>* FastCache(
    const PoolPass& pass) {
  char* const place =
      static_cast<char*>(__builtin_thread_pointer()) + pass.offset;
  // relaxed: see Clear in thread_binding.cc.
  return reinterpret_cast<std::atomic<ThreadCache<StdPlatform>*>*>(place)->load(
      std::memory_order::relaxed);
}

// Knows all pools and all threads that use one, so that a thread's caches
// return when it ends, and no thread keeps a cache of a pool that is gone (P6).
//
// Threads: any, but not signal handlers: all functions take a lock, but for a
// thread that is bound, or whose caches have returned. A destructor of a
// pthread key may use a pool for the thread's first time only if another round
// of destructors is to come: not in the last of PTHREAD_DESTRUCTOR_ITERATIONS.
// Rule P4 exempts a thread's first use of a pool and its
// end.
// Fork:    the lock is taken before and released after, in both processes, so
//          a child can use pools whatever the parent's other threads were at.
//          Who runs under it, a waker that a thread's end wakes or a handler
//          that interrupts a thread's first use of a pool, may not fork.
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
