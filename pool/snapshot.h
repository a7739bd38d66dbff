#ifndef TANDEM_POOL_SNAPSHOT_H_
#define TANDEM_POOL_SNAPSHOT_H_

#include <cstdint>
#include <vector>

namespace tandem {

// A pool as one pass over it saw it (P8). Each number was true at some moment
// of the call; together they are consistent only if nobody used the pool.
struct PoolSnapshot {
  struct Core {
    uint64_t buffers = 0;  // that lie there, counted one by one
    uint64_t changes = 0;  // batches that came or went, modulo 2^40
  };
  struct Thread {
    bool owned = false;   // by a living thread; the counts are of all owners
    uint32_t cached = 0;  // buffers in the cache now
    uint32_t limit = 0;   // most that may be put into it now
    // What the owner takes and gives through its cache is not counted.
    uint64_t refills = 0;      // batches fetched for it
    uint64_t refilled = 0;     // buffers that these put into it
    uint64_t flushes = 0;      // batches returned from it
    uint64_t flushed = 0;      // buffers that these took out of it
    uint64_t bypasses = 0;     // releases that went past it
    uint64_t retreats = 0;     // times that its owner emptied it under pressure
    uint64_t steals = 0;       // batches taken out of other threads' caches
    uint64_t reclaims = 0;     // idle caches whose limit it took for the pool
    uint64_t shortages = 0;    // allocations that had to search all caches
    uint64_t failures = 0;     // allocations that found too few buffers
    bool biased = false;       // now: its owner uses it without atomics
    uint64_t biases = 0;       // times that it became so
    uint64_t revocations = 0;  // times that its owner found the bias taken
  };

  uint32_t capacity = 0;
  uint32_t reserve = 0;
  uint32_t cache_limit = 0;  // buffers that one thread may cache at most
  // Where PoolOptions::cache_size is unset, what all threads together may
  // cache, and how much of that their caches' limits add up to now.
  uint32_t cache_budget = 0;
  uint32_t cache_granted = 0;
  uint32_t available = 0;  // in core pools, unreserved
  uint32_t cached = 0;     // in all thread caches
  uint32_t in_use = 0;     // the rest
  uint32_t waiting = 0;    // sessions that wait
  uint32_t shortages = 0;  // allocations that are short right now
  bool pressed = false;    // caches are bypassed
  bool biased = false;     // thread caches may be biased (PoolOptions::bias)
  uint64_t barriers = 0;   // system calls made to take bias away
  uint64_t refusals = 0;   // those that the system refused

  std::vector<Core> cores;  // by core pool
  Core cold;                // where buffers lie whose memory is not committed
  // Magazines that have been in use, and batches that found none left: they
  // went back buffer by buffer, slower.
  uint32_t magazines = 0;
  uint64_t loose_batches = 0;
  std::vector<Thread> threads;
};

}  // namespace tandem

#endif  // TANDEM_POOL_SNAPSHOT_H_
