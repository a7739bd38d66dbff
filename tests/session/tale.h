#ifndef TANDEM_TESTS_SESSION_TALE_H_
#define TANDEM_TESTS_SESSION_TALE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "tandem/tests/session/history.h"
#include "tandem/tests/session/linearization.h"

namespace tandem {

// Operations for a tale.
inline History::Operation Acquire(uint32_t n) {
  return {.kind = History::Kind::kAcquire, .count = n};
}
inline History::Operation Release(uint32_t n) {
  return {.kind = History::Kind::kRelease, .count = n};
}
inline History::Operation Receive() {
  return {.kind = History::Kind::kReceive};
}
inline History::Operation Pair(uint32_t held = 0, uint32_t empty = 0) {
  return {.kind = History::Kind::kPair, .held = held, .empty = empty};
}
inline History::Operation Finish() {
  return {.kind = History::Kind::kFinishWait};
}
inline History::Operation Cancel(size_t whose) {
  return {.kind = History::Kind::kCancel,
          .count = static_cast<uint32_t>(whose)};
}
// The same, if it cannot be met at once. The tale names the wait.
inline History::Operation OrWait(History::Operation operation) {
  operation.wait = History::WaitOf(0, 0);
  return operation;
}

// A history, told in order: each call adds what happens after the
// earlier calls.
class Tale {
 public:
  using Kind = History::Kind;
  using Operation = History::Operation;
  using Result = History::Result;

  struct Setting {
    uint32_t capacity;
    uint32_t reserve = 0;
    uint32_t batch = 0;
    uint32_t max_waiters = 100;
    std::optional<uint32_t> max_overtakes = std::nullopt;
  };

  explicit Tale(const Setting& setting) {
    history_.rules = {.capacity = setting.capacity,
                      .classes = {{1, 0}, {2, 0}, {1, setting.reserve}},
                      .max_waiters = setting.max_waiters,
                      .max_overtakes = setting.max_overtakes};
    history_.batch = setting.batch;
    history_.threads.resize(kThreads);
  }

  void Begins(size_t thread, Operation operation) {
    if (operation.wait != History::kNoWait) {
      waits_[thread] = History::WaitOf(thread, next_wait_[thread]++);
    }
    const bool waits = operation.wait != History::kNoWait ||
                       operation.kind == Kind::kFinishWait;
    if (waits) operation.wait = waits_[thread];
    operation.begin = now_ += 2;
    history_.threads[thread].push_back(operation);
  }
  void Ends(size_t thread, Result result = Result::kDone) {
    Operation& operation = history_.threads[thread].back();
    operation.result = result;
    operation.end = now_ += 2;
    if (result != Result::kDone) return;
    if (operation.kind == Kind::kCancel) {
      history_.fates.try_emplace(waits_[operation.count]);
    } else if (operation.wait != History::kNoWait) {
      history_.fates.try_emplace(operation.wait).first->second.served = true;
    }
  }
  void Does(size_t thread, const Operation& operation,
            Result result = Result::kDone) {
    Begins(thread, operation);
    Ends(thread, result);
  }
  // Within an operation of `server`.
  void Wakes(size_t server, size_t whose) {
    history_.fates[waits_[whose]] = {
        .served = true, .woken = now_ += 2, .server = server};
  }
  // Releases n buffers and wakes waiters.
  void ReleasesAndWakes(size_t thread, uint32_t n, size_t whose) {
    Begins(thread, Release(n));
    Wakes(thread, whose);
    Ends(thread);
  }

  bool IsAllowed() const { return Linearization(history_).Exists(); }

 private:
  static constexpr size_t kThreads = 4;

  History history_;
  uint64_t now_ = 0;
  std::array<History::Waiter, kThreads> waits_ = {};  // the last of each thread
  std::array<size_t, kThreads> next_wait_ = {};
};

}  // namespace tandem

#endif  // TANDEM_TESTS_SESSION_TALE_H_
