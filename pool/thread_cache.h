#ifndef TANDEM_POOL_THREAD_CACHE_H_
#define TANDEM_POOL_THREAD_CACHE_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "tandem/pool/counters.h"
#include "tandem/pool/types.h"

namespace tandem {

// Names a living thread; may name another one once that has ended.
enum class ThreadToken : uintptr_t {};
inline constexpr ThreadToken kNoThread{0};

// What one thread did with a pool. Written by that thread alone.
template <class Platform>
struct ThreadCounters {
  OwnedCounter<Platform> takes;      // buffers taken out of the cache
  OwnedCounter<Platform> gives;      // buffers put into the cache
  OwnedCounter<Platform> refills;    // batches fetched from the core pools
  OwnedCounter<Platform> flushes;    // batches returned to them
  OwnedCounter<Platform> bypasses;   // operations that went past the cache
  OwnedCounter<Platform> retreats;   // pushes taken back out under pressure
  OwnedCounter<Platform> steals;     // other caches emptied
  OwnedCounter<Platform> shortages;  // allocations that had to sweep
  OwnedCounter<Platform> failures;   // allocations that found too few
};

// The buffers that one thread keeps for itself, as a small lock-free stack that
// anyone may take from.
//
//   owner    push and pop, one compare-and-swap each on a line of its own,
//            whatever the number of buffers
//   others   Steal, the same way
//
// Protocol. `word_` is {version 54, top 10}; buffers lie in slots_[0, top).
// Who takes copies slots below the top it read and lowers the top by a
// compare-and-swap; who pushes fills slots from the top up and raises the top
// by a compare-and-swap. Every change adds one to the version. Only the owner
// pushes, so slots below the top that somebody read change only after the
// version has: a copy that was overtaken never passes its compare-and-swap.
//
// Pressure. The cache knows nothing of it, but PoolCore's argument that no
// buffer stays idle in a cache while somebody is short rests on TryPush and
// Steal being seq_cst with respect to the ledger: see PoolCore.
//
// Signals (P10). A push is the one operation that a handler on the owner's
// thread must not interleave with its own: between reading the top and filling
// the slot, a handler's push would fill the same slot. PushScope hides the
// cache meanwhile, and the handler's push is refused. A pop needs no such care:
// the compare-and-swap of the one that was interrupted fails.
//
// Threads:   TryPop, TryPush: the owner and its handlers. Steal, size: any.
// Progress:  lock-free.
// Lifetime:  type-stable: records are never unmapped before the pool is gone,
//            and the version goes on when another thread takes one over.
// ABA (P5):  a word repeats only after 2^54 changes of this one cache.
template <class Platform>
class alignas(kCacheLine) ThreadCache {
 public:
  static constexpr uint32_t kMaxSlots = 128;

  ThreadCache()
      : word_(0), owner_(static_cast<uintptr_t>(kNoThread)), hidden_(0) {
    for (auto& slot : slots_) slot.store(0, std::memory_order::relaxed);
  }

  // Takes out.size() buffers, the most recently pushed first; all or none.
  bool TryPop(std::span<BufferIndex> out) {
    return Take(out, static_cast<uint32_t>(out.size())) != 0;
  }

  // Takes up to out.size() buffers, as many as there are; 0 if empty.
  uint32_t Steal(std::span<BufferIndex> out) { return Take(out, 1); }

  // Puts all of `in`, in order, if at most `limit` are cached then and the
  // caller has not interrupted another push; all or none.
  bool TryPush(std::span<const BufferIndex> in, uint32_t limit) {
    // relaxed: written by this very thread.
    if (hidden_.load(std::memory_order::relaxed) != 0) return false;
    const PushScope scope(*this);
    const auto count = static_cast<uint32_t>(in.size());
    // (1) acquire: pairs with (5), so that a thief's copies of the slots that
    // are filled here come before.
    uint64_t word = word_.load(std::memory_order::acquire);
    for (;;) {
      const uint32_t top = TopOf(word);
      if (top + count > limit) return false;
      for (uint32_t i = 0; i < count; ++i) {
        // relaxed: published by (2).
        slots_[top + i].store(static_cast<uint32_t>(in[i]),
                              std::memory_order::relaxed);
      }
      // (2) seq_cst: release pairs with (3), publishing the slots; the total
      // order is what PoolCore's look at the ledger afterwards relies on.
      // Failure, acquire: as (1).
      if (word_.compare_exchange_strong(word, Next(word, top + count),
                                        std::memory_order::seq_cst,
                                        std::memory_order::acquire)) {
        return true;
      }
    }
  }

  // Buffers in the cache at some moment of the call.
  uint32_t size() const {
    // relaxed: a figure for people, nothing is followed.
    return TopOf(word_.load(std::memory_order::relaxed));
  }

  // Ownership of the record, for CacheRegistry: whose it is, kNoThread if
  // nobody's. seq_cst: what the last owner did comes before the next one's.
  bool TryOwn(ThreadToken thread) {
    auto nobody = static_cast<uintptr_t>(kNoThread);
    return owner_.load() == nobody &&
           owner_.compare_exchange_strong(nobody,
                                          static_cast<uintptr_t>(thread));
  }
  void Disown() { owner_.store(static_cast<uintptr_t>(kNoThread)); }
  ThreadToken owner() const { return ThreadToken{owner_.load()}; }

  ThreadCounters<Platform> counters;

 private:
  // Hides the cache from the owner's own signal handlers.
  class PushScope {
   public:
    explicit PushScope(ThreadCache& cache) : cache_(cache) { Set(1); }
    ~PushScope() { Set(0); }
    PushScope(const PushScope&) = delete;
    PushScope& operator=(const PushScope&) = delete;

   private:
    void Set(uint32_t value) {
      // relaxed, between signal fences: read only by this very thread.
      Platform::SignalFence();
      cache_.hidden_.store(value, std::memory_order::relaxed);
      Platform::SignalFence();
    }
    ThreadCache& cache_;
  };

  static constexpr int kTopBits = 10;
  static_assert(kMaxSlots < 1u << kTopBits);

  static constexpr uint32_t TopOf(uint64_t word) {
    return word & ((1u << kTopBits) - 1);
  }
  static constexpr uint64_t Next(uint64_t word, uint32_t top) {
    return ((word >> kTopBits) + 1) << kTopBits | top;
  }

  // Takes as many as there are up to out.size(), but no fewer than `at_least`.
  uint32_t Take(std::span<BufferIndex> out, uint32_t at_least) {
    // (3) acquire: pairs with (2), so that the slots below the top are seen.
    // seq_cst: a sweep's look at the cache must not come before the pressure
    // that the sweep serves (PoolCore).
    uint64_t word = word_.load();
    for (;;) {
      const uint32_t top = TopOf(word);
      if (top < at_least) return 0;
      const uint32_t count = std::min(top, static_cast<uint32_t>(out.size()));
      for (uint32_t i = 0; i < count; ++i) {
        // (4) relaxed: (5) succeeds only if no slot below the top has changed.
        out[i] = BufferIndex{
            slots_[top - 1 - i].load(std::memory_order::relaxed)};
      }
      // (5) seq_cst: release pairs with (1): with acquire alone, the loads (4)
      // may be performed after it, when the owner has filled the slots anew.
      // Failure: as (3).
      if (word_.compare_exchange_strong(word, Next(word, top - count))) {
        return count;
      }
    }
  }

  typename Platform::template OwnAtomic<uint64_t> word_;
  typename Platform::template OwnAtomic<uintptr_t> owner_;
  typename Platform::template OwnAtomic<uint32_t> hidden_;
  std::array<typename Platform::template OwnAtomic<uint32_t>, kMaxSlots> slots_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_THREAD_CACHE_H_
