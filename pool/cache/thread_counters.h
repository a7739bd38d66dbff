#ifndef TANDEM_POOL_CACHE_THREAD_COUNTERS_H_
#define TANDEM_POOL_CACHE_THREAD_COUNTERS_H_

#include "tandem/pool/counters.h"

namespace tandem {

// What one thread has done with a pool. Only that thread writes it.
template <class Platform>
struct ThreadCounters {
  OwnedCounter<Platform> refills;   // batches fetched from the depot
  OwnedCounter<Platform> refilled;  // buffers that refills put into the cache
  OwnedCounter<Platform> flushes;   // batches returned to the depot
  OwnedCounter<Platform> flushed;   // buffers that flushes took out of it
  OwnedCounter<Platform> bypasses;  // releases that bypassed the cache
  OwnedCounter<Platform>
      retreats;  // times that its owner emptied it under pressure
  OwnedCounter<Platform> steals;       // batches taken out of other caches
  OwnedCounter<Platform> reclaims;     // idle caches whose limit it took back
  OwnedCounter<Platform> shortages;    // allocations that had to sweep
  OwnedCounter<Platform> failures;     // allocations that found too few
  OwnedCounter<Platform> biases;       // times that the cache became biased
  OwnedCounter<Platform> revocations;  // times that it found its bias taken
};

}  // namespace tandem

#endif  // TANDEM_POOL_CACHE_THREAD_COUNTERS_H_
