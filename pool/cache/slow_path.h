#ifndef TANDEM_POOL_CACHE_SLOW_PATH_H_
#define TANDEM_POOL_CACHE_SLOW_PATH_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/cache/cache_registry.h"
#include "tandem/pool/cache/sweep.h"
#include "tandem/pool/cache/thread_cache.h"
#include "tandem/pool/depot/central_pool.h"
#include "tandem/pool/types.h"

namespace tandem {

// What a thread does with its own cache when the fast path fails: in shared
// mode, when the cache is empty or full, or under pressure. It is the owner's
// half of the argument that exhaustion is exact; LockFreePool states the
// argument.
//
// Threads: the owner of the given cache, and its signal handlers. Progress:
// lock-free.
template <class Platform>
class SlowPath {
 public:
  using Cache = ThreadCache<Platform>;

  // All must outlive this object. `batch`: the most buffers that Empty has in
  // its hands.
  SlowPath(CentralPool<Platform>& central, CacheRegistry<Platform>& registry,
           BarrierCounters<Platform>& barriers, uint32_t batch, bool biased)
      : central_(central),
        registry_(registry),
        barriers_(barriers),
        batch_(batch),
        biased_(biased) {}

  // Takes from a cache whose gate was closed when its owner tried. False if it
  // holds too few, if there is pressure, or if the gate is open now: then the
  // failure had another cause.
  bool PopShared(Cache& cache, std::span<std::byte*> out,
                 AllocationTerms terms) {
    if (cache.biased()) return false;
    OnShared(cache);
    // A class that keeps more than the reserve needs more to be free.
    const LedgerView view = central_.ledger().Load();
    if (view.Pressed(central_.reserve()) || view.available() < terms.keep ||
        !cache.PopShared(out)) {
      return false;
    }
    AfterQuietOperation(cache);
    return true;
  }

  // Puts into a cache whose gate was closed when its owner tried. False if
  // there is no room, if there is pressure, or if the gate is open now.
  bool PushShared(Cache& cache, std::span<std::byte* const> in) {
    if (cache.biased()) return false;
    OnShared(cache);
    if (central_.Pressed() || !cache.PushShared(in)) return false;
    if (central_.Pressed()) {
      Retreat(cache);
    } else {
      registry_.HintFilled(cache);
      AfterQuietOperation(cache);
    }
    return true;
  }

  // Takes from the cache in its present mode. False if it holds too few, or if
  // there is pressure.
  bool Pop(Cache& cache, std::span<std::byte*> out, AllocationTerms terms) {
    if (!cache.biased()) return PopShared(cache, out, terms);
    // A class that keeps more than the reserve must look at the ledger, biased
    // or not.
    return central_.ledger().Load().available() >= terms.keep &&
           cache.PopBiased(out);
  }

  // Puts into the cache in its present mode. False if it has no room, or if
  // there is pressure.
  bool Push(Cache& cache, std::span<std::byte* const> in) {
    return cache.biased() ? cache.PushBiased(in) : PushShared(cache, in);
  }

  // Collects reserved buffers: into `out`, and `surplus` of them, at least one
  // and at most a batch, into the cache.
  void Refill(Cache& cache, std::span<std::byte*> out, uint32_t surplus) {
    std::array<std::byte*, kMaxBatch> storage;
    if (out.size() + surplus <= storage.size()) {
      // All at once, as one flush may have left them.
      const auto all = std::span(storage).first(out.size() + surplus);
      central_.Collect(all, &cache.spares);
      std::ranges::copy(all.last(out.size()), out.begin());
    } else {
      central_.Collect(out, &cache.spares);
      central_.Collect(std::span(storage).first(surplus), &cache.spares);
    }
    const auto rest = std::span(storage).first(surplus);
    cache.counters.refills.Add(1);
    // False: a handler filled the cache, or found it hidden; or there is
    // pressure.
    if (Push(cache, rest)) {
      cache.counters.refilled.Add(surplus);
    } else {
      central_.Publish(rest, &cache.spares);
    }
  }

  // Releases `in` when the cache has too little room but should keep some of
  // it, or of what it holds. What is over goes to the central pool in whole
  // batches: `in` first, and then, if that makes no whole batch, the rest of
  // one from the cache. False, with no effect, if the cache takes and gives
  // nothing.
  bool PushWithFlush(Cache& cache, std::span<std::byte* const> in) {
    const auto size = static_cast<uint32_t>(in.size());
    const uint32_t batch = BatchOf(cache);
    const uint32_t over = size - std::min(size, RoomIn(cache));
    const uint32_t past = over == 0 ? 0 : WholeBatches(over, batch);
    if (past == size) return false;
    if (past > size) return PublishWithFlush(cache, in, past - size, batch);
    if (past != 0) central_.Publish(in.last(past), &cache.spares);
    const auto rest = in.first(size - past);
    if (!Push(cache, rest)) central_.Publish(rest, &cache.spares);
    return true;
  }

  // Publishes all buffers in `cache`, which any thread may own; `own` is the
  // calling thread's cache, or null.
  void Empty(Cache& cache, Cache* own) {
    Cache* const piece[] = {&cache};
    SweepPiece<Platform>(
        piece, own, batch_, barriers_,
        [&](Cache&, std::span<std::byte* const> buffers) {
          central_.Publish(buffers, own == nullptr ? nullptr : &own->spares);
          return false;
        },
        [&](const Cache& emptied) { registry_.HintEmpty(emptied); });
  }

  // The number of buffers that a refill brings and a flush takes out.
  static uint32_t BatchOf(const Cache& cache) {
    return std::clamp((cache.limit() + 1) / 2, 1u, kMaxBatch);
  }
  static uint32_t RoomIn(const Cache& cache) {
    const uint32_t limit = cache.limit();
    return limit - std::min(limit, cache.size());
  }
  // The least multiple of a batch that is not less than n, which is not 0.
  static uint32_t WholeBatches(uint32_t n, uint32_t batch) {
    return n <= batch ? batch : (n + batch - 1) / batch * batch;
  }

 private:
  // Publishes `in`, and up to `flushed` of what the cache holds, which make
  // whole batches of it. False, with no effect, if the cache is empty.
  bool PublishWithFlush(Cache& cache, std::span<std::byte* const> in,
                        uint32_t flushed, uint32_t batch) {
    std::array<std::byte*, kMaxBatch> storage;
    const uint32_t count = cache.PopUpTo({storage.data(), flushed});
    if (count == 0) return false;
    cache.counters.flushes.Add(1);
    cache.counters.flushed.Add(count);
    // The last batch together, so that one refill can take it.
    const auto part = in.last(std::min<size_t>(in.size(), batch - flushed));
    std::ranges::copy(part, storage.begin() + count);
    central_.Publish(std::span(storage).first(count + part.size()),
                     &cache.spares);
    const auto rest = in.first(in.size() - part.size());
    if (!rest.empty()) central_.Publish(rest, &cache.spares);
    return true;
  }

  // The owner has found its gate closed. If no barrier has followed, the system
  // may be refusing barriers. Then only the owner can close the gate for good,
  // and empty the cache for allocations that had to pass it over.
  void OnShared(Cache& cache) {
    if (cache.policy.OnShared([] { return Platform::ThreadNanos(); })) {
      cache.counters.revocations.Add(1);
    }
    if (cache.gate().closing()) {
      cache.CloseOwn();
      if (central_.Pressed()) Retreat(cache);
    }
  }

  // The cache has been used in shared mode, without pressure.
  void AfterQuietOperation(Cache& cache) {
    if (!biased_ || !cache.armed() || !cache.policy.OnQuietOperation()) return;
    // A gate must not open if it might not close again.
    if (barriers_.refusals.Get() != 0) return;
    bool pressed = false;
    const bool biased =
        cache.BeginBias([&] { return pressed = central_.Pressed(); });
    if (biased) {
      cache.policy.OnBias(Platform::ThreadNanos());
      cache.counters.biases.Add(1);
      registry_.HintFilled(cache);
    } else if (pressed) {
      Retreat(cache);
    }
  }

  // An allocation became short of buffers while the owner used its cache.
  [[gnu::noinline]] void Retreat(Cache& cache) {
    cache.counters.retreats.Add(1);
    Empty(cache, &cache);
  }

  CentralPool<Platform>& central_;
  CacheRegistry<Platform>& registry_;
  BarrierCounters<Platform>& barriers_;
  const uint32_t batch_;
  const bool biased_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_CACHE_SLOW_PATH_H_
