#ifndef TANDEM_POOL_COUNTERS_H_
#define TANDEM_POOL_COUNTERS_H_

#include <atomic>
#include <cstdint>

namespace tandem {

// A statistic that one thread writes and any thread reads (P8).
//
// Cost: a load and a store, no atomic read-modify-write. The count of a signal
// handler that runs between the two is lost: the price of a cheap counter.
template <class Platform>
class OwnedCounter {
 public:
  OwnedCounter() : value_(0) {}

  // relaxed, all: a statistic, it orders nothing.
  void Add(uint64_t n) {
    value_.store(value_.load(std::memory_order::relaxed) + n,
                 std::memory_order::relaxed);
  }
  uint64_t Get() const { return value_.load(std::memory_order::relaxed); }

 private:
  typename Platform::template OwnAtomic<uint64_t> value_;
};

// A statistic that many threads write, only off the fast path.
template <class Platform>
class SharedCounter {
 public:
  SharedCounter() : value_(0) {}

  // relaxed, both: a statistic, it orders nothing.
  void Add(uint64_t n) { value_.fetch_add(n, std::memory_order::relaxed); }
  uint64_t Get() const { return value_.load(std::memory_order::relaxed); }

 private:
  typename Platform::template Atomic<uint64_t> value_;
};

// A statistic that usually only the threads of one core write, on a line of
// that core, so the read-modify-write is not contended.
template <class Platform>
class CoreCounter {
 public:
  CoreCounter() : value_(0) {}

  // relaxed, both: a statistic, it orders nothing.
  void Add(uint64_t n) { value_.fetch_add(n, std::memory_order::relaxed); }
  uint64_t Get() const { return value_.load(std::memory_order::relaxed); }

 private:
  typename Platform::template OwnAtomic<uint64_t> value_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_COUNTERS_H_
