#ifndef TANDEM_TESTS_SCHEDULE_RELACY_SCHEDULERS_H_
#define TANDEM_TESTS_SCHEDULE_RELACY_SCHEDULERS_H_

#include <cstddef>
#include <cstdint>
#include <istream>
#include <ostream>

#include "tandem/tests/schedule/relacy_atomic.h"

namespace tandem {

inline constexpr int kNobodyStopped = -1;

// The simulated thread that stays stopped while any other can run.
inline int stopped_thread = kNobodyStopped;

// Chooses at random, but not uniformly. Relacy's own random scheduler switches
// at nearly every step, so no thread ever falls far behind another. But ABA and
// lost wake-ups need that. This scheduler draws for each iteration
//   - how long a thread continues, 1 to 64 steps on average, and
//   - in half of them, a thread and a step at which it is stopped: it continues
//     only when all others have finished or are blocked (P4).
template <rl::thread_id_t kThreads>
class BurstScheduler
    : public rl::scheduler<BurstScheduler<kThreads>, rl::scheduler_thread_info,
                           kThreads> {
  using Base =
      rl::scheduler<BurstScheduler, rl::scheduler_thread_info, kThreads>;

 public:
  using shared_context_t = typename Base::shared_context_t;
  struct task_t {};

  BurstScheduler(rl::test_params& params, shared_context_t& context,
                 rl::thread_id_t dynamic_threads)
      : Base(params, context, dynamic_threads) {}

  rl::thread_id_t iteration_begin_impl() {
    state_ = this->iter_ * 0x9e3779b97f4a7c15u;
    burst_ = 1u << Draw(7);
    victim_ = static_cast<int>(Draw(2 * kThreads));
    steps_to_stop_ = 1 + Draw(2u << Draw(8));
    stopped_thread = kNobodyStopped;
    return this->running_threads[Draw(this->running_threads_count)];
  }

  bool iteration_end_impl() {
    return this->iter_ == this->params_.iteration_count;
  }

  rl::thread_id_t schedule_impl(rl::unpark_reason& reason, unsigned yield) {
    reason = rl::unpark_reason_normal;
    const auto& current = *this->thread_;
    if (current.index_ == victim_ && --steps_to_stop_ == 0) {
      stopped_thread = victim_;
    }
    const rl::thread_id_t running = this->running_threads_count;
    if (running == 1 && this->running_threads[0] == stopped_thread) {
      stopped_thread = kNobodyStopped;
      victim_ = kThreads;
    }
    if (yield == 0 && current.state_ == rl::thread_state_running &&
        current.index_ != stopped_thread && Draw(burst_) != 0) {
      return current.index_;
    }
    for (;;) {
      const rl::thread_id_t chosen = this->running_threads[Draw(running)];
      if (chosen == stopped_thread) continue;
      if (chosen != current.index_) ++context_switches;
      return chosen;
    }
  }

  unsigned rand_impl(unsigned limit, rl::sched_type) { return Draw(limit); }
  rl::iteration_t iteration_count_impl() {
    return this->params_.iteration_count;
  }
  void get_state_impl(std::ostream&) {}
  void set_state_impl(std::istream&) {}
  void on_thread_block(rl::thread_id_t, bool) {}

 private:
  unsigned Draw(unsigned limit) {  // splitmix64
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return static_cast<unsigned>((z ^ z >> 31) % limit);
  }

  uint64_t state_ = 0;
  unsigned burst_ = 1;
  int victim_ = kThreads;
  unsigned steps_to_stop_ = 0;
};

// The bounds of a search, beside the values that the test itself draws, all of
// which are tried.
struct SearchBound {
  // Switches away from a thread that could have continued.
  unsigned preemptions;
  // Loads that return the value before the newest one, if the memory model
  // allows that, and weak compare-and-swaps that fail for no reason, which in
  // relacy happens once to each word.
  unsigned surprises;
};
inline SearchBound search_bound;
// Whether the last search tried every schedule within its bound.
inline bool search_was_whole = false;

// Tries every schedule within search_bound, in order, but no more than
// params.iteration_count of them. A schedule is a sequence of choices; choice 0
// is always to continue, without a surprise. The schedule's text names what
// differs from that: "12:1,40:2" is choice 1 at the thirteenth occasion and
// choice 2 at the forty-first; "-" is no difference at all.
template <rl::thread_id_t kThreads>
class BoundedSearch
    : public rl::scheduler<BoundedSearch<kThreads>, rl::scheduler_thread_info,
                           kThreads> {
  using Base =
      rl::scheduler<BoundedSearch, rl::scheduler_thread_info, kThreads>;

 public:
  using shared_context_t = typename Base::shared_context_t;
  struct task_t {};

  BoundedSearch(rl::test_params& params, shared_context_t& context,
                rl::thread_id_t dynamic_threads)
      : Base(params, context, dynamic_threads) {
    search_was_whole = false;
  }

  rl::thread_id_t iteration_begin_impl() {
    stopped_thread = kNobodyStopped;
    left_ = search_bound;
    depth_ = 0;
    return this->running_threads[Choose(this->running_threads_count)];
  }

  bool iteration_end_impl() {
    search_was_whole = !Advance();
    return search_was_whole || this->iter_ == this->params_.iteration_count;
  }

  rl::thread_id_t schedule_impl(rl::unpark_reason& reason, unsigned) {
    reason = rl::unpark_reason_normal;
    const auto& current = *this->thread_;
    const bool goes_on = current.state_ == rl::thread_state_running;
    if (goes_on && left_.preemptions == 0) return current.index_;
    unsigned choice = Choose(this->running_threads_count);
    if (!goes_on) {
      ++context_switches;
      return this->running_threads[choice];
    }
    if (choice == 0) return current.index_;
    --left_.preemptions;
    ++context_switches;
    for (rl::thread_id_t i = 0;; ++i) {
      const rl::thread_id_t other = this->running_threads[i];
      if (other != current.index_ && --choice == 0) return other;
    }
  }

  unsigned rand_impl(unsigned limit, rl::sched_type type) {
    switch (type) {
      case rl::sched_type_atomic_load:  // 0: the newest value
        return IsSurprised();
      case rl::sched_type_cas_fail:  // 0: it fails
        return !IsSurprised();
      default:
        return Choose(limit);
    }
  }
  rl::iteration_t iteration_count_impl() {
    return this->params_.iteration_count;
  }
  void get_state_impl(std::ostream& out) {
    bool any = false;
    for (size_t i = 0; i < path_.size(); ++i) {
      if (path_[i].choice == 0) continue;
      out << (any ? "," : "") << i << ':' << path_[i].choice;
      any = true;
    }
    if (!any) out << '-';
  }
  void set_state_impl(std::istream& in) {
    size_t occasion = 0;
    char between = 0;
    unsigned choice = 0;
    while (in >> occasion >> between >> choice) {
      path_.resize(occasion + 1, {kAny, 0});
      path_[occasion].choice = choice;
      in >> between;
    }
  }
  void on_thread_block(rl::thread_id_t, bool) {}

 private:
  struct Occasion {
    unsigned limit;
    unsigned choice;
  };
  static constexpr unsigned kAny = 0;

  unsigned Choose(unsigned limit) {
    if (limit == 1) return 0;
    if (depth_ == path_.size()) path_.push_back({limit, 0});
    Occasion& occasion = path_[depth_++];
    if (occasion.limit == kAny) occasion.limit = limit;
    // Otherwise the test is not deterministic, or the text belongs to
    // another test.
    RL_VERIFY(occasion.limit == limit && occasion.choice < limit);
    return occasion.choice;
  }
  bool IsSurprised() {
    if (left_.surprises == 0 || Choose(2) == 0) return false;
    --left_.surprises;
    return true;
  }

  // Goes to the next path. False if there is none.
  bool Advance() {
    while (!path_.empty() && path_.back().choice + 1 == path_.back().limit) {
      path_.pop_back();
    }
    if (path_.empty()) return false;
    ++path_.back().choice;
    return true;
  }

  // Relacy's own memory, which its operator new does not serve.
  typename rl::vector<Occasion>::type path_;
  size_t depth_ = 0;
  SearchBound left_{};
};

}  // namespace tandem

#endif  // TANDEM_TESTS_SCHEDULE_RELACY_SCHEDULERS_H_
