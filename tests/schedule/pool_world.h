#ifndef TANDEM_TESTS_SCHEDULE_POOL_WORLD_H_
#define TANDEM_TESTS_SCHEDULE_POOL_WORLD_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/buffer_map.h"
#include "tandem/pool/cache/bias_policy.h"
#include "tandem/pool/lock_free_pool.h"
#include "tandem/pool/types.h"
#include "tandem/tests/schedule/explore.h"
#include "tandem/tests/schedule/relacy_platform.h"

namespace tandem {

// How many buffers may be out of reach at each moment: in users' hands, or in
// the hands of an operation in progress. This tells whether an allocation has
// failed without need (P3).
class Reach {
 public:
  // `hands`: the most that the operation about to start may hold beside `held`.
  void Start(size_t held, size_t hands) {
    Mine() = {held + hands, 0, true};
    Renew();
  }
  // Returns the most buffers that were out of the calling thread's reach since
  // Start, without those that this thread itself may have held.
  size_t Finish(size_t held) {
    const size_t most = Mine().most_of_others;
    Mine() = {held, 0, false};
    return most;
  }

 private:
  struct Hands {
    size_t claimed = 0;
    size_t most_of_others = 0;
    bool active = false;
  };

  Hands& Mine() { return hands_[rl::thread_index()]; }
  void Renew() {
    size_t sum = 0;
    for (const Hands& hands : hands_) sum += hands.claimed;
    for (Hands& hands : hands_) {
      if (!hands.active) continue;
      hands.most_of_others =
          std::max(hands.most_of_others, sum - hands.claimed);
    }
  }

  std::array<Hands, kMaxFibres> hands_;
};

// How often caches went back to bias, in all schedules so far. A test of biased
// caches whose caches are never biased would prove nothing.
inline uint64_t biases_seen = 0;
// How often a thread took an idle cache's limit, likewise.
inline uint64_t reclaims_seen = 0;
// How often a refill brought more than was asked for, likewise.
inline uint64_t refills_seen = 0;

struct PoolShape {
  uint32_t capacity;
  uint32_t caches;
  uint32_t reserve;
  uint32_t cache_limit;
  bool biased = false;
  // Caches grow as they need, up to cache_limit for each and for all together.
  bool adaptive = false;
  uint32_t cores = 2;
};

// A pool, the holders of its buffers, and what must be true of it.
template <PoolShape kShape>
class PoolWorld {
 public:
  using Core = LockFreePool<RelacyPlatform>;
  using Cache = Core::Cache;

 private:
  const BufferMap map_ = PretendedMap(kShape.capacity);
  std::array<typename Core::Link, kShape.capacity> links_;
  std::array<typename Core::Box,
             Depot<RelacyPlatform>::MagazinesFor(kShape.capacity)>
      magazines_;
  std::array<DepotShard<RelacyPlatform>, kShape.cores> cores_;
  std::array<Cache, kShape.caches> caches_;

 public:
  // The most that an operation in progress may have in its hands, beside what
  // it was asked for.
  static constexpr uint32_t kBatch = std::max((kShape.cache_limit + 1) / 2, 1u);

  static constexpr AllocationTerms kReceive{kShape.reserve, ClassId{2}};
  static constexpr AllocationTerms kPair{0, ClassId{1}};

  PoolWorld()
      : core({.map = map_,
              .links = links_,
              .magazines = magazines_,
              .cores = cores_,
              .caches = caches_,
              .hints = {},
              .reserve = kShape.reserve,
              .rules = {.most = kShape.cache_limit,
                        .total = kShape.cache_limit,
                        .adaptive = kShape.adaptive},
              .biased = kShape.biased}) {}

  // Gives every cache to the thread of its number, or one to this thread.
  void ClaimCaches() {
    for (uint32_t i = 0; i < kShape.caches; ++i) {
      owned_[i] = core.ClaimCache(ThreadToken{i + 1});
    }
  }
  void ClaimCache() {
    const ThreadToken token{rl::thread_index() + 1u};
    owned_[rl::thread_index()] = core.ClaimCache(token);
    Require(cache() == nullptr || core.ClaimCache(token) == cache(),
            "a thread keeps its cache");
  }
  void ReturnCache() {
    owned_[rl::thread_index()] = nullptr;
    reach_.Start(HeldHere(), kBatch);
    core.ReturnCacheOf(ThreadToken{rl::thread_index() + 1u});
    reach_.Finish(HeldHere());
  }

  // The calling thread's cache.
  Cache* cache() { return owned_[rl::thread_index()]; }
  Cache& CacheOf(unsigned thread) { return caches_[thread]; }

  // Makes the cache go back to bias at its owner's next quiet operation. The
  // policy's real patience is too long to explore.
  static void Hurry(Cache* cache) {
    if (!kShape.biased || cache == nullptr) return;
    BiasPolicy one_ahead = cache->policy;
    while (!one_ahead.OnQuietOperation()) cache->policy.OnQuietOperation();
  }
  void HurryNowAndThen(Cache* cache) {
    if (kShape.biased && rl::rand(2) == 0) Hurry(cache);
  }

  // LockFreePool's operations, checked.
  bool Take(std::span<std::byte*> out, AllocationTerms terms) {
    return Take(cache(), out, terms);
  }
  bool Take(Cache* cache, std::span<std::byte*> out, AllocationTerms terms) {
    HurryNowAndThen(cache);
    reach_.Start(HeldHere(), out.size() + kBatch);
    const bool taken = core.Take(cache, out, terms);
    if (taken) custody.Take(out);
    FinishTake(taken, out.size(), terms);
    return taken;
  }
  bool TakeUnder(typename Core::Shortage& shortage, std::span<std::byte*> out,
                 AllocationTerms terms) {
    reach_.Start(HeldHere(), out.size() + kBatch);
    const bool taken = shortage.Take(out, terms);
    if (taken) custody.Take(out);
    FinishTake(taken, out.size(), terms);
    return taken;
  }
  void Give(std::span<std::byte* const> buffers) { Give(cache(), buffers); }
  void Give(Cache* cache, std::span<std::byte* const> buffers) {
    HurryNowAndThen(cache);
    reach_.Start(HeldHere(), kBatch);
    custody.Give(buffers);
    core.Give(cache, buffers);
    reach_.Finish(HeldHere());
  }
  void Trim(std::span<std::byte*> storage) {
    reach_.Start(HeldHere(), storage.size());
    const auto warm = storage.first(core.central().TakeWarm(storage));
    custody.Take(warm);
    if (!warm.empty()) {
      custody.Give(warm);
      core.central().PublishCold(warm);
    }
    reach_.Finish(HeldHere());
  }

  // At rest: every buffer is in one place, and the ledger is correct.
  void RequireWhole() {
    uint32_t limits = 0;
    for (const Cache& cache : caches_) {
      biases_seen += cache.counters.biases.Get();
      reclaims_seen += cache.counters.reclaims.Get();
      refills_seen += cache.counters.refills.Get();
      limits += cache.limit();
      Require(cache.size() <= kShape.cache_limit, "caches keep to their limit");
      Require(!cache.biased() || cache.gate().ceiling() == cache.limit(),
              "and so does what the gate lets in");
    }
    if (kShape.adaptive) {
      Require(limits == core.budget().granted(),
              "every limit is accounted for");
      Require(limits <= kShape.cache_limit, "and all are within the budget");
    }
    Require(core.central().ledger().Load().available() + Cached() +
                    custody.held() ==
                kShape.capacity,
            "the ledger counts what is in no cache and nobody's hands");
    for (Cache& cache : caches_) core.ReturnCache(cache);
    uint32_t left = core.central().ledger().Load().available();
    std::byte* buffer;
    for (; core.central().TakeForWaiter({&buffer, 1}, 0); --left) {
      custody.Take({&buffer, 1});
    }
    Require(left == 0, "the core pools hold what the ledger counts");
    Require(custody.held() == kShape.capacity, "no buffer is lost");
    for (const auto& pool : core.central().central().cores()) {
      Require(pool.magazines.Empty() && pool.loose.Empty(),
              "the core pools hold nothing uncounted");
    }
    Require(core.central().central().CountCold() == 0,
            "nor do the cold and the unused");
  }

  size_t Cached() const {
    size_t sum = 0;
    for (const Cache& cache : caches_) sum += cache.size();
    return sum;
  }

  Core core;
  Custody<kShape.capacity> custody;

 private:
  size_t HeldHere() const { return custody.held(rl::thread_index()); }

  void FinishTake(bool taken, size_t need, AllocationTerms terms) {
    const size_t mine = HeldHere();
    const size_t others = reach_.Finish(mine);
    if (barriers_may_fail) return;  // caches may have been passed over
    Require(taken || kShape.capacity < mine + others + need + terms.keep,
            "an allocation fails only if it must (P3)");
  }

  std::array<Cache*, kMaxFibres> owned_{};
  Reach reach_;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_SCHEDULE_POOL_WORLD_H_
