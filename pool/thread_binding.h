#ifndef TANDEM_POOL_THREAD_BINDING_H_
#define TANDEM_POOL_THREAD_BINDING_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "tandem/pool/platform.h"
#include "tandem/pool/pool_core.h"

namespace tandem {

// Which cache of which pool the calling thread uses. Pool numbers are never
// reused, so a binding to a pool that is gone matches none.
struct ThreadBinding {
  uint64_t pool_id = 0;
  ThreadCache<StdPlatform>* cache = nullptr;
};

// The thread's bindings, by pool number modulo their count: a thread that uses
// more pools than that in turn binds anew each time, a linear search.
inline constexpr size_t kThreadBindings = 16;
[[gnu::tls_model("initial-exec")]] extern constinit thread_local std::array<
    ThreadBinding, kThreadBindings>
    thread_bindings;

// Knows all pools, so that a thread's caches return when it ends (P6).
//
// Threads: any, but not signal handlers: these take a lock. They are called at
// a pool's creation and destruction and at a thread's first use of a pool and
// its end, which rule P4 exempts.
class ThreadBinder {
 public:
  using Core = PoolCore<StdPlatform>;

  // A number for a new pool, from 1 up.
  static uint64_t AddPool(Core* core);
  static void RemovePool(Core* core);

  // Binds the calling thread to the pool and returns its cache, null if the
  // pool has none left.
  static ThreadCache<StdPlatform>* Bind(uint64_t pool_id, Core& core);
};

}  // namespace tandem

#endif  // TANDEM_POOL_THREAD_BINDING_H_
