#ifndef TANDEM_POOL_CACHE_THREAD_COUNTERS_H_
#define TANDEM_POOL_CACHE_THREAD_COUNTERS_H_

#include "tandem/pool/counters.h"

namespace tandem {

// What one thread did with a pool. Written by that thread alone.
template <class Platform>
struct ThreadCounters {
  OwnedCounter<Platform> refills;   // batches fetched from the core pools
  OwnedCounter<Platform> refilled;  // buffers that these put into the cache
  OwnedCounter<Platform> flushes;   // batches returned to them
  OwnedCounter<Platform> flushed;   // buffers that these took out of the cache
  OwnedCounter<Platform> bypasses;  // releases that went past it
  OwnedCounter<Platform>
      retreats;  // times that its owner emptied it under pressure
  OwnedCounter<Platform> steals;       // batches taken out of other caches
  OwnedCounter<Platform> reclaims;     // idle caches whose limit it took
  OwnedCounter<Platform> shortages;    // allocations that had to sweep
  OwnedCounter<Platform> failures;     // allocations that found too few
  OwnedCounter<Platform> biases;       // times that the cache became biased
  OwnedCounter<Platform> revocations;  // times that it found its bias taken
};

}  // namespace tandem

#endif  // TANDEM_POOL_CACHE_THREAD_COUNTERS_H_
