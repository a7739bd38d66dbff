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

// How many have come and not gone, counted by many threads, off the fast path
// only. Each one's Come must happen before its Go.
template <class Platform>
class Population {
 public:
  Population() : gone_(0) {}

  void Come() { came_.Add(1); }
  void Go() { gone_.fetch_add(1, std::memory_order::release); }  // (1)

  uint64_t came() const { return came_.Get(); }

  // At some moment of the call, or more, never less than none.
  uint64_t size() const {
    // (1) release, (2) acquire: each other's partner. Every change of gone_ is
    // a read-modify-write, so that (2) pairs with each Go that it counts, and
    // those who went are seen, below, to have come. Without, the difference
    // may be negative.
    const uint64_t gone = gone_.load(std::memory_order::acquire);  // (2)
    return came_.Get() - gone;
  }

 private:
  SharedCounter<Platform> came_;
  typename Platform::template Atomic<uint64_t> gone_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_COUNTERS_H_
