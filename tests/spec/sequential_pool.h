#ifndef TANDEM_TESTS_SPEC_SEQUENTIAL_POOL_H_
#define TANDEM_TESTS_SPEC_SEQUENTIAL_POOL_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace tandem {

// The pool and its session layer as users see them, in the simplest form: a
// count of free buffers, and for each class the waiters, in order. There are no
// threads, no caches and no buffers, and one operation follows another. Real
// runs are compared with it (P3, S1, S2, S4, S5, S7, S8).
//
// An operation of the library is one or more of these steps. The caller says
// which, and when waiters are served.
class SequentialPool {
 public:
  struct Class {
    uint32_t need;
    uint32_t keep;
  };
  struct Rules {
    uint32_t capacity;
    std::vector<Class> classes;  // in order of rank; the first is complete
    uint32_t max_waiters;        // completes apart
    // Unset: no class is ever due.
    std::optional<uint32_t> max_overtakes;
  };

  // The name of a wait, which the caller gives.
  using Waiter = uint16_t;

  // For callers without a session: after all classes.
  static constexpr size_t kRaw = 255;

  // `rules` must outlive it and its copies.
  explicit SequentialPool(const Rules& rules)
      : rules_(&rules), free_(rules.capacity), lines_(rules.classes.size()) {}

  const Rules& rules() const { return *rules_; }
  // Free buffers, wherever they lie.
  uint32_t free() const { return free_; }

  // Whether an allocation of this rank, a class or kRaw, has to wait its turn.
  bool MustWait(size_t rank) const;

  // Takes n buffers if it is this rank's turn and `keep` remain; otherwise
  // returns false and changes nothing. Take(id) takes what the class needs.
  bool Take(size_t rank, uint32_t n, uint32_t keep);
  bool Take(size_t id) {
    return Take(id, rules_->classes[id].need, rules_->classes[id].keep);
  }

  // Gives n buffers back, and serves no waiter. False, with no effect, if fewer
  // are out.
  bool Return(uint32_t n);

  // True if no further waiter of this class may join.
  bool IsFull(size_t id) const;

  // The waiter comes now and joins its class later, perhaps after waiters that
  // come later: between classes the order of coming counts. A waiter for which
  // this is not called comes when it joins.
  void Come(Waiter waiter) { coming_.push_back({waiter, arrivals_++}); }
  // Joins the class, last.
  void Link(size_t id, Waiter waiter);
  // Leaves. False if no waiter has this name.
  bool Unlink(Waiter waiter);
  bool IsWaiting(Waiter waiter) const;

  // The waiter to serve next; none if there are too few buffers for the
  // first one.
  std::optional<Waiter> Next() const;
  // Serves the next waiter. There must be one.
  Waiter ServeNext();

  // The first waiter of a class, if there are enough buffers for it, whatever
  // else waits.
  std::optional<Waiter> NextOf(size_t id) const;
  // Serves it.
  Waiter ServeNextOf(size_t id);

  size_t waiting() const;
  size_t waiting(size_t id) const { return lines_[id].queue.size(); }
  // Calls visit(waiter) for every waiter of a class, in order.
  template <class Visit>
  void VisitWaiters(size_t id, Visit visit) const {
    for (const Arrival& arrival : lines_[id].queue) visit(arrival.waiter);
  }

  // The class whose first waiter goes before all others, if there is one.
  std::optional<size_t> FirstLine() const;
  // Sets how often a class has been overtaken.
  void SetOvertaken(size_t id, uint32_t times) { lines_[id].overtaken = times; }

  // Appends a text that distinguishes this state from others.
  void AppendKey(std::string& key) const;

  // "3 free; complete: ; pair: 4 2; receive: 1", classes by number.
  std::string ToString() const;

 private:
  struct Arrival {
    Waiter waiter;
    uint64_t number;
  };
  struct Line {
    std::deque<Arrival> queue;
    uint32_t overtaken = 0;  // since one of it was last served
  };

  bool IsDue(const Line& line) const {
    return rules_->max_overtakes && line.overtaken >= *rules_->max_overtakes;
  }

  // The waiters that came before it.
  size_t CountBefore(const Arrival& arrival) const;

  const Rules* rules_;
  uint32_t free_;
  std::vector<Line> lines_;
  std::vector<Arrival> coming_;
  uint64_t arrivals_ = 0;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_SPEC_SEQUENTIAL_POOL_H_
