#ifndef TANDEM_POOL_LOCK_FREE_POOL_H_
#define TANDEM_POOL_LOCK_FREE_POOL_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/buffer_map.h"
#include "tandem/pool/cache/cache_budget.h"
#include "tandem/pool/cache/cache_registry.h"
#include "tandem/pool/cache/slow_path.h"
#include "tandem/pool/cache/sweep.h"
#include "tandem/pool/cache/thread_cache.h"
#include "tandem/pool/depot/central_pool.h"
#include "tandem/pool/depot/depot.h"
#include "tandem/pool/depot/ledger.h"
#include "tandem/pool/depot/waiter_service.h"
#include "tandem/pool/types.h"

namespace tandem {

// The lock-free pool: joins thread caches, depot, ledger and pressure into one
// protocol. It does not touch the buffers' memory, and does not know which
// thread calls; BufferPool adds both.
//
// A buffer is at any moment in one place: the depot, a cache, a user's hands,
// or the hands of an operation in progress. The ledger counts the buffers in
// the depot that no operation has reserved.
//
//   Take   cache ── empty ─▶ refill: reserve a batch, collect it, keep the
//          surplus ── too few ─▶ Shortage: raise pressure, empty every cache,
//          look a last time
//   Give   cache ── full ─▶ flush half ── under pressure ─▶ depot, credit,
//          serve waiting sessions
//
// Exhaustion is exact (P3). An allocation that is about to fail, to wait or to
// dig into the reserve (1) raises the shortage count in the ledger, then (2)
// closes the gate of every cache, then (3) empties it, then (4) looks at the
// ledger a last time. An owner in shared mode (a) pushes, then (b) looks at the
// ledger, and empties its own cache if there is pressure. An owner that goes
// back to bias (c) begins an epoch, then (d) looks at the ledger likewise
// (SlowPath), before it opens the gate. (1), (b) and (d) are on the ledger's
// word; (2), (3), (a) and (c) on the cache's two words; all are seq_cst. So
// either (3) finds what (a) pushed, or (b) sees what (1) raised; and either (2)
// finds the epoch that (c) began, and closes the gate or keeps it from opening,
// or (d) sees what (1) raised. What an owner did through its open gate is seen
// after the barrier that belongs to (2). So at (4) no cache holds a buffer,
// apart from those in the hands of an operation in progress.
//
// A shared pop looks at the ledger first: if a sweep overtakes it, its
// compare-and-swap fails or finds the cache empty. A biased pop is done before
// the barrier or not at all. So no buffer leaves a cache once the last look of
// an allocation has failed, and the margin of a receive is true (S1, S4).
//
// The reserve never enters a cache: only a Shortage reserves below it.
//
// Threads:   any; `cache` is the calling thread's own, or null to go past it.
// Progress:  lock-free (P4): a thread stopped anywhere keeps only what is in
//            its hands: what it asked for and at most one batch (half of a
//            cache, kMaxBatch at most). It may leave pressure on.
// Cost:      a Shortage that gets what it needs from the first caches that hold
//            buffers: a barrier and a visit to those. One that fails: a visit
//            to every cache that ever had an owner, and a barrier for each
//            group of kSweepPiece caches of which some were biased.
// Signals:   a signal handler may call every function, whatever it interrupted.
template <class Platform>
class LockFreePool {
 public:
  using Cache = ThreadCache<Platform>;
  using Registry = CacheRegistry<Platform>;
  using Link = typename CentralPool<Platform>::Link;
  using Box = typename CentralPool<Platform>::Box;

  struct Layout {
    const BufferMap& map;
    std::span<Link> links;                                // one for each buffer
    std::span<Box> magazines;                             // may be empty
    std::span<DepotShard<Platform>> cores;                // at least one
    std::span<Cache> caches;                              // may be empty
    std::span<typename Registry::MaybeFilledBits> hints;  // see CacheRegistry
    uint32_t reserve;  // at most map.capacity()
    CacheRules rules;
    bool biased;  // caches may be biased; the platform can
  };

  // What `layout` names must outlive the pool, and is zero or
  // default-constructed. All buffers are free.
  explicit LockFreePool(const Layout& layout)
      : batch_(std::clamp((layout.rules.most + 1) / 2, 1u, kMostLoot)),
        biased_(layout.biased),
        central_(layout.map, layout.cores, layout.links, layout.magazines,
                 layout.reserve),
        registry_(layout.caches, layout.hints),
        budget_(layout.rules),
        slow_path_(central_, registry_, barriers_, batch_, layout.biased) {}

  // Takes out.size() buffers, at least one, all or none; none only as P3 says.
  [[nodiscard]] bool Take(Cache* cache, std::span<std::byte*> out,
                          AllocationTerms terms) {
    return TakeBiased(cache, out, terms) || TakeSlow(cache, out, terms);
  }

  // Take, but gives up rather than search other threads' caches or dig into the
  // reserve: a Shortage is the next thing to try.
  [[nodiscard]] bool TakeCheaply(Cache* cache, std::span<std::byte*> out,
                                 AllocationTerms terms) {
    return TakeBiased(cache, out, terms) ||
           TakeWithoutSearch(cache, out, terms);
  }

  // Gives back buffers that the caller owns, at least one.
  void Give(Cache* cache, std::span<std::byte* const> in) {
    if (!GiveBiased(cache, in)) GiveSlow(cache, in);
  }

  // Only the fast path of Take and Give: false if the cache's gate is not open,
  // or if the cache holds too few or too many buffers.
  [[gnu::always_inline]] bool TakeBiased(Cache* cache,
                                         std::span<std::byte*> out,
                                         AllocationTerms terms) {
    if (cache == nullptr) return false;
    // The reserve never enters a cache, so taking from a cache always leaves
    // `keep` buffers; a class that keeps more must look at the ledger.
    if (terms.keep > central_.reserve() &&
        central_.ledger().Load().available() < terms.keep) {
      return false;
    }
    return cache->PopBiased(out);
  }
  [[gnu::always_inline]] bool GiveBiased(Cache* cache,
                                         std::span<std::byte* const> in) {
    return cache != nullptr && cache->PushBiased(in);
  }

  // The rest of Take and Give, once the fast path has failed.
  [[nodiscard]] bool TakeSlow(Cache* cache, std::span<std::byte*> out,
                              AllocationTerms terms) {
    return TakeWithoutSearch(cache, out, terms) ||
           TakeAfterDraining(cache, out, terms);
  }
  [[gnu::noinline]] void GiveSlow(Cache* cache,
                                  std::span<std::byte* const> in) {
    if (cache != nullptr) {
      if (slow_path_.PushShared(*cache, in) || MakeRoom(*cache, in)) return;
      cache->counters.bypasses.Add(1);
    }
    central_.Publish(in, SparesOf(cache));
  }

  // Reserves n buffers, bypassing the cache, all or none, for
  // CentralPool::Collect.
  [[nodiscard]] bool Reserve(Cache* cache, uint32_t n, AllocationTerms terms) {
    if (central_.ReserveFree(n, terms)) return true;
    Shortage shortage(*this, cache);
    return shortage.Reserve(n, terms);
  }

  // Declares the caller short of buffers, for as long as this object lives.
  // Once Reserve or Take has failed, caches stay empty until then: what follows
  // under the same shortage (the session layer's wait) relies on it.
  class Shortage {
   public:
    Shortage(LockFreePool& core, Cache* cache) : core_(core), cache_(cache) {
      // Each wait began under a shortage that had emptied every cache, and
      // there has been pressure since: no buffer has stayed in a cache.
      swept_ = core_.central_.ledger().RaiseShortage().waiting() != 0;
      if (cache != nullptr) cache->counters.shortages.Add(1);
    }
    ~Shortage() {
      if (raised_) core_.central_.ledger().LowerShortage();
    }
    Shortage(const Shortage&) = delete;
    Shortage& operator=(const Shortage&) = delete;

    // Reserves n buffers by all means: sweeps until there are enough, and fails
    // only after every cache has been emptied. Once is enough.
    [[nodiscard]] bool Reserve(uint32_t n, AllocationTerms terms) {
      if (!swept_ && Sweep(n, terms)) return true;
      swept_ = true;
      if (core_.central_.ReserveSwept(n, terms)) return true;
      if (cache_ != nullptr) cache_->counters.failures.Add(1);
      return false;
    }

    // Reserve and Collect.
    [[nodiscard]] bool Take(std::span<std::byte*> out, AllocationTerms terms) {
      if (!Reserve(Size(out), terms)) return false;
      core_.central_.Collect(out, SparesOf(cache_));
      return true;
    }

    // Turns the shortage into a wait, with no gap in the pressure, unless
    // `limit` sessions wait already. If true, Ledger::EndWait must end it.
    [[nodiscard]] bool TryBecomeWait(uint32_t limit) {
      raised_ = !core_.central_.ledger().TryBecomeWait(limit);
      return !raised_;
    }

   private:
    // Empties the caches, starting with those that seem to hold buffers, until
    // there are enough. True if n buffers have been reserved.
    bool Sweep(uint32_t n, AllocationTerms terms) {
      std::array<Cache*, kSweepPiece> piece;
      const auto visit = [&](std::span<Cache* const> caches) {
        return SweepPiece<Platform>(
            caches, cache_, core_.batch_, core_.barriers_,
            [&](const Cache& victim, std::span<std::byte* const> loot) {
              core_.central_.Publish(loot, SparesOf(cache_));
              if (cache_ != nullptr && &victim != cache_) {
                cache_->counters.steals.Add(1);
              }
              return core_.central_.ReserveFree(n, terms);
            },
            [&](const Cache& empty) { core_.registry_.HintEmpty(empty); });
      };
      return core_.registry_.VisitHinted(piece, visit) ||
             core_.registry_.VisitAll(piece, visit);
    }

    LockFreePool& core_;
    Cache* const cache_;
    bool raised_ = true;
    bool swept_;  // no cache holds a buffer
  };

  // The cache of `thread`, which calls this: the one it has, or a free one;
  // null if none is free.
  Cache* ClaimCache(ThreadToken thread) {
    Cache* cache = registry_.Find(thread);
    const bool claims = cache == nullptr;
    if (claims) cache = registry_.Attach(thread);
    if (cache == nullptr) return nullptr;
    cache->MakeOnce();
    if (claims) budget_.Start(*cache, Platform::NowNanos());
    if (biased_) cache->Arm();
    return cache;
  }

  // Empties the cache, whose owner calls this, and makes it free.
  void ReturnCache(Cache& cache) {
    const uint32_t limit = budget_.Reclaim(cache);
    slow_path_.Empty(cache, &cache);
    budget_.Return(limit);
    cache.Disarm();
    registry_.Detach(cache);
  }

  // Empties the caches whose owners have not used them for kIdleNanos, and
  // takes away their limits; `own` is the calling thread's cache, or null. True
  // if other caches hold buffers; whether those are idle shows only when this
  // is called again after that time.
  bool EmptyIdleCaches(Cache* own) {
    bool wait = false;
    for (Cache& cache : registry_.InUse()) {
      if (cache.size() != 0 && !EmptyIfIdle(cache, own)) wait = true;
    }
    return wait;
  }

  // A cache that its owner has not used for this long may be emptied by others.
  static constexpr int64_t kIdleNanos = 10'000'000;

  // ReturnCache of the calling thread's cache, if it has one.
  void ReturnCacheOf(ThreadToken thread) {
    Cache* const cache = registry_.Find(thread);
    if (cache != nullptr) ReturnCache(*cache);
  }

  CentralPool<Platform>& central() { return central_; }
  const CentralPool<Platform>& central() const { return central_; }
  std::span<Cache> caches() const { return registry_.InUse(); }
  const CacheBudget<Platform>& budget() const { return budget_; }
  const BarrierCounters<Platform>& barriers() const { return barriers_; }
  bool biased() const { return biased_; }

 private:
  static SpareMagazines<Platform>* SparesOf(Cache* cache) {
    return cache == nullptr ? nullptr : &cache->spares;
  }

  static uint32_t Size(std::span<std::byte* const> buffers) {
    return static_cast<uint32_t>(buffers.size());
  }

  [[gnu::noinline]] bool TakeWithoutSearch(Cache* cache,
                                           std::span<std::byte*> out,
                                           AllocationTerms terms) {
    if (cache != nullptr && slow_path_.PopShared(*cache, out, terms))
      return true;
    if (cache == nullptr || central_.Pressed())
      return TakeFree(cache, out, terms);
    return TakeWithRefill(*cache, out, terms);
  }

  [[gnu::noinline]] bool TakeAfterDraining(Cache* cache,
                                           std::span<std::byte*> out,
                                           AllocationTerms terms) {
    Shortage shortage(*this, cache);
    return shortage.Take(out, terms);
  }

  // Takes what the cache has, and the rest from the free buffers without
  // touching the reserve. For the cache it takes what completes whole batches:
  // flushes left exactly such batches, and one buffer more would cost a visit
  // to another depot shard.
  bool TakeWithRefill(Cache& cache, std::span<std::byte*> out,
                      AllocationTerms terms) {
    budget_.Shrink(cache, registry_.owned());
    Adapt(cache);
    const uint32_t cached = std::min(cache.size(), Size(out) - 1);
    const uint32_t missing = Size(out) - cached;
    const uint32_t reserved = central_.ReserveFree(
        missing, terms, [&](LedgerView view, uint32_t most) {
          if (view.Pressed(central_.reserve())) return 0u;
          const uint32_t batches =
              slow_path_.WholeBatches(missing, slow_path_.BatchOf(cache));
          return std::min(
              {batches - missing, slow_path_.RoomIn(cache) + cached, most});
        });
    if (reserved == 0) return false;
    // Reserved first: if there are too few, the cache stays as it is. Another
    // thread may have emptied the cache since.
    if (cached != 0 && !slow_path_.Pop(cache, out.first(cached), terms) &&
        !TakeFree(&cache, out.first(cached), terms)) {
      central_.CancelReservation(reserved);
      return false;
    }
    if (reserved == missing) {
      central_.Collect(out.last(missing), &cache.spares);
    } else {
      slow_path_.Refill(cache, out.last(missing), reserved - missing);
    }
    return true;
  }

  // Bypasses the caches, without touching the reserve.
  bool TakeFree(Cache* cache, std::span<std::byte*> out,
                AllocationTerms terms) {
    if (!central_.ReserveFree(Size(out), terms)) return false;
    central_.Collect(out, SparesOf(cache));
    return true;
  }

  // Puts `in`, or the part of it that should stay, into the cache, which is
  // full. False if nothing should stay.
  bool MakeRoom(Cache& cache, std::span<std::byte* const> in) {
    if (central_.Pressed()) return false;
    Adapt(cache);
    return (in.size() <= slow_path_.RoomIn(cache) &&
            slow_path_.Push(cache, in)) ||
           slow_path_.PushWithFlush(cache, in);
  }

  // The cache, whose owner calls this, has run empty or full: raise its limit.
  // If the whole budget is given away, check whether one other cache is idle,
  // and take its limit.
  void Adapt(Cache& cache) {
    if (budget_.Grow(cache, registry_.owned())) return;
    const std::span<Cache> all = registry_.InUse();
    Cache& other = all[cache.NextVisit() % all.size()];
    if (&other == &cache || other.limit() == 0) return;
    if (EmptyIfIdle(other, &cache)) cache.counters.reclaims.Add(1);
  }

  // Takes away the cache's limit and its buffers, if its owner has not used it
  // for long. True if so.
  bool EmptyIfIdle(Cache& cache, Cache* own) {
    if (!cache.IsIdle(Platform::NowNanos(), kIdleNanos)) return false;
    const uint32_t limit = budget_.Reclaim(cache);
    slow_path_.Empty(cache, own);
    budget_.Return(limit);
    return true;
  }

  const uint32_t batch_;
  const bool biased_;
  BarrierCounters<Platform> barriers_;
  CentralPool<Platform> central_;
  Registry registry_;
  CacheBudget<Platform> budget_;
  SlowPath<Platform> slow_path_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_LOCK_FREE_POOL_H_
