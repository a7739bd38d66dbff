#include "tandem/pool/thread_binding.h"

#include <pthread.h>

#include <array>
#include <atomic>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "tandem/pool/die.h"

namespace tandem {

constinit thread_local std::array<std::atomic<ThreadCache<StdPlatform>*>,
                                  kCachedPools + 1>
    thread_caches;

namespace {

using ThreadCaches = decltype(thread_caches);

// Guards all but what is thread_local. Kept over fork(2): else a child would
// find it locked for ever by a thread that it does not have.
constinit std::mutex mutex;
uint64_t last_pool_id = 0;
std::bitset<kCachedPools> slots_in_use;

// Never destroyed, both: threads may end after static destructors have run.
std::vector<ThreadBinder::Core*>& Pools() {
  static auto& pools = *new std::vector<ThreadBinder::Core*>;
  return pools;
}
std::vector<ThreadCaches*>& Threads() {
  static auto& threads = *new std::vector<ThreadCaches*>;
  return threads;
}

[[gnu::constructor]] void KeepMutexOverFork() {
  const auto in_child = [] {
    // Where the parent's other threads had their caches, the child's may have
    // something else.
    std::erase_if(Threads(), [](const ThreadCaches* caches) {
      return caches != &thread_caches;
    });
    mutex.unlock();
  };
  if (pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); }, in_child) !=
      0) {
    Die("tandem: no memory for a handler of fork");
  }
}

// Which pool the calling thread has last been bound to in each slot, with a
// cache or without.
[[gnu::tls_model(
    "initial-exec")]] constinit thread_local std::array<uint64_t, kCachedPools>
    bound_pools = {};

// True once the calling thread's caches return, and for the rest of its life.
// Buffers that they hold may serve a waiter, and its wake-up may use a pool, as
// may what is destroyed later: it goes past the caches.
[[gnu::tls_model("initial-exec")]] constinit thread_local bool ending = false;

// A thread's name is a number that is never given again, not its address: in a
// child of fork(2), new threads lie where the parent's did, whose caches are as
// these left them.
constinit std::atomic<uintptr_t> last_token{0};
[[gnu::tls_model("initial-exec")]] constinit thread_local std::atomic<uintptr_t>
    own_token{0};

ThreadToken CallingThread() {
  // relaxed, all: the thread's own, and a count.
  uintptr_t token = own_token.load(std::memory_order::relaxed);
  if (token == 0) {
    const uintptr_t next =
        last_token.fetch_add(1, std::memory_order::relaxed) + 1;
    // Fails if a signal handler has used a pool in between.
    if (own_token.compare_exchange_strong(token, next,
                                          std::memory_order::relaxed)) {
      token = next;
    }
  }
  return ThreadToken{token};
}

// relaxed: a thread's own caches are read and written by itself, and cleared by
// who destroys the pool, which nobody uses any more; who uses the next one in
// the same slot has learned of it after that.
void Clear(std::atomic<ThreadCache<StdPlatform>*>& cache) {
  cache.store(nullptr, std::memory_order::relaxed);
}

void ReturnCaches(void*) {
  ending = true;
  // A handler that finds no cache must not bind one.
  StdPlatform::SignalFence();
  for (auto& cache : thread_caches) Clear(cache);
  const std::lock_guard lock(mutex);
  std::erase(Threads(), &thread_caches);
  for (ThreadBinder::Core* core : Pools()) {
    core->ReturnCacheOf(CallingThread());
  }
}

// A pthread key and not a thread_local object: its destructor runs after those
// of the thread's own objects, which may still release buffers.
pthread_key_t ExitKey() {
  static const pthread_key_t key = [] {
    pthread_key_t created;
    if (pthread_key_create(&created, ReturnCaches) != 0) {
      Die("tandem: no pthread key is left");
    }
    return created;
  }();
  return key;
}

// From the thread's pointer.
ptrdiff_t OffsetOf(const std::atomic<ThreadCache<StdPlatform>*>& cell) {
  return reinterpret_cast<const char*>(&cell) -
         static_cast<const char*>(__builtin_thread_pointer());
}

// Has the calling thread's caches return at its end.
void AddThread() {
  if (pthread_getspecific(ExitKey()) != nullptr) return;
  if (pthread_setspecific(ExitKey(), &thread_caches) != 0) {
    Die("tandem: no memory for a thread's end");
  }
  const std::lock_guard lock(mutex);
  Threads().push_back(&thread_caches);
}

}  // namespace

PoolPass ThreadBinder::AddPool(Core* core, bool has_fast_path) {
  const std::lock_guard lock(mutex);
  ExitKey();  // Under the lock: no fork comes while it is made.
  Pools().push_back(core);
  size_t slot = 0;
  while (slot < kCachedPools && slots_in_use[slot]) ++slot;
  if (slot < kCachedPools) slots_in_use.set(slot);
  return {
      .id = ++last_pool_id,
      .slot = slot,
      .offset = OffsetOf(thread_caches[has_fast_path ? slot : kCachedPools])};
}

void ThreadBinder::RemovePool(const PoolPass& pass, Core* core) {
  const std::lock_guard lock(mutex);
  std::erase(Pools(), core);
  if (pass.slot == kCachedPools) return;
  slots_in_use.reset(pass.slot);
  for (ThreadCaches* caches : Threads()) Clear((*caches)[pass.slot]);
}

ThreadCache<StdPlatform>* ThreadBinder::Bind(const PoolPass& pass, Core& core) {
  if (ending || pass.slot == kCachedPools) return nullptr;
  if (bound_pools[pass.slot] == pass.id) {
    // relaxed: see Clear.
    return thread_caches[pass.slot].load(std::memory_order::relaxed);
  }
  AddThread();
  ThreadCache<StdPlatform>* const cache = core.ClaimCache(CallingThread());
  // In this order for a signal handler: who is bound has its cache.
  thread_caches[pass.slot].store(cache, std::memory_order::relaxed);
  StdPlatform::SignalFence();
  bound_pools[pass.slot] = pass.id;
  return cache;
}

}  // namespace tandem
