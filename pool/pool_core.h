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
#include "tandem/pool/section.h"
#include "tandem/pool/sweep.h"
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
// reserve (1) raises the shortage count in the ledger, then (2) takes the bias
// of every cache, then (3) empties it, then (4) looks at the ledger a last
// time. An owner without bias (a) pushes, then (b) looks at the ledger, and
// empties its own cache if there is pressure; one that goes back to bias (c)
// begins an epoch, then (d) looks, likewise. (1), (b) and (d) are on the
// ledger's word; (2), (3), (a) and (c) on the cache's; all are seq_cst: either
// (3) finds what (a) pushed, or (b) sees what (1) raised; either (2) seizes the
// epoch that (c) began, or (d) sees what (1) raised. What a biased owner did is
// seen after the barrier that belongs to (2). So at (4) no cache holds a buffer
// but for the hands of an operation in progress.
//
// A shared pop looks at the ledger before: overtaken by a sweep, its
// compare-and-swap fails or finds the cache empty; and a biased pop is done
// before the barrier or not at all. So no buffer leaves a cache once somebody's
// last look has failed, and the margin of a receive is true (S1, S4).
//
// The reserve never enters a cache: only a Shortage reserves below it.
//
// Threads:   any; `cache` is the calling thread's own, or null to go past it.
// Progress:  lock-free (P4): a thread stopped anywhere keeps only what is in
//            its hands, what it asked for and at most one batch (half of a
//            cache), and may leave pressure on.
// Signals:   every function may be called by a handler that interrupted any.
template <class Platform>
class PoolCore {
 public:
  using Cache = ThreadCache<Platform>;
  using Link = typename CorePools<Platform>::Link;

  struct Layout {
    std::span<Link> links;                // one for each buffer
    std::span<CorePool<Platform>> cores;  // at least one
    std::span<Cache> caches;              // may be empty
    uint32_t reserve;                     // at most links.size()
    uint32_t cache_limit;                 // per thread, up to kMaxCacheSize
    bool biased;                          // caches may be; the platform can
  };

  // The storage that `layout` names must outlive the pool. All buffers are free
  // and cold.
  explicit PoolCore(const Layout& layout)
      : reserve_(layout.reserve),
        cache_limit_(layout.cache_limit),
        batch_(std::max((layout.cache_limit + 1) / 2, 1u)),
        biased_(layout.biased),
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
  bool HasWaitlist() const { return waitlist_ != nullptr; }

  // Takes out.size() buffers, at least one, all or none; none only as P3 says.
  [[nodiscard]] bool Take(Cache* cache, std::span<BufferIndex> out,
                          Claim claim) {
    return TakeCheaply(cache, out, claim) || TakeByAllMeans(cache, out, claim);
  }

  // Take, but gives up where it would have to search other threads' caches or
  // dig into the reserve: a Shortage is the next thing to try.
  [[nodiscard]] bool TakeCheaply(Cache* cache, std::span<BufferIndex> out,
                                 Claim claim) {
    return TakeBiased(cache, out, claim) || TakeUnbiased(cache, out, claim);
  }

  // The fast path of Take and Give alone: false if the cache is not biased, or
  // holds too few or too many.
  [[gnu::always_inline]] bool TakeBiased(Cache* cache,
                                         std::span<BufferIndex> out,
                                         Claim claim) {
    // The reserve never enters a cache, so `keep` remains whatever is taken
    // from one; a class that keeps more must look at the ledger.
    if (cache != nullptr && claim.keep <= reserve_ &&
        cache->PopBiased(out) == SectionResult::kDone) [[likely]] {
      cache->counters.takes.Add(out.size());
      return true;
    }
    return false;
  }
  [[gnu::always_inline]] bool GiveBiased(Cache* cache,
                                         std::span<const BufferIndex> in) {
    if (cache != nullptr && cache->PushBiased(in, cache_limit_) ==
                                SectionResult::kDone) [[likely]] {
      cache->counters.gives.Add(in.size());
      return true;
    }
    return false;
  }

  // Gives back buffers that the caller owns, at least one.
  void Give(Cache* cache, std::span<const BufferIndex> in) {
    if (!GiveBiased(cache, in)) GiveUnbiased(cache, in);
  }

  // Reserves n buffers past the cache, all or none, for Collect to fetch in as
  // many pieces as the caller likes.
  [[nodiscard]] bool Reserve(Cache* cache, uint32_t n, Claim claim) {
    if (ReserveFree(cache, n, claim)) return true;
    Shortage shortage(*this, cache);
    return shortage.Reserve(n, claim);
  }
  void Collect(std::span<BufferIndex> out) {
    core_pools_.Collect(core_pools_.CurrentCore(), out);
  }

  // Past every cache: onto the caller's core pool, counted, and on to who
  // waits. Requires a non-empty span.
  [[gnu::noinline]] void Publish(std::span<const BufferIndex> buffers) {
    core_pools_.Push(core_pools_.CurrentCore(), buffers);
    CreditAndServe(Size(buffers));
  }

  // Says that the caller is short of buffers, for as long as this lives. Once
  // Reserve or Take has failed, caches stay empty until then: what follows
  // under the same shortage (the session layer's wait) relies on it.
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
    [[nodiscard]] bool Reserve(uint32_t n, Claim claim) {
      const bool early = SweepCaches<Platform>(
          core_.registry_.InUse(), cache_, core_.batch_, core_.barriers_,
          [&](Cache& victim, std::span<const BufferIndex> loot) {
            core_.Publish(loot);
            if (cache_ != nullptr && &victim != cache_) {
              cache_->counters.steals.Add(1);
            }
            return core_.ReserveFree(nullptr, n, claim);
          });
      if (early || core_.ReserveSwept(n, claim)) return true;
      if (cache_ != nullptr) cache_->counters.failures.Add(1);
      return false;
    }

    // Reserve and Collect.
    [[nodiscard]] bool Take(std::span<BufferIndex> out, Claim claim) {
      if (!Reserve(Size(out), claim)) return false;
      core_.Collect(out);
      return true;
    }

    // Turns the shortage into a wait, with no gap in the pressure, unless
    // `limit` sessions wait already. True if so: then EndWait ends it.
    [[nodiscard]] bool TryBecomeWait(uint32_t limit) {
      raised_ = !core_.ledger_.TryBecomeWait(limit);
      return !raised_;
    }

   private:
    PoolCore& core_;
    Cache* const cache_;
    bool raised_ = true;
  };

  // Takes out.size() buffers for who waits already: all caches are empty.
  [[nodiscard]] bool TakeForWaiter(std::span<BufferIndex> out, uint32_t keep) {
    LedgerView view = ledger_.Load();
    do {
      if (view.available() < Size(out) + keep) return false;
    } while (!ledger_.TryReserve(view, Size(out)));
    Collect(out);
    return true;
  }

  // One wait that TryBecomeWait began is over: served or cancelled.
  void EndWait() { ledger_.EndWait(); }

  // Takes up to out.size() idle buffers whose memory may be in use, none that
  // anyone needs now: for giving memory back. PublishCold returns them.
  [[nodiscard]] size_t TakeWarm(std::span<BufferIndex> out) {
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

  // The cache of `thread`, which calls this: the one it has, or a free one;
  // null if none is free.
  Cache* ClaimCache(ThreadToken thread) {
    Cache* cache = registry_.Find(thread);
    if (cache == nullptr) cache = registry_.Claim(thread);
    if (cache != nullptr && biased_) cache->Arm();
    return cache;
  }

  // Empties the cache, whose owner calls this, and makes it free.
  void ReturnCache(Cache& cache) {
    EmptyOwn(cache);
    cache.Disarm();
    cache.Disown();
  }

  // ReturnCache of the calling thread's cache, if it has one.
  void ReturnCacheOf(ThreadToken thread) {
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
  const BarrierCounters<Platform>& barriers() const { return barriers_; }
  uint32_t reserve() const { return reserve_; }
  uint32_t cache_limit() const { return cache_limit_; }
  bool biased() const { return biased_; }

 private:
  static uint32_t Size(std::span<const BufferIndex> buffers) {
    return static_cast<uint32_t>(buffers.size());
  }

  [[gnu::noinline]] bool TakeUnbiased(Cache* cache, std::span<BufferIndex> out,
                                      Claim claim) {
    if (cache != nullptr && PopOwn(*cache, out, claim)) {
      cache->counters.takes.Add(out.size());
      return true;
    }
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

  [[gnu::noinline]] void GiveUnbiased(Cache* cache,
                                      std::span<const BufferIndex> in) {
    if (cache != nullptr) {
      if (PushOwn(*cache, in) || FlushThenPush(*cache, in)) {
        cache->counters.gives.Add(in.size());
        return;
      }
      cache->counters.bypasses.Add(1);
    }
    Publish(in);
  }

  // Takes from the caller's own cache, biased or not. False if it holds too
  // few, or if there is pressure.
  bool PopOwn(Cache& cache, std::span<BufferIndex> out, Claim claim) {
    for (;;) {
      // A class that keeps more than the reserve must look, bias or not.
      if (ledger_.Load().available() < claim.keep) return false;
      const SectionResult biased = cache.PopBiased(out);
      if (biased != SectionResult::kRevoked) {
        return biased == SectionResult::kDone;
      }
      OnShared(cache);
      if (ledger_.Load().Pressed(reserve_)) return false;
      const SharedResult shared = cache.PopShared(out);
      if (shared == SharedResult::kUnfit) return false;
      if (shared == SharedResult::kDone) {
        AfterQuietOperation(cache);
        return true;
      }
    }
  }

  // Puts into the caller's own cache, biased or not. False if it has no room,
  // or if there is pressure.
  bool PushOwn(Cache& cache, std::span<const BufferIndex> in) {
    for (;;) {
      const SectionResult biased = cache.PushBiased(in, cache_limit_);
      if (biased != SectionResult::kRevoked) {
        return biased == SectionResult::kDone;
      }
      OnShared(cache);
      if (ledger_.Load().Pressed(reserve_)) return false;
      const SharedResult shared = cache.PushShared(in, cache_limit_);
      if (shared == SharedResult::kUnfit) return false;
      if (shared == SharedResult::kDone) {
        if (ledger_.Load().Pressed(reserve_)) {
          Retreat(cache);
        } else {
          AfterQuietOperation(cache);
        }
        return true;
      }
    }
  }

  void OnShared(Cache& cache) {
    if (cache.policy.OnShared(cache.operations())) {
      cache.counters.revocations.Add(1);
    }
  }

  // The caller's own cache has been used in shared mode, without pressure.
  void AfterQuietOperation(Cache& cache) {
    if (!biased_ || !cache.policy.OnQuietOperation()) return;
    bool pressed = false;
    const bool biased = cache.BeginBias(
        [&] { return pressed = ledger_.Load().Pressed(reserve_); });
    if (biased) {
      cache.policy.OnBias(cache.operations());
      cache.counters.biases.Add(1);
    } else if (pressed) {
      Retreat(cache);
    }
  }

  // Somebody came to be short of buffers while the caller used its own cache.
  [[gnu::noinline]] void Retreat(Cache& cache) {
    cache.counters.retreats.Add(1);
    EmptyOwn(cache);
  }

  void EmptyOwn(Cache& cache) {
    SweepCaches<Platform>({&cache, 1}, &cache, batch_, barriers_,
                          [&](Cache&, std::span<const BufferIndex> buffers) {
                            Publish(buffers);
                            return false;
                          });
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
    std::array<BufferIndex, kMaxCacheSize> storage;
    const std::span<BufferIndex> batch(storage.data(), count);
    Collect(batch);
    cache.counters.refills.Add(1);
    // No room: a handler filled the cache, or found it hidden; or pressure.
    if (!PushOwn(cache, batch)) Publish(batch);
  }

  // Makes room in a full cache for `in`. False if it can't take as many.
  bool FlushThenPush(Cache& cache, std::span<const BufferIndex> in) {
    if (in.size() > batch_) return false;
    std::array<BufferIndex, kMaxCacheSize> storage;
    const uint32_t count = cache.PopUpTo({storage.data(), batch_});
    if (count == 0) return false;
    cache.counters.flushes.Add(1);
    Publish({storage.data(), count});
    return PushOwn(cache, in);
  }

  void CreditAndServe(uint32_t count) {
    if (ledger_.Credit(count).waiting() != 0) waitlist_->Serve();
  }

  const uint32_t reserve_;
  const uint32_t cache_limit_;
  const uint32_t batch_;
  const bool biased_;
  Waitlist* waitlist_ = nullptr;
  Ledger<Platform> ledger_;
  CorePools<Platform> core_pools_;
  CacheRegistry<Platform> registry_;
  BarrierCounters<Platform> barriers_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_POOL_CORE_H_
