// P10: a signal handler may acquire and release, whatever it interrupts.

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <thread>

#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

constexpr uint32_t kCapacity = 48;
PoolOptions Options() {
  return {.buffer_size = 64,
          .capacity = kCapacity,
          .cache_size = 8,
          .max_threads = 4};
}

// A party that takes and returns buffers at random, marks them, and notices a
// buffer that another party holds. Async-signal-safe.
class User {
 public:
  User(BufferPool& pool, uint64_t name, uint64_t seed)
      : pool_(pool), name_(name), random_(seed * 2 + 1) {}

  void DoSomething() {
    switch (Random() % 4) {
      case 0:
        Take(1);
        break;
      case 1:
        Take(1 + Random() % 3);
        break;
      case 2:
        Return(1);
        break;
      case 3:
        Return(Random() % (held_ + 1));
        break;
    }
  }
  void ReturnAll() { Return(held_); }

  size_t held() const { return held_; }
  uint64_t errors() const { return errors_; }

 private:
  uint64_t Random() {  // xorshift64
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return random_ >> 8;
  }

  void Take(size_t count) {
    if (held_ + count > buffers_.size()) return;
    const std::span<std::byte*> out(&buffers_[held_], count);
    if (!AcquireInto(pool_, out)) return;
    for (std::byte* const buffer : out) errors_ += !Mark(buffer, name_);
    held_ += count;
  }

  void Return(size_t count) {
    if (count > held_ || count == 0) return;
    held_ -= count;
    const std::span<std::byte*> out(&buffers_[held_], count);
    for (std::byte* const buffer : out) errors_ += !Unmark(buffer, name_);
    ReleaseAll(pool_, out);
  }

  BufferPool& pool_;
  const uint64_t name_;
  uint64_t random_;
  std::array<std::byte*, 16> buffers_;
  size_t held_ = 0;
  uint64_t errors_ = 0;
};

constinit thread_local User* user_in_handler = nullptr;
std::atomic<uint64_t> signals_handled = 0;

class SignalTest : public BothWaysTest {
 protected:
  SignalTest() {
    struct sigaction action = {};
    action.sa_handler = [](int) {
      if (user_in_handler != nullptr) {
        user_in_handler->DoSomething();
        ++signals_handled;
      }
    };
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &action, nullptr);
    sigaction(SIGALRM, &action, nullptr);
    signals_handled = 0;
  }
  ~SignalTest() override {
    signal(SIGUSR1, SIG_DFL);
    signal(SIGALRM, SIG_DFL);
  }

  // Works on this thread, interrupted by a user in a handler, until `count`
  // signals have been handled in all threads. Returns errors noticed.
  uint64_t WorkUntil(uint64_t count, uint64_t name, uint64_t seed) {
    // The first use sets up the thread's state; handlers come after it.
    if (std::byte* const buffer = pool_->Acquire()) pool_->Release(buffer);
    User user(*pool_, name, seed);
    User handler(*pool_, name + 1, seed + 1);
    user_in_handler = &handler;
    while (signals_handled < count) user.DoSomething();
    user_in_handler = nullptr;
    user.ReturnAll();
    handler.ReturnAll();
    return user.errors() + handler.errors();
  }

  const std::unique_ptr<BufferPool> pool_ = NewPool(Options());
};

// P10: signals from other threads, as fast as they come.
TEST_P(SignalTest, HandlersThatAllocateLoseNothing) {
  const uint64_t seed = TestSeed();
  constexpr uint64_t kSignals = 3'000;
  std::array<Companion, 2> workers;
  std::array<pthread_t, 2> ids;
  std::array<uint64_t, 2> errors;
  for (size_t i = 0; i < workers.size(); ++i) {
    workers[i].Run([&, i] { ids[i] = pthread_self(); });
    workers[i].Start(
        [&, i] { errors[i] = WorkUntil(kSignals, 1 + 2 * i, seed + 2 * i); });
  }
  while (signals_handled < kSignals) {
    for (const pthread_t id : ids) pthread_kill(id, SIGUSR1);
  }
  for (Companion& worker : workers) worker.Wait();
  EXPECT_EQ(errors[0] + errors[1], 0u);
  ExpectAtRest(*pool_, 0);
  ExpectCanTake(*pool_, kCapacity);
}

// P10: a timer, on the only thread that uses the pool.
TEST_P(SignalTest, TimerThatAllocatesLosesNothing) {
  const uint64_t seed = TestSeed();
  const itimerval fast = {.it_interval = {.tv_sec = 0, .tv_usec = 50},
                          .it_value = {.tv_sec = 0, .tv_usec = 50}};
  ASSERT_EQ(setitimer(ITIMER_REAL, &fast, nullptr), 0);
  EXPECT_EQ(WorkUntil(500, 1, seed), 0u);
  const itimerval never = {};
  setitimer(ITIMER_REAL, &never, nullptr);
  ExpectAtRest(*pool_, 0);
  ExpectCanTake(*pool_, kCapacity);
}

INSTANTIATE_TEST_SUITE_P(Pool, SignalTest, BothWays(), BiasName);

}  // namespace
}  // namespace tandem
