#ifndef TANDEM_TESTS_SESSION_PLAYER_H_
#define TANDEM_TESTS_SESSION_PLAYER_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/session/history.h"
#include "tandem/tests/support/service.h"

namespace tandem {

// Keeps the processor busy for a moment.
inline void Linger(unsigned turns) {
  for (; turns > 0; --turns) asm volatile("");
}

// One thread's part in a history: a session, raw buffers, and the thread's
// operations on them.
class Player {
 public:
  // Begins a history.
  static void ResetClock() { ticks_ = 0; }

  Player(Service& service, size_t self, bool waits)
      : pool_(service.pool()),
        session_(service.sessions()),
        self_(self),
        waits_(waits),
        notes_(History::kWaitsOfThread) {}

  // Does `count` operations, at the same time as the other players, whose waits
  // it may cancel.
  void Play(uint64_t seed, size_t count,
            std::span<const std::unique_ptr<Player>> all) {
    this_player_ = self_;
    random_.seed(seed);
    while (operations_.size() < count) {
      Linger(random_() % 64);
      waiting_ ? StepOfWaiter(all) : Step(all);
    }
  }

  // Adds Play's operations and the states of its waits to the history. Not
  // while others play.
  void Tell(History& history) {
    if (waiting_) {
      const WaitStatus status = session_.FinishWait();
      if (status == WaitStatus::kGranted) served_.push_back(wait_);
      if (status == WaitStatus::kCancelled) cancelled_.push_back(wait_);
    }
    for (const History::Waiter wait : at_once_) {
      history.fates[wait] = {.served = true};
      EXPECT_EQ(NoteOf(wait).calls, 0) << "wait " << wait;
    }
    for (const History::Waiter wait : served_) {
      const Note& note = NoteOf(wait);
      history.fates[wait] = {
          .served = true, .woken = note.time, .server = note.server};
      EXPECT_EQ(note.calls, 1) << "wait " << wait;
    }
    for (const History::Waiter wait : cancelled_) {
      history.fates[wait] = {.served = false};
      EXPECT_EQ(NoteOf(wait).calls, 0) << "wait " << wait;
    }
    history.threads.push_back(operations_);
  }
  // Ends what Play has left. Must come after all players have told their part.
  void ReturnAll() {
    session_.CancelWait();
    session_.FinishWait();
    for (const Side side : kSides) Drain(session_, side);
    session_.ReleaseBuffers();
    pool_.ReleaseMany(raw_);
  }

 private:
  using Operation = History::Operation;
  using Kind = History::Kind;
  using Result = History::Result;

  // seq_cst: if an operation ended before another began, the second sees all
  // that the first did.
  static uint64_t Tick() { return ticks_.fetch_add(2) + 2; }

  // The result of one wait.
  struct Note {
    int calls = 0;
    uint64_t time = 0;
    size_t server = 0;
  };
  static void Wake(void* context) noexcept {
    Note& note = *static_cast<Note*>(context);
    ++note.calls;
    note.server = this_player_;
    note.time = Tick();
  }
  Note& NoteOf(History::Waiter wait) {
    return notes_[(wait - 1) % History::kWaitsOfThread];
  }

  // Runs and records one operation; `call` returns how it ended.
  template <class Call>
  Result Record(Operation operation, Call call) {
    operation.begin = Tick();
    operation.result = call();
    operation.end = Tick();
    operations_.push_back(operation);
    return operation.result;
  }
  static Result Of(bool done) { return done ? Result::kDone : Result::kFailed; }
  static Result Of(Allocation allocation) {
    switch (allocation) {
      case Allocation::kWaiting:
        return Result::kWaiting;
      case Allocation::kOverloaded:
        return Result::kOverloaded;
      default:
        return Of(allocation == Allocation::kGranted);
    }
  }

  void Step(std::span<const std::unique_ptr<Player>> all) {
    switch (random_() % 10) {
      case 0:
        return Acquire(1 + random_() % 3);
      case 1:
      case 2:
        return Release(1 + random_() % 2);
      case 3:
      case 4:
        return Receive(kSides[random_() % 2]);
      case 5:
      case 6:
        return Pair();
      case 7:
        return Cancel(random_() % all.size(), all);
      default:
        return ReleaseSession();
    }
  }

  void StepOfWaiter(std::span<const std::unique_ptr<Player>> all) {
    switch (random_() % 8) {
      case 0:
        return Acquire(1);
      case 1:
        return Release(1 + random_() % 2);
      case 2:
        return Cancel(self_, all);
      case 3:
        return Cancel(random_() % all.size(), all);
      default:
        return Finish();
    }
  }

  void Acquire(size_t n) {
    std::array<std::byte*, 3> storage;
    const auto out = std::span(storage).first(n);
    if (Record({.kind = Kind::kAcquire, .count = static_cast<uint32_t>(n)},
               [&] { return Of(pool_.AcquireMany(out)); }) == Result::kDone) {
      raw_.insert(raw_.end(), out.begin(), out.end());
    }
  }

  void Release(size_t n) {
    n = std::min(n, raw_.size());
    if (n == 0) return;
    const std::span<std::byte* const> out = std::span(raw_).last(n);
    Record({.kind = Kind::kRelease, .count = static_cast<uint32_t>(n)}, [&] {
      pool_.ReleaseMany(out);
      return Result::kDone;
    });
    raw_.resize(raw_.size() - n);
  }

  // The waker of the next wait, if this operation may wait.
  std::optional<Waker> ChooseWaker(Operation& operation) {
    if (!waits_ || random_() % 4 == 0) return std::nullopt;
    operation.wait = wait_ = History::WaitOf(self_, next_wait_++);
    return Waker{Wake, &NoteOf(wait_)};
  }
  void AfterAllocation(const Operation& operation, Result result) {
    if (operation.wait == History::kNoWait) return;
    waiting_ = result == Result::kWaiting;
    if (result == Result::kDone) at_once_.push_back(operation.wait);
  }

  void Receive(Side side) {
    if (session_.has_buffer(side)) return;
    Operation operation{.kind = Kind::kReceive};
    const std::optional<Waker> waker = ChooseWaker(operation);
    const Result result = Record(operation, [&] {
      return Of(waker ? session_.AllocateReceiveBuffer(side, *waker)
                      : session_.AllocateReceiveBuffer(side));
    });
    AfterAllocation(operation, result);
    if (result == Result::kDone && random_() % 2 == 0) Fill(session_, side);
  }

  void Pair() {
    Operation operation{.kind = Kind::kPair};
    for (const Side side : kSides) {
      if (!session_.has_buffer(side)) continue;
      ++operation.held;
      if (session_.ring(side).empty()) ++operation.empty;
    }
    if (operation.held == 2) return;
    const std::optional<Waker> waker = ChooseWaker(operation);
    const Result result = Record(operation, [&] {
      return Of(waker ? session_.AllocateBuffers(*waker)
                      : session_.AllocateBuffers());
    });
    AfterAllocation(operation, result);
  }

  void ReleaseSession() {
    uint32_t idle = 0;
    for (const Side side : kSides) {
      if (random_() % 2 == 0) Drain(session_, side);
      if (session_.has_buffer(side) && session_.ring(side).empty()) ++idle;
    }
    if (idle == 0) return;
    Record({.kind = Kind::kRelease, .count = idle}, [&] {
      session_.ReleaseBuffers();
      return Result::kDone;
    });
  }

  void Finish() {
    const Result result =
        Record({.kind = Kind::kFinishWait, .wait = wait_}, [&] {
          switch (session_.FinishWait()) {
            case WaitStatus::kGranted:
              return Result::kDone;
            case WaitStatus::kWaiting:
              return Result::kWaiting;
            default:
              return Result::kCancelled;
          }
        });
    if (result == Result::kWaiting) return;
    waiting_ = false;
    (result == Result::kDone ? served_ : cancelled_).push_back(wait_);
  }

  void Cancel(size_t whose, std::span<const std::unique_ptr<Player>> all) {
    if (!waits_) return;
    Record({.kind = Kind::kCancel, .count = static_cast<uint32_t>(whose)},
           [&] { return Of(all[whose]->session_.CancelWait()); });
  }

  static inline std::atomic<uint64_t> ticks_{0};
  static inline thread_local size_t this_player_ = SIZE_MAX;

  BufferPool& pool_;
  SessionBuffers session_;
  const size_t self_;
  const bool waits_;
  std::minstd_rand random_;
  std::vector<std::byte*> raw_;
  std::vector<Operation> operations_;
  bool waiting_ = false;
  History::Waiter wait_ = History::kNoWait;  // the last one
  size_t next_wait_ = 0;
  std::vector<Note> notes_;
  std::vector<History::Waiter> at_once_, served_, cancelled_;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_SESSION_PLAYER_H_
