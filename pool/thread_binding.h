#ifndef TANDEM_POOL_THREAD_BINDING_H_
#define TANDEM_POOL_THREAD_BINDING_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <optional>

#include "tandem/pool/cache/thread_cache.h"
#include "tandem/pool/lock_free_pool.h"
#include "tandem/pool/platform.h"

namespace tandem {

// Pools that can have thread caches at once. Further ones work without, slower.
// Each takes 8 bytes of every thread's static thread-local storage, of which
// the C library has little to spare for what is loaded by dlopen(3): by default
// 1,664 bytes for all objects (glibc.rtld.optional_static_tls in GLIBC_TUNABLES
// adds to it), and the pool takes 416 in all.
inline constexpr size_t kCachedPools = 32;

// What a pool needs to find the calling thread's cache.
struct ThreadSlot {
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
    const ThreadSlot& pass) {
  char* const place =
      static_cast<char*>(__builtin_thread_pointer()) + pass.offset;
  // relaxed: see Clear in thread_binding.cc.
  return reinterpret_cast<std::atomic<ThreadCache<StdPlatform>*>*>(place)->load(
      std::memory_order::relaxed);
}

// Knows all pools and all threads that use one, so that a thread's caches
// return when it ends, and no thread keeps a cache of a pool that is gone (P6).
//
// Threads: any, but not signal handlers, but for a thread that is bound, or
//          whose caches have returned: the rest takes a lock. A destructor of a
//          pthread key may use a pool for the thread's first time only if
//          another round of destructors is to come: not in the last of
//          PTHREAD_DESTRUCTOR_ITERATIONS. Rule P4 exempts a thread's first use
//          of a pool and its end.
// Memory:  none of the heap's.
// Fork:    the lock is not held over it, and a child does without what other
//          threads were doing under it. So any handler of fork(2), whenever it
//          was registered, and any wake-up may create, use and destroy pools,
//          and fork. What a thread was creating or destroying when another one
//          forked keeps its slot in the child.
class ThreadBinder {
 public:
  using Core = LockFreePool<StdPlatform>;

  // A pool that must see every operation has no fast slot. Nothing if the
  // process has no pthread key left, or no memory for handlers of fork.
  static std::optional<ThreadSlot> AddPool(Core* core, bool has_fast_path);
  // Waits for threads that end, and return a cache to the pool. Not in a
  // wake-up out of the pool.
  static void RemovePool(const ThreadSlot& pass);

  // The calling thread's cache, null if the pool has none left for it, or the
  // system no memory for the thread: then the next call tries again.
  static ThreadCache<StdPlatform>* Bind(const ThreadSlot& pass, Core& core);
};

}  // namespace tandem

#endif  // TANDEM_POOL_THREAD_BINDING_H_
