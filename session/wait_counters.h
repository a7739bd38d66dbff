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
// microseconds that are not below half of that; the last bucket is unbounded.
inline constexpr size_t kWaitBuckets = 28;

// The totals over the waits of one class.
struct WaitTotals {
  // Approximate: counts that change during the pass may be seen in part.
  uint64_t waiting() const {
    const uint64_t over = grants + cancels;
    return waits > over ? waits - over : 0;
  }

  uint64_t waits = 0;       // subscribed
  uint64_t grants = 0;      // served
  uint64_t cancels = 0;     // cancelled
  uint64_t wait_nanos = 0;  // sum over served waits
  std::array<uint64_t, kWaitBuckets> buckets = {};
};

// The waits of one class, as counted by one core's threads: only the sum over
// all cores is meaningful (P8).
template <class Platform>
class WaitCounters {
 public:
  void CountWait() { waits_.Add(1); }
  void CountCancel() { cancels_.Add(1); }
  void CountGrant(int64_t nanos) {
    const auto waited = static_cast<uint64_t>(std::max<int64_t>(nanos, 0));
    wait_nanos_.Add(waited);
    const auto bucket = static_cast<size_t>(std::bit_width(waited / 1000));
    buckets_[std::min(bucket, kWaitBuckets - 1)].Add(1);
  }

  void AddTo(WaitTotals& totals) const {
    totals.waits += waits_.Get();
    totals.cancels += cancels_.Get();
    totals.wait_nanos += wait_nanos_.Get();
    for (size_t i = 0; i < kWaitBuckets; ++i) {
      const uint64_t grants = buckets_[i].Get();
      totals.grants += grants;
      totals.buckets[i] += grants;
    }
  }

 private:
  CoreCounter<Platform> waits_;       // subscribed
  CoreCounter<Platform> cancels_;     // cancelled
  CoreCounter<Platform> wait_nanos_;  // sum over served waits
  std::array<CoreCounter<Platform>, kWaitBuckets> buckets_;  // served, by time
};

}  // namespace tandem

#endif  // TANDEM_SESSION_WAIT_COUNTERS_H_
