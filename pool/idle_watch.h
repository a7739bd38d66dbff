#ifndef TANDEM_POOL_IDLE_WATCH_H_
#define TANDEM_POOL_IDLE_WATCH_H_

#include <atomic>
#include <cstdint>

namespace tandem {

// Whether a count of operations, which somebody else raises, has stood still.
// Looked at only when somebody asks: counting costs nothing more.
//
// Threads: any. Askers that race may have to ask again.
template <class Platform>
class IdleWatch {
 public:
  IdleWatch() : seen_operations_(0), seen_at_(0) {}

  // True if the count has been `operations` since somebody first found so, at
  // least `nanos` before `now`.
  bool IsIdle(uint64_t operations, int64_t now, int64_t nanos) {
    // acquire: pairs with the release below, so that the time is not older.
    if (seen_operations_.load(std::memory_order::acquire) != operations) {
      Start(operations, now);
      return false;
    }
    // relaxed: see above.
    return now - seen_at_.load(std::memory_order::relaxed) >= nanos;
  }

  // What was counted until `now`, `operations`, means nothing any more.
  void Start(uint64_t operations, int64_t now) {
    // relaxed: published by the release.
    seen_at_.store(now, std::memory_order::relaxed);
    seen_operations_.store(operations, std::memory_order::release);
  }

 private:
  typename Platform::template Atomic<uint64_t> seen_operations_;
  typename Platform::template Atomic<int64_t> seen_at_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_IDLE_WATCH_H_
