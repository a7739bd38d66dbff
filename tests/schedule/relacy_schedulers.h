#ifndef TANDEM_TESTS_SCHEDULE_RELACY_SCHEDULERS_H_
#define TANDEM_TESTS_SCHEDULE_RELACY_SCHEDULERS_H_

#include <cstdint>

#include "tandem/tests/schedule/relacy_atomic.h"

namespace tandem {

inline constexpr int kNobodyStopped = -1;

// The simulated thread that is stopped for as long as any other can run.
inline int stopped_thread = kNobodyStopped;

// Chooses at random, but not evenly. Relacy's own random scheduler switches at
// nearly every step, so that no thread ever falls far behind another, which is
// what ABA and lost wake-ups need. This one draws for each iteration
//   - how long a thread goes on, 1 to 64 steps on average, and
//   - in half of them, a thread and a step at which it is stopped: it goes on
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
      if (chosen != stopped_thread) return chosen;
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

// All schedules with at most params.context_bound preemptions, in order, but no
// more than params.iteration_count of them.
template <rl::thread_id_t kThreads>
class BoundedSearch
    : public rl::tree_search_scheduler<
          BoundedSearch<kThreads>,
          rl::context_bound_scheduler_thread_info<kThreads>, kThreads> {
  using Base = rl::tree_search_scheduler<
      BoundedSearch, rl::context_bound_scheduler_thread_info<kThreads>,
      kThreads>;

 public:
  using thread_info_t = typename Base::thread_info_t;
  using shared_context_t = typename Base::shared_context_t;

  BoundedSearch(rl::test_params& params, shared_context_t& context,
                rl::thread_id_t dynamic_threads)
      : Base(params, context, dynamic_threads) {}

  rl::thread_id_t iteration_begin_impl() {
    stopped_thread = kNobodyStopped;
    switches_left_ = this->params_.context_bound;
    return Base::iteration_begin_impl();
  }
  bool iteration_end_impl() {
    return Base::iteration_end_impl() ||
           this->iter_ == this->params_.iteration_count;
  }
  bool can_switch(thread_info_t&) { return switches_left_ != 0; }
  void on_switch(thread_info_t& from) {
    if (from.state_ == rl::thread_state_running) --switches_left_;
  }
  double iteration_count_approx() { return 1; }

 private:
  unsigned switches_left_ = 0;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_SCHEDULE_RELACY_SCHEDULERS_H_
