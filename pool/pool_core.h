#ifndef TANDEM_POOL_POOL_CORE_H_
#define TANDEM_POOL_POOL_CORE_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/cache_registry.h"
#include "tandem/pool/core_pools.h"
#include "tandem/pool/ledger.h"
#include "tandem/pool/thread_cache.h"
#include "tandem/pool/types.h"
#include "tandem/pool/waitlist.h"

namespace tandem {

// What an allocation may take.
struct Claim {
  uint32_t keep;  // buffers that must remain after it
  Rank rank;      // its turn among those who wait
};

// The lock-free pool over buffer numbers: thread caches, core pools, ledger and
// pressure joined to one protocol. It knows nothing of memory, nor of which
// thread calls; BufferPool adds both.
//
// A buffer is at any moment in one place: a core pool, a cache, a user's hands,
// or the hands of an operation in progress. The ledger counts those in core
// pools that nobody has reserved.
//
//   Take   cache ── empty ─▶ refill: reserve a batch, collect it, keep the
//          surplus ── too few ─▶ Shortage: raise pressure, empty every cache,
//          look a last time
//   Give   cache ── full ─▶ flush half ── under pressure ─▶ core pool, credit,
//          serve who waits
//
// Exhaustion is exact (P3). Who is about to fail, to wait or to dig into the
// reserve (1) raises the shortage count in the ledger, then (2) empties every
// cache, then (3) looks at the ledger a last time. Who pushes into a cache
// (a) pushes, then (b) looks at the ledger, and empties its own cache if there
// is pressure. (1) and (b) are on the ledger's word, (2) and (a) on the cache's,
// all seq_cst: either (2) finds what (a) pushed, or (b) sees what (1) raised.
// So at (3) no cache holds a buffer but for the hands of a push in progress.
// A pop looks at the ledger before: overtaken by a sweep, its compare-and-swap
// fails or finds the cache empty, so no buffer leaves a cache once somebody's
// last look has failed, and the margin of a receive is true (S1, S4).
//
// The reserve never enters a cache: only a Shortage reserves below it.
//
// Threads:   any; `cache` is the calling thread's own, or null to go past it.
// Progress:  lock-free (P4): a thread stopped anywhere keeps only what is in
//            its hands, at most one batch, and may leave pressure on.
// Signals:   every function may be called by a handler that interrupted any.
template <class Platform>
class PoolCore {
 public:
  using Cache = ThreadCache<Platform>;
  using Link = typename CorePools<Platform>::Link;

  struct Layout {
    std::span<Link> links;                 // one for each buffer
    std::span<CorePool<Platform>> cores;   // at least one
    std::span<Cache> caches;               // may be empty
    uint32_t reserve;                      // at most links.size()
    uint32_t cache_limit;                  // per thread, up to kMaxSlots
  };

  // The storage that `layout` names must outlive the pool. All buffers are free
  // and cold.
  explicit PoolCore(const Layout& layout)
      : reserve_(layout.reserve),
        cache_limit_(layout.cache_limit),
        batch_((layout.cache_limit + 1) / 2),
        core_pools_(layout.cores, layout.links),
        registry_(layout.caches) {
    const auto capacity = static_cast<uint32_t>(layout.links.size());
    for (uint32_t i = capacity; i-- > 0;) {
      const BufferIndex buffer{i};
      core_pools_.PushCold({&buffer, 1});
    }
    ledger_.Credit(capacity);
  }

  // Whom to ask about waiters, null for nobody. Not while operations run.
  void SetWaitlist(Waitlist* waitlist) { waitlist_ = waitlist; }

  // Takes out.size() buffers, at least one, all or none; none only as P3 says.
  bool Take(Cache* cache, std::span<BufferIndex> out, Claim claim) {
    return TakeCheaply(cache, out, claim) || TakeByAllMeans(cache, out, claim);
  }

  // Take, but gives up where it would have to search other threads' caches or
  // dig into the reserve: a Shortage is the next thing to try.
  bool TakeCheaply(Cache* cache, std::span<BufferIndex> out, Claim claim) {
    const LedgerView view = ledger_.Load();
    if (cache != nullptr && !view.Pressed(reserve_) &&
        view.available() >= claim.keep && cache->TryPop(out)) [[likely]] {
      cache->counters.takes.Add(out.size());
      return true;
    }
    return TakeFree(cache, out, claim);
  }

  // Reserves n buffers past the cache, all or none, for Collect to fetch in as
  // many pieces as the caller likes.
  bool Reserve(Cache* cache, uint32_t n, Claim claim) {
    if (ReserveFree(cache, n, claim)) return true;
    Shortage shortage(*this, cache);
    return shortage.Reserve(n, claim);
  }
  void Collect(std::span<BufferIndex> out) {
    core_pools_.Collect(core_pools_.CurrentCore(), out);
  }

  // Gives back buffers that the caller owns, at least one.
  void Give(Cache* cache, std::span<const BufferIndex> in) {
    if (cache != nullptr && !ledger_.Load().Pressed(reserve_)) [[likely]] {
      if (cache->TryPush(in, cache_limit_) || FlushThenPush(*cache, in)) {
        cache->counters.gives.Add(in.size());
        if (ledger_.Load().Pressed(reserve_)) [[unlikely]] Retreat(*cache);
        return;
      }
    }
    if (cache != nullptr) cache->counters.bypasses.Add(1);
    Publish(in);
  }

  // Past every cache: onto the caller's core pool, counted, and on to who
  // waits. Requires a non-empty span.
  [[gnu::noinline]] void Publish(std::span<const BufferIndex> buffers) {
    core_pools_.Push(core_pools_.CurrentCore(), buffers);
    const LedgerView view = ledger_.Credit(Size(buffers));
    if (view.waiting() != 0) waitlist_->Serve();
  }

  // A claim to be short of buffers, for as long as it lives: caches stay empty
  // once Take has swept them. What follows Take under the same shortage (the
  // session layer's wait) relies on that.
  class Shortage {
   public:
    Shortage(PoolCore& core, Cache* cache) : core_(core), cache_(cache) {
      core_.ledger_.RaiseShortage();
      if (cache != nullptr) cache->counters.shortages.Add(1);
    }
    ~Shortage() {
      if (raised_) core_.ledger_.LowerShortage();
    }
    Shortage(const Shortage&) = delete;
    Shortage& operator=(const Shortage&) = delete;

    // Reserves n buffers by all means: sweeps until it can be met, and fails
    // only after every cache has been emptied.
    bool Reserve(uint32_t n, Claim claim) {
      for (Cache& victim : core_.registry_.InUse()) {
        if (!core_.Empty(victim)) continue;
        if (cache_ != nullptr && &victim != cache_) {
          cache_->counters.steals.Add(1);
        }
        if (core_.ReserveFree(nullptr, n, claim)) return true;
      }
      const bool reserved = core_.ReserveSwept(n, claim);
      if (!reserved && cache_ != nullptr) cache_->counters.failures.Add(1);
      return reserved;
    }

    // Reserve and Collect.
    bool Take(std::span<BufferIndex> out, Claim claim) {
      if (!Reserve(Size(out), claim)) return false;
      core_.Collect(out);
      return true;
    }

    // Turns the shortage into a wait, with no gap in the pressure, unless
    // `limit` sessions wait already. True if so: then EndWait ends it.
    bool TryBecomeWait(uint32_t limit) {
      raised_ = !core_.ledger_.TryBecomeWaiter(limit);
      return !raised_;
    }

   private:
    PoolCore& core_;
    Cache* const cache_;
    bool raised_ = true;
  };

  // Takes out.size() buffers for who waits already: all caches are empty.
  bool TakeForWaiter(std::span<BufferIndex> out, uint32_t keep) {
    LedgerView view = ledger_.Load();
    do {
      if (view.available() < Size(out) + keep) return false;
    } while (!ledger_.TryReserve(view, Size(out)));
    Collect(out);
    return true;
  }

  // One wait that TryBecomeWait began is over: served or cancelled.
  void EndWait() { ledger_.DropWaiter(); }

  // Takes up to out.size() idle buffers whose memory may be in use, none that
  // anyone needs now: for giving memory back. PublishCold returns them.
  size_t TakeWarm(std::span<BufferIndex> out) {
    LedgerView view = ledger_.Load();
    uint32_t count;
    do {
      if (view.Pressed(reserve_)) return 0;
      count = std::min(Size(out), view.available() - reserve_);
      if (count == 0) return 0;
    } while (!ledger_.TryReserve(view, count));
    const size_t warm =
        core_pools_.PopWarm(core_pools_.CurrentCore(), out.first(count));
    if (warm < count) CreditAndServe(count - static_cast<uint32_t>(warm));
    return warm;
  }
  void PublishCold(std::span<const BufferIndex> buffers) {
    core_pools_.PushCold(buffers);
    CreditAndServe(Size(buffers));
  }

  // Moves the buffer that has lain longest in the caller's own cache to its top.
  void RaiseOldest(Cache& cache) {
    std::array<BufferIndex, Cache::kMaxSlots> buffers;
    const uint32_t count = cache.Steal(buffers);  // newest first
    if (count == 0) return;
    std::reverse(buffers.begin(), buffers.begin() + count - 1);
    Give(&cache, {buffers.data(), count});
  }

  // Publishes what a cache holds, anybody's. True if there was anything.
  bool Empty(Cache& cache) {
    std::array<BufferIndex, Cache::kMaxSlots> buffers;
    const uint32_t count = cache.Steal(buffers);
    if (count == 0) return false;
    Publish({buffers.data(), count});
    return true;
  }

  // The cache of `thread`, its first if it has none yet, null if all are owned;
  // and back again, from its owner or once its owner is gone.
  Cache* ClaimCache(ThreadToken thread) {
    Cache* const cache = registry_.Find(thread);
    return cache != nullptr ? cache : registry_.Claim(thread);
  }
  void ReturnCache(Cache& cache) {
    Empty(cache);
    cache.Disown();
  }
  void ReturnCachesOf(ThreadToken thread) {
    Cache* const cache = registry_.Find(thread);
    if (cache != nullptr) ReturnCache(*cache);
  }

  // See CorePools.
  void Chain(BufferIndex first, BufferIndex second) {
    core_pools_.Chain(first, second);
  }
  BufferIndex ChainedTo(BufferIndex first) const {
    return core_pools_.ChainedTo(first);
  }

  LedgerView ledger() const { return ledger_.Load(); }
  std::span<Cache> caches() const { return registry_.InUse(); }
  const CorePools<Platform>& core_pools() const { return core_pools_; }
  uint32_t reserve() const { return reserve_; }
  uint32_t cache_limit() const { return cache_limit_; }

 private:
  static uint32_t Size(std::span<const BufferIndex> buffers) {
    return static_cast<uint32_t>(buffers.size());
  }

  [[gnu::noinline]] bool TakeFree(Cache* cache, std::span<BufferIndex> out,
                                  Claim claim) {
    if (!ReserveFree(cache, Size(out), claim)) return false;
    Collect(out);
    return true;
  }

  [[gnu::noinline]] bool TakeByAllMeans(Cache* cache,
                                        std::span<BufferIndex> out,
                                        Claim claim) {
    Shortage shortage(*this, cache);
    return shortage.Take(out, claim);
  }

  // Reserves n buffers that are free without touching the reserve, and if there
  // is no pressure fetches a batch for the cache with them.
  bool ReserveFree(Cache* cache, uint32_t n, Claim claim) {
    const uint32_t keep = std::max(claim.keep, reserve_);
    LedgerView view = ledger_.Load();
    uint32_t surplus;
    do {
      if (view.available() < n + keep) return false;
      if (view.waiting() != 0 && waitlist_->MustWait(claim.rank)) return false;
      surplus = cache == nullptr || view.Pressed(reserve_)
                    ? 0
                    : std::min({batch_, cache_limit_ - cache->size(),
                                view.available() - n - keep});
    } while (!ledger_.TryReserve(view, n + surplus));
    if (surplus != 0) Refill(*cache, surplus);
    if (view.waiting() != 0) waitlist_->Overtook(claim.rank);
    return true;
  }

  // The last look, when every cache is empty: may dig into the reserve.
  bool ReserveSwept(uint32_t n, Claim claim) {
    bool served = false;
    LedgerView view = ledger_.Load();
    for (;;) {
      if (view.waiting() != 0 && waitlist_->MustWait(claim.rank)) {
        // What is left may be owed to somebody whom nobody is serving: a
        // releaser may have stopped between its credit and its call.
        if (served) return false;
        served = true;
        waitlist_->Serve();
        view = ledger_.Load();
        continue;
      }
      if (view.available() < n + claim.keep) return false;
      if (ledger_.TryReserve(view, n)) break;
    }
    if (view.waiting() != 0) waitlist_->Overtook(claim.rank);
    return true;
  }

  // Collects `count` reserved buffers, at most one batch, into the cache.
  void Refill(Cache& cache, uint32_t count) {
    std::array<BufferIndex, Cache::kMaxSlots> storage;
    const std::span<BufferIndex> batch(storage.data(), count);
    Collect(batch);
    cache.counters.refills.Add(1);
    if (!cache.TryPush(batch, cache_limit_)) {
      Publish(batch);  // A handler filled the cache, or this one is in a push.
    } else if (ledger_.Load().Pressed(reserve_)) {
      Retreat(cache);
    }
  }

  // Somebody came to be short of buffers while the caller pushed.
  [[gnu::noinline]] void Retreat(Cache& cache) {
    cache.counters.retreats.Add(1);
    Empty(cache);
  }

  // Makes room in a full cache for `in`. False if it can't take as many.
  [[gnu::noinline]] bool FlushThenPush(Cache& cache, std::span<const BufferIndex> in) {
    if (in.size() > batch_) return false;
    std::array<BufferIndex, Cache::kMaxSlots> storage;
    const uint32_t count = cache.Steal({storage.data(), batch_});
    if (count != 0) {
      cache.counters.flushes.Add(1);
      Publish({storage.data(), count});
    }
    return cache.TryPush(in, cache_limit_);
  }

  void CreditAndServe(uint32_t count) {
    if (ledger_.Credit(count).waiting() != 0) waitlist_->Serve();
  }

  const uint32_t reserve_;
  const uint32_t cache_limit_;
  const uint32_t batch_;
  Waitlist* waitlist_ = nullptr;
  Ledger<Platform> ledger_;
  CorePools<Platform> core_pools_;
  CacheRegistry<Platform> registry_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_POOL_CORE_H_
