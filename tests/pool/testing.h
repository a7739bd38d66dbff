#ifndef TANDEM_TESTS_POOL_TESTING_H_
#define TANDEM_TESTS_POOL_TESTING_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
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

// Ends the test program with a message if a condition does not hold without
// which the test means nothing.
void Require(bool condition, std::string_view what);

// Creates the pool that `options` describes; ends the test program if
// that fails.
std::unique_ptr<BufferPool> NewPool(const PoolOptions& options);

// Acquires buffers one by one until the pool is exhausted.
std::vector<std::byte*> TakeAll(BufferPool& pool);

// Acquire as many buffers as the span has places, and release them, by the
// operation for so many: for one, for a pair, or for more. AcquireInto: false
// if it has acquired none. Async-signal-safe.
bool AcquireInto(BufferPool& pool, std::span<std::byte*> out);
void ReleaseAll(BufferPool& pool, std::span<std::byte* const> buffers);

// Checks that no other code holds a buffer: exactly `count` buffers can be
// taken, all different, and returned.
void ExpectCanTake(BufferPool& pool, size_t count);

// For a pool that no thread uses: checks that `in_use` buffers are with users,
// and that the ledger counts exactly what lies in the depot (P1, P8).
void ExpectAtRest(const BufferPool& pool, uint32_t in_use);

// Makes the calling thread's cache at least half full, and biased if the pool
// can be biased and has plenty.
void FillCache(BufferPool& pool);

// Mark a buffer as the caller's, and as idle again. False if it was not idle,
// or not the caller's any more. These are plain accesses, so ThreadSanitizer
// checks that a buffer's contents are handed over with it.
bool Mark(std::byte* buffer, uint64_t owner);
bool Unmark(std::byte* buffer, uint64_t owner);

// A thread that runs `prepare`, and then takes and releases a buffer of `pool`
// again and again, until this object is destroyed or Stop is called. It checks
// that each buffer is in no other hands.
class BusyOwner {
 public:
  explicit BusyOwner(
      BufferPool& pool, std::function<void()> prepare = [] {});
  ~BusyOwner() { Stop(); }

  // Ends the thread.
  void Stop();

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// Takes all free buffers, a BusyOwner's among them, checks that they are in no
// other hands, and releases them. Returns how many they were.
size_t TakeAllFromOwners(BufferPool& pool);

// Writes where AddressSanitizer would forbid it, to test the other checks.
void Scribble(std::byte* at);

// The seed of a randomized test: TANDEM_TEST_SEED if set, otherwise a new one.
// Prints it.
uint64_t TestSeed();

// From now on a system call fails with `error`, in the calling thread and in
// threads that it starts. This cannot be undone: for InChild.
void RefuseSystemCall(long number, int error);  // NOLINT: as the SYS_ constants

// The number of the span's pages that are in memory.
size_t PagesIn(std::span<std::byte> bytes);

// Runs a program, found by PATH ("/proc/self/exe": this program), with
// `variables` ("name=value") added to its environment. Its output goes to this
// program's output. Returns its exit code, or -1 if it could not run or exit.
int RunProgram(std::vector<std::string> words,
               const std::vector<std::string>& variables = {});

// Runs `test` in a child process with a single thread. The calling test
// fails if a check in the child fails, or if the child has not ended within
// 20 seconds.
void InChild(const std::function<void()>& test);

// A thread that does the work it is given, one item at a time. Between two
// items it sleeps, with its cache unchanged.
class Companion {
 public:
  Companion() : thread_([this] { Loop(); }) {}
  ~Companion() { Finish(); }

  // Lets the thread do `work`, and waits for it.
  void Run(std::function<void()> work) {
    Start(std::move(work));
    Wait();
  }
  void Start(std::function<void()> work) {
    work_ = std::move(work);
    begin_.release();
  }
  void Wait() { done_.acquire(); }

  // Ends the thread; its destructors have run afterwards.
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

// Blocks a thread in read(2) until another opens it. Async-signal-safe.
class Gate {
 public:
  Gate();
  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  void Wait();
  void Open();

 private:
  std::array<int, 2> ends_;
};

// Tests that run once with thread caches that are never biased, and once with
// biased caches if the system supports them. Under ThreadSanitizer and with
// TANDEM_BIAS=shared, where no cache is ever biased, they run once.
class BothWaysTest : public ::testing::TestWithParam<Bias> {
 protected:
  std::unique_ptr<BufferPool> NewPool(PoolOptions options) {
    options.bias = GetParam();
    return tandem::NewPool(options);
  }
};
inline auto BothWays() {
  std::vector<Bias> ways = {Bias::kAuto};
  const char* const forced = std::getenv("TANDEM_BIAS");
  if (!kTsan && (forced == nullptr || std::string_view(forced) != "shared")) {
    ways.push_back(Bias::kShared);
  }
  return ::testing::ValuesIn(ways);
}
inline std::string BiasName(const ::testing::TestParamInfo<Bias>& info) {
  return info.param == Bias::kShared ? "Shared" : "Biased";
}

// Captures what the process writes to standard error while this object lives.
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
