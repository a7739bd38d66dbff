#ifndef TANDEM_POOL_SWEEP_H_
#define TANDEM_POOL_SWEEP_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "tandem/pool/counters.h"
#include "tandem/pool/thread_cache.h"
#include "tandem/pool/types.h"

namespace tandem {

// System calls that sweeps have made to take bias away.
template <class Platform>
struct BarrierCounters {
  SharedCounter<Platform> barriers;
  // The system refused one: caches that were biased then were passed over.
  SharedCounter<Platform> refusals;
};

// Most caches whose bias is taken by one barrier.
inline constexpr size_t kSweepPiece = 128;

namespace internal_sweep {

// Has everything that was seized before take effect: true if it has.
template <class Platform>
bool Barrier(BarrierCounters<Platform>& counters) {
  counters.barriers.Add(1);
  if (Platform::Barrier()) return true;
  counters.refusals.Add(1);
  return false;
}

// Takes the bias of one cache, of the epoch it is in now; nothing if the system
// refuses.
template <class Platform>
std::optional<Epoch> Revoke(ThreadCache<Platform>& cache, bool own,
                            BarrierCounters<Platform>& counters) {
  if (own) return cache.SeizeOwn();
  const Epoch epoch = cache.Seize();
  if (!cache.IsRevoked(epoch)) {
    if (!Barrier(counters)) return std::nullopt;
    cache.SetRevoked(epoch);
  }
  return epoch;
}

}  // namespace internal_sweep

// Empties up to kSweepPiece caches, whatever their owners are doing: takes the
// bias of those that have it, by one barrier for all, then what is in them, at
// most `batch` buffers (1 to kMaxBatch) at a time, and calls loot(cache,
// buffers) for each lot. Stops when that returns true, and returns whether it
// did. Calls empty(cache) for each that it found empty, at once or in the end.
//
// `own` is the calling thread's cache, or null. Progress: lock-free; a cache
// whose owner goes back to bias meanwhile is seized again.
template <class Platform, class Loot, class Empty>
bool SweepPiece(std::span<ThreadCache<Platform>* const> piece,
                const ThreadCache<Platform>* own, size_t batch,
                BarrierCounters<Platform>& counters, Loot loot, Empty empty) {
  std::array<Epoch, kSweepPiece> epochs;
  bool needs_barrier = false;
  for (size_t i = 0; i < piece.size(); ++i) {
    epochs[i] = piece[i] == own ? piece[i]->SeizeOwn() : piece[i]->Seize();
    needs_barrier |= !piece[i]->IsRevoked(epochs[i]);
  }
  if (needs_barrier && internal_sweep::Barrier(counters)) {
    for (size_t i = 0; i < piece.size(); ++i) piece[i]->SetRevoked(epochs[i]);
  }
  for (size_t i = 0; i < piece.size(); ++i) {
    ThreadCache<Platform>& cache = *piece[i];
    std::array<std::byte*, kMaxBatch> storage;
    const auto buffers = std::span(storage).first(batch);
    std::optional<Epoch> epoch = epochs[i];
    if (!cache.IsRevoked(*epoch)) continue;  // The barrier was refused.
    while (epoch) {
      const std::optional<uint32_t> count = cache.Steal(*epoch, buffers);
      if (!count) {
        epoch = internal_sweep::Revoke(cache, &cache == own, counters);
      } else if (*count == 0) {
        empty(cache);
        break;
      } else if (loot(cache,
                      std::span<std::byte* const>(buffers).first(*count))) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace tandem

#endif  // TANDEM_POOL_SWEEP_H_
