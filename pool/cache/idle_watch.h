#ifndef TANDEM_POOL_CACHE_IDLE_WATCH_H_
#define TANDEM_POOL_CACHE_IDLE_WATCH_H_

#include <atomic>
#include <cstdint>

namespace tandem {

// Tells whether a word that another thread writes has stood still. The check
// happens only on request, and costs the writer nothing.
//
// Threads: any. Callers that race may have to ask again.
template <class Platform>
class IdleWatch {
 public:
  IdleWatch() : seen_word_(0), seen_at_(0) {}

  // True if the word has been `word` since a caller first saw that value, at
  // least `nanos` before `now`.
  bool IsIdle(uint64_t word, int64_t now, int64_t nanos) {
    // acquire: pairs with the release below, so that the time is not older than
    // the word.
    if (seen_word_.load(std::memory_order::acquire) != word) {
      Start(word, now);
      return false;
    }
    // relaxed: see above.
    return now - seen_at_.load(std::memory_order::relaxed) >= nanos;
  }

  // The word is `word` at `now`; earlier values do not matter.
  void Start(uint64_t word, int64_t now) {
    // relaxed: published by the release.
    seen_at_.store(now, std::memory_order::relaxed);
    seen_word_.store(word, std::memory_order::release);
  }

 private:
  typename Platform::template Atomic<uint64_t> seen_word_;
  typename Platform::template Atomic<int64_t> seen_at_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_CACHE_IDLE_WATCH_H_
