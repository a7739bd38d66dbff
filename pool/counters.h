#ifndef TANDEM_POOL_COUNTERS_H_
#define TANDEM_POOL_COUNTERS_H_

#include <atomic>
#include <cstdint>

namespace tandem {

// A statistic that one thread writes and anyone reads (P8).
//
// Cost: a load and a store, no atomic read-modify-write. Where the platform
// needs two instructions for it (all but x86-64), a signal handler that counts
// between the two is not counted: the price of a free counter.
template <class Platform>
class OwnedCounter {
 public:
  OwnedCounter() : value_(0) {}

  void Add(uint64_t n) { Platform::AddOwned(value_, n); }
  // relaxed: a statistic, it orders nothing.
  uint64_t Get() const { return value_.load(std::memory_order::relaxed); }

 private:
  typename Platform::template OwnAtomic<uint64_t> value_;
};

// A statistic that many threads write, off the fast path only.
template <class Platform>
class SharedCounter {
 public:
  SharedCounter() : value_(0) {}

  // (1) release, (2) acquire: each other's partner. Who reads what has gone,
  // and then what has come, misses none that came before one that it saw go.
  void Add(uint64_t n) {
    value_.fetch_add(n, std::memory_order::release);  // (1)
  }
  uint64_t Get() const {
    return value_.load(std::memory_order::acquire);  // (2)
  }

 private:
  typename Platform::template Atomic<uint64_t> value_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_COUNTERS_H_
