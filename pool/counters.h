#ifndef TANDEM_POOL_COUNTERS_H_
#define TANDEM_POOL_COUNTERS_H_

#include <atomic>
#include <cstdint>

namespace tandem {

// A statistic that one thread writes and anyone reads (P8).
//
// Cost: a load and a store, no atomic read-modify-write. A signal handler that
// counts between the two is not counted: the price of a cheap counter.
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

// A statistic that many threads write, off the fast path only.
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

// A statistic that the threads of one core write, as a rule: on a line that is
// that core's, so the read-modify-write is not contended.
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
