#ifndef TANDEM_POOL_CACHE_BIAS_POLICY_H_
#define TANDEM_POOL_CACHE_BIAS_POLICY_H_

#include <algorithm>
#include <cstdint>

namespace tandem {

// Decides when a thread cache goes back to bias: after a number of quiet shared
// operations, its patience. Patience doubles with each revocation, up to a cap,
// and halves when a bias has lasted long. The time that the owner has run
// decides that, as biased operations are not counted; time in which it slept
// says nothing of how busy the pool was. So in the long run a pool that
// oscillates around exhaustion makes at most one revocation for each
// kMostPatience operations of a thread, and a pool that has settled is soon
// biased again.
//
// Threads: the cache's owner; a signal handler may lose a count.
class BiasPolicy {
 public:
  // Never less: the argument that a cache's version lasts for 2^40 operations
  // needs it (ThreadCache, ABA).
  static constexpr uint32_t kLeastPatience = 1u << 9;
  static constexpr uint32_t kMostPatience = 1u << 16;

  // A shared operation without pressure. True if the bias should come back. An
  // attempt, whether or not it succeeds, restarts the count.
  bool OnQuietOperation() {
    if (++quiet_ < patience_) return false;
    quiet_ = 0;
    return true;
  }

  // The cache is biased from now on.
  void OnBias(int64_t now) {
    biased_ = true;
    since_ = now;
  }

  // A shared operation: the bias is gone. True the first time after OnBias;
  // only then does it read the clock. All times are nanoseconds that the owner
  // has run.
  template <class Clock>
  bool OnShared(Clock now) {
    if (!biased_) return false;
    biased_ = false;
    const bool lasted = now() - since_ >= int64_t{patience_} * kLastingNanos;
    patience_ = lasted ? std::max(patience_ / 2, kLeastPatience)
                       : std::min(patience_ * 2, kMostPatience);
    return true;
  }

 private:
  // A bias has lasted if it could serve 64 operations for each one that the
  // owner waited for it. An operation counts as 100 ns, as a server also uses
  // its buffers: otherwise a slow server would look like one that has settled.
  static constexpr int64_t kLastingNanos = int64_t{64} * 100;

  uint32_t patience_ = kLeastPatience;
  uint32_t quiet_ = 0;
  bool biased_ = false;
  int64_t since_ = 0;
};

}  // namespace tandem

#endif  // TANDEM_POOL_CACHE_BIAS_POLICY_H_
