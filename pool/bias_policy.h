#ifndef TANDEM_POOL_BIAS_POLICY_H_
#define TANDEM_POOL_BIAS_POLICY_H_

#include <algorithm>
#include <cstdint>

namespace tandem {

// When a thread cache goes back to bias: after a number of quiet shared
// operations, its patience, that doubles with each revocation up to a cap, and
// halves when a bias has lasted for long. So a pool that oscillates around
// exhaustion makes at most one revocation for each kMostPatience operations of
// a thread in the long run, and one that has settled is soon biased again.
//
// Threads: the cache's owner; a signal handler may cost a count.
class BiasPolicy {
 public:
  // Never less: the version of a cache lasts for 2^40 operations by it.
  static constexpr uint32_t kLeastPatience = 1u << 8;
  static constexpr uint32_t kMostPatience = 1u << 16;

  // A shared operation without pressure. True if the bias should come back: an
  // attempt, whether or not it succeeds, begins the count anew.
  bool OnQuietOperation() {
    if (++quiet_ < patience_) return false;
    quiet_ = 0;
    return true;
  }

  // The cache is biased from now on; `operations` is what it has seen in all.
  void OnBias(uint64_t operations) {
    biased_ = true;
    since_ = operations;
  }

  // A shared operation: the bias is gone. True the first time after OnBias.
  bool OnShared(uint64_t operations) {
    if (!biased_) return false;
    biased_ = false;
    const bool lasted = operations - since_ >= uint64_t{patience_} * kLasting;
    patience_ = lasted ? std::max(patience_ / 2, kLeastPatience)
                       : std::min(patience_ * 2, kMostPatience);
    return true;
  }

 private:
  // A bias that has served so many times the patience has paid for itself.
  static constexpr uint32_t kLasting = 64;

  uint32_t patience_ = kLeastPatience;
  uint32_t quiet_ = 0;
  bool biased_ = false;
  uint64_t since_ = 0;
};

}  // namespace tandem

#endif  // TANDEM_POOL_BIAS_POLICY_H_
