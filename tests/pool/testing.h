#ifndef TANDEM_TESTS_POOL_TESTING_H_
#define TANDEM_TESTS_POOL_TESTING_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <semaphore>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/pool/options.h"

namespace tandem {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kAsan = true;
#else
inline constexpr bool kAsan = false;
#endif
#if defined(__SANITIZE_THREAD__)
inline constexpr bool kTsan = true;
#else
inline constexpr bool kTsan = false;
#endif

// Ends the test program, saying why, if something without which a test means
// nothing does not hold.
void Require(bool condition, std::string_view what);

// The pool that `options` describes; ends the test program if there is none.
std::unique_ptr<BufferPool> NewPool(const PoolOptions& options);

// Acquires one by one until the pool is exhausted.
std::vector<std::byte*> TakeAll(BufferPool& pool);

// Checks that nobody else holds anything: exactly `count` buffers can be taken,
// all different, and returned.
void ExpectCanTake(BufferPool& pool, size_t count);

// Checks that while nobody uses the pool, `in_use` buffers are with users, and
// the ledger counts exactly what lies in the core pools (P1, P8).
void ExpectAtRest(const BufferPool& pool, uint32_t in_use);

// Leaves the calling thread's cache at least half full, and if the pool can be
// biased and has plenty, the cache biased.
void FillCache(BufferPool& pool);

// Marks a buffer as the caller's, and idle again. False if it was not idle, or
// not the caller's any more. Plain accesses, so that ThreadSanitizer checks
// that a buffer's contents are handed on with it.
bool Mark(std::byte* buffer, uint64_t owner);
bool Unmark(std::byte* buffer, uint64_t owner);

// Writes where ASan would forbid it, for tests of what else would tell.
void Scribble(std::byte* at);

// Seed of a randomized test, printed: TANDEM_TEST_SEED if set, else a new one.
uint64_t TestSeed();

// From now on a system call fails with `error`, in the calling thread and in
// those that it starts. Nothing takes this back: for InChild.
void RefuseSystemCall(long number, int error);  // NOLINT: as the SYS_ constants

// Pages of the span that are in memory.
size_t PagesIn(std::span<std::byte> bytes);

// Runs a program that is found by PATH ("/proc/self/exe": this one), with
// `variables` ("name=value") added to its environment; its output goes to ours.
// Returns its exit code, -1 if it did not get as far.
int RunProgram(std::vector<std::string> words,
               const std::vector<std::string>& variables = {});

// Runs `test` in a child process, of which it is the only thread. The calling
// test fails if one in it does, or if it has not ended within 20 seconds.
void InChild(const std::function<void()>& test);

// A thread that does what it is told, one thing at a time, and between two
// things sleeps with its cache as it is.
class Companion {
 public:
  Companion() : thread_([this] { Loop(); }) {}
  ~Companion() { Finish(); }

  // Has the thread do `work`, and waits for it.
  void Run(std::function<void()> work) {
    Start(std::move(work));
    Wait();
  }
  void Start(std::function<void()> work) {
    work_ = std::move(work);
    begin_.release();
  }
  void Wait() { done_.acquire(); }

  // Ends the thread, after which it has run its destructors.
  void Finish() {
    if (thread_.joinable()) {
      Start(nullptr);
      thread_.join();
    }
  }

 private:
  void Loop() {
    for (begin_.acquire(); work_ != nullptr; begin_.acquire()) {
      work_();
      done_.release();
    }
  }

  std::binary_semaphore begin_{0};
  std::binary_semaphore done_{0};
  std::function<void()> work_;
  std::thread thread_;
};

// Tests that run once with thread caches that are never biased, and once with
// caches that are, where the system can.
class BothWaysTest : public ::testing::TestWithParam<Bias> {
 protected:
  std::unique_ptr<BufferPool> NewPool(PoolOptions options) {
    options.bias = GetParam();
    return tandem::NewPool(options);
  }
};
inline auto BothWays() { return ::testing::Values(Bias::kShared, Bias::kAuto); }
inline std::string BiasName(const ::testing::TestParamInfo<Bias>& info) {
  return info.param == Bias::kShared ? "Shared" : "Biased";
}

// What the process writes to standard error while it lives.
class ErrorCapture {
 public:
  ErrorCapture();
  ~ErrorCapture();
  ErrorCapture(const ErrorCapture&) = delete;
  ErrorCapture& operator=(const ErrorCapture&) = delete;

  std::string text() const;

 private:
  const int before_;
  const int file_;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_POOL_TESTING_H_
