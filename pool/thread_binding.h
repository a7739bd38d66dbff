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

// The number of pools that can have thread caches at once. Further pools work
// without caches, slower. Each takes 8 bytes of every thread's static
// thread-local storage. The C library has little of that for objects that
// dlopen(3) loads: by default 1,664 bytes for all of them
// (glibc.rtld.optional_static_tls in GLIBC_TUNABLES adds to it); the pool takes
// 416 in all.
inline constexpr size_t kCachedPools = 32;

// With this a pool finds the calling thread's cache.
struct ThreadSlot {
  size_t slot;       // of no other living pool, or kCachedPools
  ptrdiff_t offset;  // see FastCache
};

// The caches that the calling thread uses, by the slot of the pool; null if it
// has none, or has not been bound to that pool yet. Written by the thread, and
// by a thread that destroys the pool.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local std::array<
    std::atomic<ThreadCache<StdPlatform>*>, kCachedPools + 1>
    thread_caches;

// The calling thread's cache for the fast path: thread_caches[slot] of the
// pool, or, if the pool has no fast path, a place that is always null. The
// offset is relative to the thread pointer, and is the same in all threads, as
// the array is in static thread-local storage.
[[gnu::always_inline]] inline ThreadCache<StdPlatform>* FastCache(
    const ThreadSlot& pass) {
  char* const place =
      static_cast<char*>(__builtin_thread_pointer()) + pass.offset;
  // relaxed: see Clear in thread_binding.cc.
  return reinterpret_cast<std::atomic<ThreadCache<StdPlatform>*>*>(place)->load(
      std::memory_order::relaxed);
}

// Knows all pools and all threads that use one. So a thread's caches return
// when it ends, and no thread keeps a cache of a pool that is gone (P6).
//
// Threads: any. A signal handler only if its thread is bound, or if the
//          thread's caches have returned: everything else takes a lock. The
//          destructor of a pthread key may use a pool for the thread's first
//          time only if another round of destructors follows: not in the last
//          of PTHREAD_DESTRUCTOR_ITERATIONS. Rule P4 exempts a thread's first
//          use of a pool and its end.
// Memory:  none from the heap.
// Fork:    the lock is not held over fork(2), and a child discards what other
//          threads were doing under it. So any handler of fork(2), whenever it
//          was registered, and any wake-up may create, use and destroy pools,
//          and fork. If a thread was creating or destroying a pool while
//          another thread forked, the pool's slot stays taken in the child.
class ThreadBinder {
 public:
  using Core = LockFreePool<StdPlatform>;

  // A pool that must see every operation has no fast path. Returns nothing if
  // the process has no pthread key left, or no memory for handlers of fork.
  static std::optional<ThreadSlot> AddPool(Core* core, bool has_fast_path);
  // Waits for threads that are ending and return a cache to the pool. Must not
  // be called in a wake-up by the pool.
  static void RemovePool(const ThreadSlot& pass);

  // The calling thread's cache; null if the pool has none left for it, or if
  // the system has no memory for the thread: then the next call tries again.
  static ThreadCache<StdPlatform>* Bind(const ThreadSlot& pass, Core& core);
};

}  // namespace tandem

#endif  // TANDEM_POOL_THREAD_BINDING_H_
