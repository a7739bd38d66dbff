#ifndef TANDEM_TESTS_SESSION_HISTORY_H_
#define TANDEM_TESTS_SESSION_HISTORY_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tandem/tests/spec/sequential_pool.h"

namespace tandem {

// What threads did to a pool at the same time, as each thread saw its own
// operations. Times are ticks of one counter: an operation that ended before
// another began has the smaller one.
struct History {
  using Waiter = SequentialPool::Waiter;
  static constexpr Waiter kNoWait = 0;

  enum class Kind {
    kAcquire,     // `count` buffers, raw
    kRelease,     // `count` buffers, raw or a session's
    kReceive,     // one for a session
    kPair,        // what is missing to a session's two
    kFinishWait,  // of `wait`
    kCancel,      // what the session of thread `count` waits for
  };
  // kOverloaded: it was to wait, and too many waited.
  enum class Result { kFailed, kDone, kWaiting, kCancelled, kOverloaded };

  struct Operation {
    Kind kind;
    uint32_t count = 0;
    // kPair: buffers that the session had, and those of them with no data.
    uint32_t held = 0;
    uint32_t empty = 0;
    // The wait that it begins if it cannot be met, or ends; kNoWait for none.
    Waiter wait = kNoWait;
    Result result = Result::kFailed;
    uint64_t begin = 0;
    uint64_t end = 0;
  };

  // How a wait ended. Waits whose end no thread was told of are not here.
  struct Fate {
    bool served = false;  // else cancelled
    // When its waker was called, and in which thread's operation. 0: the
    // operation that began the wait served it.
    uint64_t woken = 0;
    size_t server = 0;
  };

  // Names of waits: the thread, and the number of its wait.
  static constexpr size_t kWaitsOfThread = 64;
  static Waiter WaitOf(size_t thread, size_t i) {
    return static_cast<Waiter>(thread * kWaitsOfThread + i + 1);
  }
  static size_t ThreadOf(Waiter wait) { return (wait - 1) / kWaitsOfThread; }

  // Every operation and wake-up, by the time it began.
  std::string ToString() const;
  // The same as an initializer, for linearization_test.
  std::string ToCode() const;

  SequentialPool::Rules rules;
  // What an operation in progress may have in its hands beside what it asked
  // for: half of a cache.
  uint32_t batch = 0;
  std::vector<std::vector<Operation>> threads;
  std::map<Waiter, Fate> fates;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_SESSION_HISTORY_H_
