#ifndef TANDEM_SESSION_WAIT_COUNTERS_H_
#define TANDEM_SESSION_WAIT_COUNTERS_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "tandem/pool/counters.h"

namespace tandem {

// Buckets of the wait-time histogram: bucket i counts waits below 2^i
// microseconds and not below half of that; the last is open.
inline constexpr size_t kWaitBuckets = 28;

// What one class's waits came to (P8).
template <class Platform>
struct WaitCounters {
  Population<Platform> waiters;        // until served or cancelled
  SharedCounter<Platform> grants;      // served
  SharedCounter<Platform> cancels;     // left
  SharedCounter<Platform> wait_nanos;  // of those served, in sum
  std::array<SharedCounter<Platform>, kWaitBuckets> buckets;

  void CountGrant(int64_t nanos) {
    const auto waited = static_cast<uint64_t>(std::max<int64_t>(nanos, 0));
    grants.Add(1);
    wait_nanos.Add(waited);
    const auto bucket = static_cast<size_t>(std::bit_width(waited / 1000));
    buckets[std::min(bucket, kWaitBuckets - 1)].Add(1);
  }
};

}  // namespace tandem

#endif  // TANDEM_SESSION_WAIT_COUNTERS_H_
