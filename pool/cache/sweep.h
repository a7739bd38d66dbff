#ifndef TANDEM_POOL_CACHE_SWEEP_H_
#define TANDEM_POOL_CACHE_SWEEP_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "tandem/pool/cache/thread_cache.h"
#include "tandem/pool/counters.h"
#include "tandem/pool/types.h"

namespace tandem {

// Barriers, which are system calls, that sweeps have made to take bias away.
template <class Platform>
struct BarrierCounters {
  SharedCounter<Platform> barriers;
  // Barriers that the system refused: sweeps passed over caches whose gates
  // were open then, and no gate has opened since.
  SharedCounter<Platform> refusals;
};

// The most caches whose bias one barrier takes.
inline constexpr size_t kSweepPiece = 64;

// The most buffers that a sweep has in its hands at once. Half a batch, as its
// stack also holds the piece (P10).
inline constexpr uint32_t kMostLoot = kMaxBatch / 2;

namespace internal_sweep {

// Makes all earlier closings visible to owners; false if the kernel refused.
template <class Platform>
bool Barrier(BarrierCounters<Platform>& counters) {
  counters.barriers.Add(1);
  if (Platform::Barrier()) return true;
  counters.refusals.Add(1);
  return false;
}

// Closes the gate of one cache, in its present epoch; returns nothing if the
// kernel refused the barrier.
template <class Platform>
std::optional<Epoch> Close(ThreadCache<Platform>& cache, bool own,
                           BarrierCounters<Platform>& counters) {
  const CacheGate gate = own ? cache.CloseOwn() : cache.Close();
  if (!gate.closed()) {
    if (!Barrier(counters)) return std::nullopt;
    cache.SetClosed(gate);
  }
  return Epoch{gate.epoch()};
}

}  // namespace internal_sweep

// Empties up to kSweepPiece caches, whatever their owners are doing: closes
// their gates, with one barrier for all, then takes what is in them, at most
// `batch` buffers (1 to kMostLoot) at a time, and calls loot(cache, buffers)
// for each lot. Stops when loot returns true, and returns whether it did. Calls
// empty(cache) for each cache that it finds empty, at once or in the end.
//
// `own` is the calling thread's cache, or null. Progress: lock-free; if an
// owner goes back to bias meanwhile, its cache is closed again.
template <class Platform, class Loot, class Empty>
bool SweepPiece(std::span<ThreadCache<Platform>* const> piece,
                const ThreadCache<Platform>* own, size_t batch,
                BarrierCounters<Platform>& counters, Loot loot, Empty empty) {
  std::array<CacheGate, kSweepPiece> gates;
  bool needs_barrier = false;
  for (size_t i = 0; i < piece.size(); ++i) {
    gates[i] = piece[i] == own ? piece[i]->CloseOwn() : piece[i]->Close();
    needs_barrier |= !gates[i].closed();
  }
  const bool fenced = !needs_barrier || internal_sweep::Barrier(counters);
  for (size_t i = 0; fenced && needs_barrier && i < piece.size(); ++i) {
    if (!gates[i].closed()) piece[i]->SetClosed(gates[i]);
  }
  for (size_t i = 0; i < piece.size(); ++i) {
    ThreadCache<Platform>& cache = *piece[i];
    std::array<std::byte*, kMostLoot> storage;
    const auto buffers = std::span(storage).first(batch);
    if (!fenced && !gates[i].closed()) continue;
    std::optional<Epoch> epoch = Epoch{gates[i].epoch()};
    while (epoch) {
      const std::optional<uint32_t> count = cache.Steal(*epoch, buffers);
      if (!count) {
        epoch = internal_sweep::Close(cache, &cache == own, counters);
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

#endif  // TANDEM_POOL_CACHE_SWEEP_H_
