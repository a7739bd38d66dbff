#ifndef TANDEM_TESTS_SESSION_LINEARIZATION_H_
#define TANDEM_TESTS_SESSION_LINEARIZATION_H_

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "tandem/tests/session/history.h"
#include "tandem/tests/spec/sequential_pool.h"

namespace tandem {

// Looks for an order of a history's steps, each at some moment of the operation
// that it belongs to, in which SequentialPool allows every one: a search after
// J. Wing and C. Gong, "Testing and Verifying Concurrent Objects" (JPDC 1993),
// that remembers visited states.
//
// An operation is one step, or several: a failed look, giving back an empty
// buffer, joining a class. Serving a waiter is a step of its own, between the
// waiter's joining and its wake-up (S4):
//
// - The first of a class is served, and no class is overtaken, except by a
//   serving thread that began before the overtaken waiter had surely joined: it
//   may already have chosen its waiter.
// - Whenever no operation is in progress, no waiter waits that could be served.
// - A class is due when it has been overtaken often enough (S8). The library
//   counts that a moment after it happened. So where operations overlap, the
//   count may be anything; once it starts again among operations of which each
//   is alone, it is exact. A waiter that came first may join later.
//
// A look may fail although there are enough by the count, except for what may
// be in the hands of operations in progress (P3): a batch of another thread's
// cache, or buffers on their way to a waiter. An allocation may be refused for
// too many waiters although fewer wait, by one for each other thread's
// operation in progress: a waiter that is about to join, or that was just
// served or cancelled (S7).
class Linearization {
 public:
  // `history` must outlive this object.
  explicit Linearization(const History& history);

  // True if there is such an order.
  bool Exists() { return Search(State(history_.rules, ops_.size())); }

  size_t states() const { return seen_.size(); }
  // The longest order that was tried: operations, and the state.
  const std::string& furthest() const { return furthest_; }

 private:
  using Waiter = History::Waiter;

  struct Step {
    enum Kind {
      kTake,    // n buffers, rank, keep: granted
      kFail,    // the same: not granted
      kReturn,  // n buffers
      kCome,    // `wait` comes, to join soon
      kLink,    // `wait` joins class `rank`
      kServed,  // `wait` has been served
      kLinked,  // `wait` waits
      kLeft,    // `wait` was cancelled
      kUnlink,  // what thread n's session waits for is cancelled
      kNoWait,  // thread n's session does not wait
      kFull,    // no more of class `rank` may wait
    };
    Kind kind;
    size_t rank = 0;
    uint32_t n = 0;
    uint32_t keep = 0;
    Waiter wait = History::kNoWait;
  };
  using Story = std::vector<Step>;

  // One operation, and what may have happened in it.
  struct Op {
    std::vector<Story> stories;
    uint64_t begin;
    uint64_t end;
    uint32_t slack;   // most that others may have had in their hands meanwhile
    uint32_t beside;  // other threads that did something meanwhile
  };

  // An observation at one moment.
  struct Sight {
    uint64_t time;
    Waiter wait;  // has been served; kNoWait: nobody can be served
    // If so: whether operations overlapped since the last such moment.
    bool crowded = false;
  };

  struct State {
    State(const SequentialPool::Rules& rules, size_t threads)
        : pool(rules), threads(threads) {}

    struct Progress {
      uint8_t op = 0;
      uint8_t story = 0;
      uint8_t step = 0;
    };
    SequentialPool pool;
    std::vector<Progress> threads;
    size_t sights = 0;
    std::bitset<512> joined;
  };

  std::vector<Story> StoriesOf(const History::Operation& op) const;
  Story Take(size_t id, History::Result result, Waiter wait,
             bool at_once) const;
  // The longest possible time in which a waiter waited.
  void AddWaits();
  bool SomebodyWaitedDuring(const History::Operation& op) const;
  uint32_t SlackOf(size_t thread, const History::Operation& op) const;
  uint32_t ThreadsBeside(size_t thread, const History::Operation& op) const;
  void AddSights();
  uint64_t BeginOfServer(const History::Fate& fate, Waiter wait) const;

  // True if some order leads from `state` to the end.
  bool Search(const State& state);
  bool TryStep(const State& state, size_t thread, size_t story);
  bool TryServe(const State& state, size_t id);
  // Other counts of overtakes, if they may be anything.
  bool TryRecounts(const State& state);
  // Takes the step. False if it is not possible now.
  bool Apply(State& state, const Step& step, const Op& op) const;
  // True if one more of this class may wait (S7).
  bool HasRoom(const SequentialPool& pool, size_t id) const;
  bool WasServed(const State& state, Waiter wait) const;
  std::optional<Waiter> WaitOf(const State& state, size_t thread) const;
  bool MayGoFirst(const State& state, size_t id, Waiter wait) const;
  std::string KeyOf(const State& state) const;
  void NoteFurthest(const State& state);

  const History& history_;
  std::vector<std::vector<Op>> ops_;
  std::vector<Sight> sights_;
  std::vector<std::pair<uint64_t, uint64_t>> waits_;
  // The end of the operation that began a wait, and the beginning of the one
  // that served it.
  std::array<uint64_t, 512> joined_by_{};
  std::array<uint64_t, 512> server_since_{};
  std::unordered_set<std::string> seen_;
  size_t most_done_ = 0;
  std::string furthest_;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_SESSION_LINEARIZATION_H_
