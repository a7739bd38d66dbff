#ifndef TANDEM_TESTS_SCHEDULE_EXPLORE_H_
#define TANDEM_TESTS_SCHEDULE_EXPLORE_H_

#include <errno.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "tandem/pool/buffer_map.h"
#include "tandem/pool/types.h"
#include "tandem/tests/schedule/relacy_atomic.h"
#include "tandem/tests/schedule/relacy_schedulers.h"

namespace tandem {

// Fails the current iteration. Relacy then prints its history.
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

// While it lives, loads read the newest values, and no other simulated thread
// runs. It is for checks within a simulated thread.
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

// An event that a simulated thread waits for, outside the memory model:
// it orders nothing. If the event can no longer come, the iteration
// fails: a deadlock.
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

// Base of a test of kThreads simulated threads over a `World`, which is created
// for each iteration. Relacy allocates tests by its own malloc, whose alignment
// may be too small for a World.
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

// Sanitizers make it slow, and find nothing that relacy does not find.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr double kSlowness = 20;
#else
inline constexpr double kSlowness = 1;
#endif

// TANDEM_SCHEDULE_ITERATIONS: a factor for the random schedules of every test.
inline double IterationsFactor() {
  const char* factor = std::getenv("TANDEM_SCHEDULE_ITERATIONS");
  return factor == nullptr ? 1 : std::atof(factor);
}
inline uint64_t Scaled(uint64_t iterations) {
  const double scaled =
      static_cast<double>(iterations) / kSlowness * IterationsFactor();
  return std::max<uint64_t>(1, static_cast<uint64_t>(scaled));
}

// A test may explore more than once. TANDEM_SCHEDULE_REPLAY="2/SCHEDULE" makes
// the second exploration of each test run that schedule, with its history, and
// nothing else. A failure prints the command line that sets it.
class Exploration {
 public:
  // "1/", "2/" and so on within a test.
  static Exploration Next() {
    static const testing::TestInfo* last_test = nullptr;
    static int number = 0;
    const testing::TestInfo* test =
        testing::UnitTest::GetInstance()->current_test_info();
    number = test == last_test ? number + 1 : 1;
    last_test = test;
    return Exploration(*test, std::to_string(number) + "/");
  }

  std::string name() const { return prefix_ + test_.name(); }

  // The schedule to run, if it is this exploration's turn.
  std::optional<std::string> replay() const {
    const char* const text = Text();
    if (text == nullptr || std::string(text).find(prefix_) != 0) return {};
    return std::string(text).substr(prefix_.size());
  }
  // It is another exploration's turn.
  bool skipped() const { return Text() != nullptr && !replay(); }

  std::string CommandTo(const std::string& schedule) const {
    return std::string("bazel test -c opt --test_output=all --test_filter=") +
           test_.test_suite_name() + "." + test_.name() +
           " --test_env=TANDEM_SCHEDULE_REPLAY=" + prefix_ + schedule +
           " //tests/schedule:" + program_invocation_short_name;
  }

 private:
  Exploration(const testing::TestInfo& test, std::string prefix)
      : test_(test), prefix_(std::move(prefix)) {}

  static const char* Text() { return std::getenv("TANDEM_SCHEDULE_REPLAY"); }

  const testing::TestInfo& test_;
  const std::string prefix_;
};

// Runs one schedule of Test; relacy prints its history if it fails.
template <class Test, class Scheduler>
rl::test_result_e RunOne(rl::test_params params, std::string schedule) {
  params.iteration_count = std::strtoull(schedule.c_str(), nullptr, 10);
  params.collect_history = true;
  std::ranges::replace(schedule, '@', ' ');
  params.initial_state = schedule.c_str();
  rl::ostringstream ignored;
  return rl::run_test<Test, Scheduler>(params, ignored, false);
}

// Runs Test under Scheduler. If a schedule fails, runs it once more, to print
// its history and the command that replays it. A schedule's name is its number,
// and what the scheduler adds: "17" or "17@ADDED".
template <class Test, class Scheduler>
void Explore(rl::test_params params, const std::string& kind) {
  const Exploration exploration = Exploration::Next();
  if (exploration.skipped()) return;
  std::ostream nowhere(nullptr);
  params.progress_stream = &nowhere;
  params.execution_depth_limit = 20000;
  if (const auto replay = exploration.replay()) {
    const rl::test_result_e result = RunOne<Test, Scheduler>(params, *replay);
    EXPECT_EQ(result, rl::test_result_success)
        << rl::test_result_str(result) << "; its history is above";
    return;
  }
  rl::ostringstream state;
  const auto start = std::chrono::steady_clock::now();
  const rl::test_result_e result =
      rl::run_test<Test, Scheduler>(params, state, false);
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - start;
  if (result == rl::test_result_success) {
    std::cout << exploration.name() << ": " << params.stop_iteration << ' '
              << kind << ", " << took.count() << " s" << std::endl;
    return;
  }
  std::string schedule(state.str().c_str());
  schedule.erase(schedule.find_last_not_of(' ') + 1);
  std::ranges::replace(schedule, ' ', '@');
  EXPECT_EQ((RunOne<Test, Scheduler>(params, schedule)), result)
      << "the schedule depends on what is not in it";
  ADD_FAILURE() << rl::test_result_str(result) << " in schedule "
                << params.stop_iteration
                << "; its history is above. Once more:\n    "
                << exploration.CommandTo(schedule);
}

template <class Test>
void ExploreAtRandom(uint64_t iterations) {
  rl::test_params params;
  params.search_type = rl::random_scheduler_type;
  params.iteration_count = Scaled(iterations);
  Explore<Test, BurstScheduler<Test::params::thread_count>>(
      params, "schedules at random");
}

// Runs every schedule within `bound`, with one preemption less under
// sanitizers. Fails if there are too many to try all.
template <class Test>
void ExploreAll(SearchBound bound) {
  if (kSlowness > 1 && bound.preemptions > 1) --bound.preemptions;
  search_bound = bound;
  search_was_whole = true;  // unless there is a search
  rl::test_params params;
  params.search_type = rl::fair_context_bound_scheduler_type;
  params.iteration_count = 20'000'000;
  Explore<Test, BoundedSearch<Test::params::thread_count>>(
      params, "schedules, all of at most " + std::to_string(bound.preemptions) +
                  " preemptions and " + std::to_string(bound.surprises) +
                  " surprises");
  EXPECT_TRUE(search_was_whole || testing::Test::HasFailure());
}

// Addresses of buffers that no thread touches.
inline BufferMap PretendedMap(uint32_t capacity) {
  return BufferMap(reinterpret_cast<std::byte*>(kCacheLine), kCacheLine,
                   capacity, "pretended");
}

// The holders of kBuffers buffers, as plain facts outside the memory model, and
// a word in each buffer that only its holder touches. If a hand-over does not
// order the last holder's accesses before the next one's, that is a data race
// on the word.
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
