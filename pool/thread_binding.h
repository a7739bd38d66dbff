#ifndef TANDEM_POOL_THREAD_BINDING_H_
#define TANDEM_POOL_THREAD_BINDING_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "tandem/pool/platform.h"
#include "tandem/pool/pool_core.h"
#include "tandem/pool/thread_cache.h"

namespace tandem {

// What a pool needs to find the calling thread's cache: its number, never given
// again, and the place of its bindings, which it shares with no living pool.
struct PoolPass {
  uint64_t id;
  size_t slot;
};

// Which cache of which pool the calling thread uses. A binding to a pool that
// is gone matches none.
struct ThreadBinding {
  uint64_t pool_id = 0;
  ThreadCache<StdPlatform>* cache = nullptr;
};

// Pools that can have thread caches at once. Further ones work without, slower:
// they share the last slot, where nothing is ever bound.
inline constexpr size_t kCachedPools = 64;
[[gnu::tls_model("initial-exec")]] extern constinit thread_local std::array<
    ThreadBinding, kCachedPools + 1>
    thread_bindings;

// Knows all pools, so that a thread's caches return when it ends (P6).
//
// Threads: any, but not signal handlers: AddPool, RemovePool and the end of a
// thread take a lock, and Bind sets up what ends with the thread. Rule P4
// exempts a thread's first use of a pool and its end.
class ThreadBinder {
 public:
  using Core = PoolCore<StdPlatform>;

  static PoolPass AddPool(Core* core);
  static void RemovePool(const PoolPass& pass, Core* core);

  // Binds the calling thread to the pool and returns its cache, null if the
  // pool has none left.
  static ThreadCache<StdPlatform>* Bind(const PoolPass& pass, Core& core);
};

}  // namespace tandem

#endif  // TANDEM_POOL_THREAD_BINDING_H_
