#ifndef TANDEM_TESTS_SCHEDULE_EXPLORE_H_
#define TANDEM_TESTS_SCHEDULE_EXPLORE_H_

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <span>

#include "tandem/pool/buffer_map.h"
#include "tandem/pool/types.h"
#include "tandem/tests/schedule/relacy_atomic.h"
#include "tandem/tests/schedule/relacy_schedulers.h"

namespace tandem {

// Fails the current iteration, for which relacy then prints the history.
inline void Require(bool truth, const char* claim,
                    const char* file = __builtin_FILE(),
                    unsigned line = __builtin_LINE()) {
  if (truth) return;
  rl::ctx().invariant_executing = false;  // see Observation
  rl::ctx().fail_test(claim, rl::test_result_user_assert_failed,
                      {"Require", file, line});
}

// A line in the history.
inline void Note(const char* text, const char* file = __builtin_FILE(),
                 unsigned line = __builtin_LINE()) {
  rl::context& context = rl::ctx();
  if (context.collecting_history()) {
    context.exec_log({"Note", file, line}, rl::user_msg_event{text});
  }
}

// While it lives, loads read what is current, and nobody else runs: for looks
// at the truth from within a simulated thread.
class Observation {
 public:
  Observation() {
    rl::ctx().disable_preemption();
    rl::ctx().invariant_executing = true;
  }
  ~Observation() {
    rl::ctx().invariant_executing = false;
    rl::ctx().enable_preemption();
  }
  Observation(const Observation&) = delete;
  Observation& operator=(const Observation&) = delete;
};

// Something that one simulated thread waits for, outside the memory model: it
// orders nothing. If it can't come any more, the iteration fails: a dead-lock.
class Event {
 public:
  void Wait() {
    if (happened_) return;
    waiter_ = rl::thread_index();
    rl::ctx().park_current_thread(false, false, false, {"Wait", "event", 0});
  }
  void Happen() {
    if (happened_) return;
    happened_ = true;
    if (waiter_ < 0) return;
    rl::ctx().unpark_thread(waiter_, false, {"Happen", "event", 0});
  }
  bool happened() const { return happened_; }

 private:
  bool happened_ = false;
  rl::thread_id_t waiter_ = -1;
};

// Base of a test of kThreads simulated threads over a `World`, which is made
// anew for each iteration. Relacy places tests where its malloc does, which
// does not align as a World may want.
template <class Test, class World, int kThreads>
class ScheduleTest : public rl::test_suite<Test, kThreads> {
 public:
  ScheduleTest() : world_((BeginIteration(), new (Place()) World)) {
    for (int i = 0; i < kThreads; ++i) {
      fibres[i].barrier_word = &barrier_words_[i];
    }
  }
  ~ScheduleTest() { std::destroy_at(world_); }

 protected:
  World& world() { return *world_; }

 private:
  static void BeginIteration() {
    ++current_iteration;
    barriers_may_fail = false;
    fibres.fill({});
  }
  void* Place() {
    void* place = storage_;
    size_t space = sizeof(storage_);
    return std::align(alignof(World), sizeof(World), place, space);
  }

  std::array<RelacyAtomic<uint32_t>, kThreads> barrier_words_;
  std::byte storage_[sizeof(World) + alignof(World)];
  World* const world_;
};

// Sanitizers make it slow and have nothing to find that relacy does not.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr double kSlowness = 20;
#else
inline constexpr double kSlowness = 1;
#endif

// TANDEM_SCHEDULE_ITERATIONS multiplies what every test explores.
inline uint64_t Scaled(uint64_t iterations) {
  const char* factor = std::getenv("TANDEM_SCHEDULE_ITERATIONS");
  const double scaled = static_cast<double>(iterations) / kSlowness *
                        (factor == nullptr ? 1 : std::atof(factor));
  return std::max<uint64_t>(1, static_cast<uint64_t>(scaled));
}

// Runs Test under Scheduler; if an iteration fails, once more to print it.
template <class Test, class Scheduler>
void Explore(rl::test_params params) {
  std::ostream nowhere(nullptr);
  params.progress_stream = &nowhere;
  params.execution_depth_limit = 20000;
  rl::ostringstream failed_state;
  const auto start = std::chrono::steady_clock::now();
  const rl::test_result_e result =
      rl::run_test<Test, Scheduler>(params, failed_state, false);
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - start;
  std::cout << params.stop_iteration << " schedules in " << took.count()
            << " s\n";
  if (result == rl::test_result_success) return;
  params.initial_state = failed_state.str();
  params.collect_history = true;
  rl::ostringstream ignored;
  rl::run_test<Test, Scheduler>(params, ignored, true);
  ADD_FAILURE() << rl::test_result_str(result) << " in schedule "
                << params.stop_iteration << "; its history is above";
}

template <class Test>
void ExploreAtRandom(uint64_t iterations) {
  rl::test_params params;
  params.search_type = rl::random_scheduler_type;
  params.iteration_count = Scaled(iterations);
  Explore<Test, BurstScheduler<Test::params::thread_count>>(params);
}

// Every schedule with at most `preemptions`, up to a number of them.
template <class Test>
void ExploreAll(unsigned preemptions, uint64_t at_most) {
  rl::test_params params;
  params.search_type = rl::fair_context_bound_scheduler_type;
  params.context_bound = preemptions;
  params.iteration_count = Scaled(at_most);
  Explore<Test, BoundedSearch<Test::params::thread_count>>(params);
}

// Addresses for buffers that nobody touches.
inline BufferMap PretendedMap(uint32_t capacity) {
  return BufferMap(reinterpret_cast<std::byte*>(kCacheLine), kCacheLine,
                   capacity, "pretended");
}

// Who holds which of kBuffers buffers, as plain facts outside the memory model,
// and a word in each buffer that only its holder touches: a hand-over that does
// not carry "what the last holder did comes before" is a data race on it.
template <size_t kBuffers>
class Custody {
 public:
  Custody() { holders_.fill(kNobody); }

  void Take(std::span<std::byte* const> buffers) {
    for (std::byte* const buffer : buffers) TakeOne(map_.Find(buffer));
  }
  void Take(std::span<const BufferIndex> buffers) {
    for (const BufferIndex buffer : buffers) TakeOne(buffer);
  }

  void Give(std::span<std::byte* const> buffers) {
    for (std::byte* const buffer : buffers) GiveOne(map_.Find(buffer));
  }
  void Give(std::span<const BufferIndex> buffers) {
    for (const BufferIndex buffer : buffers) GiveOne(buffer);
  }

  size_t held(unsigned thread) const { return held_[thread]; }
  size_t held() const {
    size_t sum = 0;
    for (const size_t held : held_) sum += held;
    return sum;
  }

 private:
  static constexpr unsigned kNobody = ~0u;

  void TakeOne(BufferIndex buffer) {
    const auto i = static_cast<uint32_t>(buffer);
    Require(i < kBuffers, "what was taken is a buffer");
    Require(holders_[i] == kNobody, "a buffer has one holder");
    holders_[i] = rl::thread_index();
    Touch(i);
    ++held_[rl::thread_index()];
  }
  void GiveOne(BufferIndex buffer) {
    const auto i = static_cast<uint32_t>(buffer);
    Touch(i);
    holders_[i] = kNobody;
    --held_[rl::thread_index()];
  }

  void Touch(uint32_t i) {
    contents_[i]({"Touch", "buffer", i}).store(rl::thread_index());
  }

  const BufferMap map_ = PretendedMap(kBuffers);
  std::array<unsigned, kBuffers> holders_;
  std::array<size_t, kMaxFibres> held_{};
  std::array<rl::var<unsigned>, kBuffers> contents_;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_SCHEDULE_EXPLORE_H_
