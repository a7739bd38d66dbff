#include "tandem/pool/thread_binding.h"

#include <pthread.h>

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "absl/log/check.h"

namespace tandem {

constinit thread_local std::array<ThreadBinding, kCachedPools + 1>
    thread_bindings;

namespace {

constinit std::mutex mutex;  // guards all but `ending`
uint64_t last_pool_id = 0;
std::bitset<kCachedPools> slots_in_use;

// Never destroyed: threads may end after static destructors have run.
std::vector<ThreadBinder::Core*>& Pools() {
  static auto& pools = *new std::vector<ThreadBinder::Core*>;
  return pools;
}

// The address of a thread's bindings names it while it lives.
ThreadToken CallingThread() {
  return ThreadToken{reinterpret_cast<uintptr_t>(&thread_bindings)};
}

// True once the calling thread's caches return, and for the rest of its life.
// Buffers that they hold may serve a waiter, and its wake-up may use a pool, as
// may what is destroyed later: it goes past the caches.
constinit thread_local bool ending = false;

void ReturnCaches(void*) {
  ending = true;
  // A handler that finds no binding must not make one.
  StdPlatform::SignalFence();
  thread_bindings.fill({});
  const std::lock_guard lock(mutex);
  for (ThreadBinder::Core* core : Pools()) {
    core->ReturnCacheOf(CallingThread());
  }
}

// A pthread key and not a thread_local object: its destructor runs after those
// of the thread's own objects, which may still release buffers.
pthread_key_t ExitKey() {
  static const pthread_key_t key = [] {
    pthread_key_t created;
    CHECK_EQ(pthread_key_create(&created, ReturnCaches), 0)
        << "tandem: no pthread key is left";
    return created;
  }();
  return key;
}

}  // namespace

PoolPass ThreadBinder::AddPool(Core* core) {
  const std::lock_guard lock(mutex);
  Pools().push_back(core);
  size_t slot = 0;
  while (slot < kCachedPools && slots_in_use[slot]) ++slot;
  if (slot < kCachedPools) slots_in_use.set(slot);
  return {.id = ++last_pool_id, .slot = slot};
}

void ThreadBinder::RemovePool(const PoolPass& pass, Core* core) {
  const std::lock_guard lock(mutex);
  std::erase(Pools(), core);
  if (pass.slot < kCachedPools) slots_in_use.reset(pass.slot);
}

ThreadCache<StdPlatform>* ThreadBinder::Bind(const PoolPass& pass, Core& core) {
  if (ending || pass.slot == kCachedPools) return nullptr;
  ThreadCache<StdPlatform>* const cache = core.ClaimCache(CallingThread());
  CHECK_EQ(pthread_setspecific(ExitKey(), &thread_bindings), 0);
  ThreadBinding& binding = thread_bindings[pass.slot];
  // In this order for a signal handler: a number that matches has its cache.
  binding.pool_id = 0;
  StdPlatform::SignalFence();
  binding.cache = cache;
  StdPlatform::SignalFence();
  binding.pool_id = pass.id;
  return cache;
}

}  // namespace tandem
