#ifndef TANDEM_POOL_COUNTING_ATOMIC_H_
#define TANDEM_POOL_COUNTING_ATOMIC_H_

#include <atomic>
#include <cstdint>

namespace tandem {

enum class RmwKind { kShared, kOwn };

// The read-modify-writes that the calling thread has executed, including failed
// compare-and-swaps: these take the line as well.
struct RmwCounts {
  uint64_t shared = 0;  // on words that many threads write
  uint64_t own = 0;     // on a thread's own line
  // Of the shared ones: compare-and-swaps, and those of them that failed. The
  // rest are additions and exchanges.
  uint64_t swaps = 0;
  uint64_t failed = 0;
};
inline constinit thread_local RmwCounts rmw_counts;

// std::atomic that counts its read-modify-writes; has only the members that the
// core uses. For benchmarks: compiled only with TANDEM_COUNT_RMW.
template <class T, RmwKind kKind>
class CountingAtomic : private std::atomic<T> {
  using Base = std::atomic<T>;

 public:
  using Base::Base;
  using Base::load;
  using Base::store;

  template <class... Orders>
  bool compare_exchange_weak(T& expected, T desired, Orders... orders) {
    return CountSwap(Base::compare_exchange_weak(expected, desired, orders...));
  }
  template <class... Orders>
  bool compare_exchange_strong(T& expected, T desired, Orders... orders) {
    return CountSwap(
        Base::compare_exchange_strong(expected, desired, orders...));
  }
  template <class... Orders>
  T fetch_add(T value, Orders... orders) {
    Count();
    return Base::fetch_add(value, orders...);
  }
  template <class... Orders>
  T fetch_sub(T value, Orders... orders) {
    Count();
    return Base::fetch_sub(value, orders...);
  }
  template <class... Orders>
  T fetch_or(T value, Orders... orders) {
    Count();
    return Base::fetch_or(value, orders...);
  }
  template <class... Orders>
  T fetch_and(T value, Orders... orders) {
    Count();
    return Base::fetch_and(value, orders...);
  }
  template <class... Orders>
  T exchange(T value, Orders... orders) {
    Count();
    return Base::exchange(value, orders...);
  }

 private:
  static void Count() {
    ++(kKind == RmwKind::kShared ? rmw_counts.shared : rmw_counts.own);
  }
  static bool CountSwap(bool swapped) {
    Count();
    if (kKind == RmwKind::kShared) {
      ++rmw_counts.swaps;
      rmw_counts.failed += !swapped;
    }
    return swapped;
  }
};

}  // namespace tandem

#endif  // TANDEM_POOL_COUNTING_ATOMIC_H_
