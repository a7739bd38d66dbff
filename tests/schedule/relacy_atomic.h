#ifndef TANDEM_TESTS_SCHEDULE_RELACY_ATOMIC_H_
#define TANDEM_TESTS_SCHEDULE_RELACY_ATOMIC_H_

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

// Must come after all headers of the standard library: relacy defines keywords
// as macros, which are undefined at once below.
#include "relacy/relacy.hpp"
#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef assert
#undef errno
#undef memory_order_relaxed
#undef memory_order_consume
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst
#undef $

// Relacy replaces operator new and delete, but not these. Sanitizers would
// replace them with functions that do not match.
[[gnu::used]] inline void operator delete(void* p, size_t) noexcept {
  ::operator delete(p);
}
[[gnu::used]] inline void operator delete[](void* p, size_t) noexcept {
  ::operator delete[](p);
}

// Relacy never frees its fibres' stacks.
extern "C" [[gnu::used]] inline int __lsan_is_turned_off() { return 1; }

namespace tandem {

template <class T>
class RelacyAtomic;

// A signal that may come at each step. A search tries all steps.
inline constexpr unsigned kAnyStep = ~0u;

// The platform's state for one simulated thread.
struct Fibre {
  void (*handler)(void*) = nullptr;  // of the signal to come, if any
  void* handler_context = nullptr;
  unsigned steps_to_signal = 0;  // or kAnyStep

  bool uninterrupted = false;    // no signal now
  bool section_aborted = false;  // its restartable section has to start anew
  // Accessed by each step of its sections, and by barriers.
  RelacyAtomic<uint32_t>* barrier_word = nullptr;
};

inline constexpr unsigned kMaxFibres = 8;
inline std::array<Fibre, kMaxFibres> fibres;
inline uint64_t current_iteration = 0;
// How often a simulated thread was switched away from, in all schedules.
inline uint64_t context_switches = 0;

// Whether the system may refuse a barrier in this iteration.
inline bool barriers_may_fail = false;

inline Fibre& ThisFibre() { return fibres[rl::thread_index()]; }

// Makes `handler` run once on the calling simulated thread, as a signal handler
// would: before its atomic access or signal fence number `steps` from now, if
// there are that many.
inline void ArmSignal(unsigned steps, void (*handler)(void*), void* context) {
  Fibre& fibre = ThisFibre();
  fibre.handler = handler;
  fibre.handler_context = context;
  fibre.steps_to_signal = steps;
}
inline void DisarmSignal() { ThisFibre().handler = nullptr; }

inline void DeliverSignal() {
  Fibre& fibre = ThisFibre();
  if (fibre.handler == nullptr || fibre.uninterrupted) return;
  if (rl::ctx().invariant_executing) return;
  if (fibre.steps_to_signal == kAnyStep) {
    if (rl::rand(2) == 0) return;
  } else if (fibre.steps_to_signal-- != 0) {
    return;
  }
  const auto handler = fibre.handler;
  fibre.handler = nullptr;  // does not interrupt itself, unless armed anew
  handler(fibre.handler_context);
  fibre.section_aborted = true;
}

// An atomic of the checker with the interface of std::atomic. Default arguments
// pass the place of the call, for the history.
//
// It is weaker than relacy's own in one point, as C++ is: a compare-and-swap
// that fails may have read an old value. Statistics (counters.h) are performed
// together with the access that follows. Other interleavings of them show
// nothing, and would take most of the search.
template <class T>
class RelacyAtomic {
  using Word = std::conditional_t<std::is_pointer_v<T>, uintptr_t, T>;

 public:
  RelacyAtomic() : RelacyAtomic(T{}) {}
  RelacyAtomic(T value) : word_(ToWord(value)) {}

  T load(std::memory_order order = std::memory_order::seq_cst,
         const char* file = __builtin_FILE(),
         unsigned line = __builtin_LINE()) const {
    const Access access(file, line);
    return FromWord(word_.load(Order(order), access.info));
  }

  void store(T value, std::memory_order order = std::memory_order::seq_cst,
             const char* file = __builtin_FILE(),
             unsigned line = __builtin_LINE()) {
    const Access access(file, line);
    word_.store(ToWord(value), Order(order), access.info);
  }

  T exchange(T value, std::memory_order order = std::memory_order::seq_cst,
             const char* file = __builtin_FILE(),
             unsigned line = __builtin_LINE()) {
    const Access access(file, line);
    return FromWord(word_.exchange(ToWord(value), Order(order), access.info));
  }

  T fetch_add(T value, std::memory_order order = std::memory_order::seq_cst,
              const char* file = __builtin_FILE(),
              unsigned line = __builtin_LINE()) {
    const Access access(file, line);
    return word_.fetch_add(value, Order(order), access.info);
  }

  T fetch_sub(T value, std::memory_order order = std::memory_order::seq_cst,
              const char* file = __builtin_FILE(),
              unsigned line = __builtin_LINE()) {
    const Access access(file, line);
    return word_.fetch_sub(value, Order(order), access.info);
  }

  T fetch_or(T value, std::memory_order order = std::memory_order::seq_cst,
             const char* file = __builtin_FILE(),
             unsigned line = __builtin_LINE()) {
    const Access access(file, line);
    return word_.fetch_or(value, Order(order), access.info);
  }

  T fetch_and(T value, std::memory_order order = std::memory_order::seq_cst,
              const char* file = __builtin_FILE(),
              unsigned line = __builtin_LINE()) {
    const Access access(file, line);
    return word_.fetch_and(value, Order(order), access.info);
  }

  bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                             std::memory_order failure,
                             const char* file = __builtin_FILE(),
                             unsigned line = __builtin_LINE()) {
    return Swap<true>(expected, desired, success, failure, file, line);
  }
  bool compare_exchange_weak(
      T& expected, T desired,
      std::memory_order order = std::memory_order::seq_cst,
      const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
    return Swap<true>(expected, desired, order, OfFailure(order), file, line);
  }
  bool compare_exchange_strong(T& expected, T desired,
                               std::memory_order success,
                               std::memory_order failure,
                               const char* file = __builtin_FILE(),
                               unsigned line = __builtin_LINE()) {
    return Swap<false>(expected, desired, success, failure, file, line);
  }
  bool compare_exchange_strong(
      T& expected, T desired,
      std::memory_order order = std::memory_order::seq_cst,
      const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
    return Swap<false>(expected, desired, order, OfFailure(order), file, line);
  }

 private:
  // Around each access: a signal may come before it, and other threads may run
  // unless it is a statistic.
  struct Access {
    Access(const char* file, unsigned line)
        : info("", BaseName(file), line),
          statistic(std::strcmp(info.file_, "counters.h") == 0) {
      if (statistic) {
        rl::ctx().disable_preemption();
      } else {
        DeliverSignal();
      }
    }
    ~Access() {
      if (statistic) rl::ctx().enable_preemption();
    }
    const rl::debug_info info;
    const bool statistic;
  };

  static const char* BaseName(const char* path) {
    const char* slash = std::strrchr(path, '/');
    return slash == nullptr ? path : slash + 1;
  }

  static constexpr rl::memory_order Order(std::memory_order order) {
    switch (order) {
      case std::memory_order::relaxed:
        return rl::mo_relaxed;
      case std::memory_order::consume:
        return rl::mo_consume;
      case std::memory_order::acquire:
        return rl::mo_acquire;
      case std::memory_order::release:
        return rl::mo_release;
      case std::memory_order::acq_rel:
        return rl::mo_acq_rel;
      case std::memory_order::seq_cst:
        break;
    }
    return rl::mo_seq_cst;
  }
  static constexpr std::memory_order OfFailure(std::memory_order success) {
    if (success == std::memory_order::acq_rel) {
      return std::memory_order::acquire;
    }
    if (success == std::memory_order::release) {
      return std::memory_order::relaxed;
    }
    return success;
  }

  static Word ToWord(T value) { return (Word)value; }
  static T FromWord(Word word) { return (T)word; }

  template <bool kWeak>
  bool Swap(T& expected, T desired, std::memory_order success,
            std::memory_order failure, const char* file, unsigned line) {
    const Access access(file, line);
    rl::context& context = rl::ctx();
    Word word = ToWord(expected);
    if (context.is_random_sched() && rl::rand(4) == 0) {
      const Word old = word_.load(Order(failure), access.info);
      if (old != word) {
        expected = FromWord(old);
        return false;
      }
    }
    if (word_.compare_exchange(rl::bool_t<kWeak>(), word, ToWord(desired),
                               Order(success), rl::mo_relaxed, access.info)) {
      return true;
    }
    // Relacy has no failure order stronger than that of success. So read again
    // what the failed operation has read.
    context.disable_preemption();
    word = word_.load(Order(failure), access.info);
    context.enable_preemption();
    expected = FromWord(word);
    return false;
  }

  rl::atomic<Word> word_;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_SCHEDULE_RELACY_ATOMIC_H_
