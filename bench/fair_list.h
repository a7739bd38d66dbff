#ifndef TANDEM_BENCH_FAIR_LIST_H_
#define TANDEM_BENCH_FAIR_LIST_H_

#include <cstddef>
#include <mutex>
#include <span>
#include <vector>

#include "tandem/bench/peers.h"

namespace tandem::bench {

// The fair peer of waiting: one free list under a mutex, whose waiters are
// served first come, first served, and get their two buffers handed over by the
// releasing thread. This is what Tandem promises for pairs, done with a lock.
class FairList {
 public:
  // A waiting session. It lies on the stack or in the session: nothing
  // is allocated.
  struct Waiter {
    std::byte* buffers[2] = {};
    Waiter* before = nullptr;
    Waiter* after = nullptr;  // not null while it waits
  };

  explicit FairList(size_t capacity) {
    ends_.before = ends_.after = &ends_;
    for (size_t i = 0; i < capacity; ++i) free_.push_back(BufferAddress(i));
  }
  FairList(const FairList&) = delete;
  FairList& operator=(const FairList&) = delete;

  // True if the waiter has its buffers; otherwise it waits.
  bool TakeOrWait(Waiter& waiter) {
    const std::lock_guard lock(mutex_);
    if (ends_.after == &ends_ && free_.size() >= 2) {
      Give(waiter);
      return true;
    }
    waiter.before = ends_.before;
    waiter.after = &ends_;
    waiter.before->after = ends_.before = &waiter;
    return false;
  }

  // Takes two buffers back and serves waiters in order, as far as they go.
  // Calls `wake(waiter)` for each, without the lock.
  template <class Wake>
  void Release(std::span<std::byte* const, 2> buffers, Wake wake) {
    Waiter* served = nullptr;
    {
      const std::lock_guard lock(mutex_);
      free_.insert(free_.end(), buffers.begin(), buffers.end());
      // Two buffers came, and each waiter wants two: at most one is served.
      if (ends_.after != &ends_) {
        served = ends_.after;
        Unlink(*served);
        Give(*served);
      }
    }
    if (served != nullptr) wake(*served);
  }

  // False if the waiter was served first.
  bool Cancel(Waiter& waiter) {
    const std::lock_guard lock(mutex_);
    if (waiter.after == nullptr) return false;
    Unlink(waiter);
    return true;
  }

 private:
  void Give(Waiter& waiter) {
    for (std::byte*& buffer : waiter.buffers) {
      buffer = free_.back();
      free_.pop_back();
    }
  }
  static void Unlink(Waiter& waiter) {
    waiter.before->after = waiter.after;
    waiter.after->before = waiter.before;
    waiter.before = waiter.after = nullptr;
  }

  std::mutex mutex_;
  std::vector<std::byte*> free_;
  Waiter ends_;
};

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_FAIR_LIST_H_
