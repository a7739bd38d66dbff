#ifndef TANDEM_POOL_SNAPSHOT_H_
#define TANDEM_POOL_SNAPSHOT_H_

#include <cstdint>
#include <vector>

namespace tandem {

// A pool as one pass over it saw it (P8). Each number was true at some moment
// of the call; together they are consistent only if no operation ran meanwhile.
struct PoolSnapshot {
  struct Core {
    uint64_t buffers = 0;  // that it holds, counted one by one
    uint64_t changes = 0;  // batches pushed or popped, modulo 2^40
  };
  struct Thread {
    bool owned = false;   // by a living thread; counts include past owners
    uint32_t cached = 0;  // buffers in the cache now
    uint32_t limit = 0;   // most that may be put into it now
    // Takes and gives through the owner's cache are not counted.
    uint64_t refills = 0;      // batches fetched from the depot
    uint64_t refilled = 0;     // buffers that refills put into the cache
    uint64_t flushes = 0;      // batches returned to the depot
    uint64_t flushed = 0;      // buffers that flushes took out of it
    uint64_t bypasses = 0;     // releases that bypassed the cache
    uint64_t retreats = 0;     // times that its owner emptied it under pressure
    uint64_t steals = 0;       // batches taken out of other threads' caches
    uint64_t reclaims = 0;     // idle caches whose limit it took back
    uint64_t shortages = 0;    // allocations that had to search all caches
    uint64_t failures = 0;     // allocations that found too few buffers
    bool biased = false;       // now: its owner needs no read-modify-write
    uint64_t biases = 0;       // times that it became biased
    uint64_t revocations = 0;  // times that its owner found the bias taken
  };

  uint32_t capacity = 0;
  uint32_t reserve = 0;
  uint32_t cache_limit = 0;  // buffers that one thread may cache at most
  // If PoolOptions::cache_size is unset: the buffers that all threads together
  // may cache, and how much of that the limits of their caches add up to now.
  uint32_t cache_budget = 0;
  uint32_t cache_granted = 0;
  uint32_t available = 0;  // in the depot, unreserved
  uint32_t cached = 0;     // in all thread caches
  uint32_t in_use = 0;     // the rest
  uint32_t waiting = 0;    // sessions that wait
  uint32_t shortages = 0;  // allocations short of buffers right now
  bool pressed = false;    // caches are bypassed
  bool biased = false;     // thread caches may be biased (PoolOptions::bias)
  uint64_t barriers = 0;   // system calls made to take bias away
  uint64_t refusals = 0;   // barriers that the system refused

  std::vector<Core> cores;  // by depot shard
  Core cold;                // buffers whose memory is not committed
  // Magazines that have been in use, and batches that found none free: these
  // went back one buffer at a time, slower.
  uint32_t magazines = 0;
  uint64_t loose_batches = 0;
  std::vector<Thread> threads;
};

}  // namespace tandem

#endif  // TANDEM_POOL_SNAPSHOT_H_
