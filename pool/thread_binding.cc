#include "tandem/pool/thread_binding.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>

#include "tandem/pool/die.h"

namespace tandem {

constinit thread_local std::array<std::atomic<ThreadCache<StdPlatform>*>,
                                  kCachedPools + 1>
    thread_caches;

namespace {

using ThreadCaches = decltype(thread_caches);

// What a thread keeps, so that a thread that destroys a pool can find it. Kept
// small, as static thread-local storage is scarce.
struct Thread {
  // The list of threads that are bound to a pool. `link` is the pointer to this
  // thread, in the thread before it or the head; null if this thread is not
  // linked. Guarded by the lock.
  Thread* next = nullptr;
  Thread** link = nullptr;
  ThreadCaches* caches = nullptr;
  // A bit for each pool that had no cache left for the thread.
  std::atomic<uint32_t> refused{0};
  // While this thread forks, between the handlers of fork: the parent's
  // process; otherwise 0.
  pid_t forking = 0;
  std::atomic<uintptr_t> token{0};
  // The pool to which the thread, which is ending, returns a cache; otherwise
  // none.
  uint8_t returning_to = kCachedPools;
  // True once the thread's caches return, and for the rest of its life. A
  // buffer in them may serve a waiting session, whose wake-up may use a pool;
  // objects that are destroyed later may use one, too. Such uses go past the
  // caches.
  bool ending = false;
  // The thread has the lock, or waits for it.
  bool locked = false;
};
static_assert(kCachedPools <= 32, "a bit each in `refused`");

[[gnu::tls_model("initial-exec")]] constinit thread_local Thread self;

// Guards the list of threads and `users`, and orders the destruction of a pool
// with what its threads do. No user code runs under it.
constinit std::mutex mutex;
Thread* threads = nullptr;

// The pools that have thread caches, by slot; null if the slot is free.
constinit std::array<std::atomic<ThreadBinder::Core*>, kCachedPools> pools;
// The number of threads that are returning a cache to the pool. The pool must
// not be destroyed meanwhile.
std::array<uint32_t, kCachedPools> users;

// Called in a child of fork(2), in the handler or when its thread first comes
// here. Discards what other threads, which the child does not have, were doing
// under the lock. Their list may be torn, the lock may be theirs, and their
// caches' memory may be in other use by now.
void EnterChild() {
  self.forking = 0;
  if (self.locked) {
    Die("tandem: fork(2) in a signal handler that interrupted a thread's first "
        "use of a pool, or its end");
  }
  new (&mutex) std::mutex;
  threads = self.link != nullptr ? &self : nullptr;
  self.next = nullptr;
  if (self.link != nullptr) self.link = &threads;
  users = {};
  if (self.returning_to != kCachedPools) users[self.returning_to] = 1;
}

// Holds the lock. It is not kept over fork(2): other handlers of fork may use
// pools in any way, may wait for threads that do, and may run before or after
// ours.
class Lock {
 public:
  Lock() {
    if (self.forking != 0 && self.forking != getpid()) EnterChild();
    if (self.locked) {
      Die("tandem: a pool is created or destroyed in a signal handler that "
          "interrupted a thread's first use of a pool, or its end");
    }
    self.locked = true;
    StdPlatform::SignalFence();
    mutex.lock();
  }
  ~Lock() {
    mutex.unlock();
    StdPlatform::SignalFence();
    self.locked = false;
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
};

// A thread's token is a number that is never used again, not its address: in a
// child of fork(2), new threads lie at the addresses of the parent's threads,
// whose caches are still as those threads left them.
constinit std::atomic<uintptr_t> last_token{0};

ThreadToken CallingThread() {
  // relaxed, all: `token` is the thread's own, and `last_token` a count.
  uintptr_t token = self.token.load(std::memory_order::relaxed);
  if (token == 0) {
    const uintptr_t next =
        last_token.fetch_add(1, std::memory_order::relaxed) + 1;
    // Fails if a signal handler has used a pool in between.
    if (self.token.compare_exchange_strong(token, next,
                                           std::memory_order::relaxed)) {
      token = next;
    }
  }
  return ThreadToken{token};
}

// relaxed: a thread's own caches are read and written by itself. A thread that
// destroys the pool clears them when no thread uses the pool any more; a thread
// that uses the next pool in the same slot has learned of it after that.
void Clear(std::atomic<ThreadCache<StdPlatform>*>& cache) {
  cache.store(nullptr, std::memory_order::relaxed);
}

uint32_t BitOf(size_t slot) { return uint32_t{1} << slot; }

// Returns the calling thread's cache in this slot, if it has one. Its buffers
// may wake a session, so this must not happen under the lock.
void ReturnCache(size_t slot) {
  ThreadCache<StdPlatform>* cache;
  ThreadBinder::Core* core;
  {
    const Lock lock;
    // relaxed: see Clear; the lock orders it after a thread that destroys the
    // pool.
    cache = thread_caches[slot].load(std::memory_order::relaxed);
    if (cache == nullptr) return;
    Clear(thread_caches[slot]);
    core = pools[slot].load();
    ++users[slot];
    self.returning_to = static_cast<uint8_t>(slot);
  }
  core->ReturnCache(*cache);
  const Lock lock;
  self.returning_to = kCachedPools;
  --users[slot];
}

void EndThread(void*) {
  self.ending = true;
  // A handler that finds no cache must not bind one.
  StdPlatform::SignalFence();
  for (size_t slot = 0; slot < kCachedPools; ++slot) ReturnCache(slot);
  const Lock lock;
  *self.link = self.next;
  if (self.next != nullptr) self.next->link = self.link;
  self.link = nullptr;
}

// A pthread key and not a thread_local object: its destructor runs after those
// of the thread's own objects, which may still release buffers. Holds the key
// plus one, 0 before there is a key: no lock, as a child of fork(2) might find
// it locked.
constinit std::atomic<uint32_t> exit_key{0};

// False if there is no key left, or no memory for handlers of fork.
bool MakeExitKey() {
  static_assert(sizeof(pthread_key_t) == sizeof(uint32_t));
  if (exit_key.load() != 0) return true;
  pthread_key_t key;
  if (pthread_key_create(&key, EndThread) != 0) return false;
  // If two threads come at once, registering twice does no harm.
  if (pthread_atfork([] { self.forking = getpid(); }, [] { self.forking = 0; },
                     [] {
                       if (self.forking != 0) EnterChild();
                     }) != 0) {
    pthread_key_delete(key);
    return false;
  }
  uint32_t none = 0;
  if (!exit_key.compare_exchange_strong(none, key + 1)) pthread_key_delete(key);
  return true;
}

// Makes the calling thread's caches return at its end. False if there is no
// memory for that.
bool AddThread() {
  const pthread_key_t key = exit_key.load() - 1;
  if (pthread_getspecific(key) != nullptr) return true;
  if (pthread_setspecific(key, &self) != 0) return false;
  const Lock lock;
  self.caches = &thread_caches;
  self.next = threads;
  self.link = &threads;
  if (threads != nullptr) threads->link = &self.next;
  threads = &self;
  return true;
}

// The offset from the thread pointer.
ptrdiff_t OffsetOf(const std::atomic<ThreadCache<StdPlatform>*>& cell) {
  return reinterpret_cast<const char*>(&cell) -
         static_cast<const char*>(__builtin_thread_pointer());
}

}  // namespace

std::optional<ThreadSlot> ThreadBinder::AddPool(Core* core,
                                                bool has_fast_path) {
  if (!MakeExitKey()) return std::nullopt;
  size_t slot = 0;
  for (; slot < kCachedPools; ++slot) {
    Core* none = nullptr;
    if (pools[slot].compare_exchange_strong(none, core)) break;
  }
  return ThreadSlot{
      .slot = slot,
      .offset = OffsetOf(thread_caches[has_fast_path ? slot : kCachedPools])};
}

void ThreadBinder::RemovePool(const ThreadSlot& pass) {
  if (pass.slot == kCachedPools) return;
  for (;; sched_yield()) {
    const Lock lock;
    if (self.returning_to == pass.slot) {
      Die("tandem: a waker destroys the pool that called it");
    }
    if (users[pass.slot] != 0) continue;
    for (Thread* thread = threads; thread != nullptr; thread = thread->next) {
      Clear((*thread->caches)[pass.slot]);
      // relaxed: as Clear.
      thread->refused.fetch_and(~BitOf(pass.slot), std::memory_order::relaxed);
    }
    pools[pass.slot].store(nullptr);
    return;
  }
}

ThreadCache<StdPlatform>* ThreadBinder::Bind(const ThreadSlot& pass,
                                             Core& core) {
  if (self.ending || pass.slot == kCachedPools) return nullptr;
  // relaxed: see RemovePool.
  if ((self.refused.load(std::memory_order::relaxed) & BitOf(pass.slot)) != 0) {
    return nullptr;
  }
  // A handler that interrupted the thread's first use goes past the cache.
  if (self.locked || !AddThread()) return nullptr;
  ThreadCache<StdPlatform>* const cache = core.ClaimCache(CallingThread());
  // relaxed, both: see Clear.
  if (cache == nullptr) {
    self.refused.fetch_or(BitOf(pass.slot), std::memory_order::relaxed);
  } else {
    thread_caches[pass.slot].store(cache, std::memory_order::relaxed);
  }
  return cache;
}

}  // namespace tandem
