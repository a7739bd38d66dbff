#ifndef TANDEM_POOL_CACHE_IDLE_WATCH_H_
#define TANDEM_POOL_CACHE_IDLE_WATCH_H_

#include <atomic>
#include <cstdint>

namespace tandem {

// Whether a word that somebody else writes has stood still. Looked at only when
// somebody asks: it costs the writer nothing.
//
// Threads: any. Askers that race may have to ask again.
template <class Platform>
class IdleWatch {
 public:
  IdleWatch() : seen_word_(0), seen_at_(0) {}

  // True if it has been `word` since somebody first found so, at least `nanos`
  // before `now`.
  bool IsIdle(uint64_t word, int64_t now, int64_t nanos) {
    // acquire: pairs with the release below, so that the time is not older.
    if (seen_word_.load(std::memory_order::acquire) != word) {
      Start(word, now);
      return false;
    }
    // relaxed: see above.
    return now - seen_at_.load(std::memory_order::relaxed) >= nanos;
  }

  // It is `word` at `now`, whatever it was before.
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
