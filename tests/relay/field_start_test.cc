// A program that cannot get what it needs to start ends with exit code 1 and
// one line, whichever request the system refused.

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tandem/tests/relay/relay_process.h"

namespace tandem {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

using Command = std::vector<std::string>;

Command operator+(Command a, const Command& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// The relay with everything that it can use, and every way to wait.
Command Relay() {
  return RelayCommand({"--listen=127.0.0.1:0", "--backend=127.0.0.1:1",
                       "--stats=127.0.0.1:0", "--threads=3", "--buffers=64",
                       "--max-waiters=20000"});
}

Command Stress() {
  return {"tools/stress/stress", "--seconds=1", "--threads=2", "--capacity=4",
          "--seed=1"};
}

enum class Start { kBegan, kEndedInOrder, kNotLoaded, kWrong };

// The relay has begun if it prints its address; stress, if it prints what
// it found.
Start Try(const Command& command, const std::string& what) {
  Process program(command);
  const std::string line = program.ReadLine();
  const bool began = absl::StartsWith(line, "relay: 127.") ||
                     absl::StartsWith(line, "stress: ");
  if (absl::StartsWith(line, "relay: 127.")) program.Signal(SIGTERM);
  const std::string rest = program.ReadRest();
  const int code = program.Wait();
  const std::string messages = program.Messages();
  const auto lines = std::count(messages.begin(), messages.end(), '\n');
  if (began && code == 0) return Start::kBegan;
  if (code == 1 && lines == 1) return Start::kEndedInOrder;
  // The loader's messages, or the kernel's way to end the program.
  if (absl::StrContains(messages, "error while loading shared libraries") ||
      absl::StrContains(messages, "prlimit: ") ||
      (messages.empty() && (code == -SIGKILL || code == -SIGSEGV))) {
    return Start::kNotLoaded;
  }
  ADD_FAILURE() << what << ": exit code " << code << ", messages: " << messages
                << ", output: " << line << "\n"
                << rest;
  return Start::kWrong;
}

class FieldStartTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "sanitizers need memory of their own";
  }
  static Command Program() { return GetParam() ? Stress() : Relay(); }

  // Raises a limit from `first` by `step` until the program starts.
  static void RaiseUntilItBegins(const char* limit, uint64_t first,
                                 uint64_t step) {
    int ended = 0;
    for (uint64_t value = first; value < first + 400 * step; value += step) {
      const std::string flag = absl::StrCat("--", limit, "=", value);
      const Start start = Try(Command{"prlimit", flag} + Program(), flag);
      ASSERT_NE(start, Start::kWrong);
      if (start == Start::kBegan) {
        std::printf("%d limits of %s ended it\n", ended, limit);
        EXPECT_GT(ended, 0);
        return;
      }
      if (start == Start::kEndedInOrder) ++ended;
      // Once it can be loaded, it always can.
      if (start == Start::kNotLoaded) {
        EXPECT_EQ(ended, 0) << flag;
      }
    }
    ADD_FAILURE() << "it never begins";
  }
};

TEST_P(FieldStartTest, EndsInOrderWhicheverRequestIsRefused) {
  std::atomic<int> next{1};
  std::atomic<int> ended{0};
  std::atomic<int> went_on{0};
  std::atomic<bool> over{false};
  const auto refuse = [&](int lane) {
    const std::string file =
        absl::StrCat(::testing::TempDir(), "/refused", lane);
    while (!over) {
      const int number = next++;
      std::filesystem::remove(file);
      const Start start =
          Try(Command{"env", "LD_PRELOAD=tests/relay/librefuse.so",
                      absl::StrCat("REFUSE=", number),
                      absl::StrCat("REFUSED=", file)} +
                  Program(),
              absl::StrCat("request ", number));
      if (!std::filesystem::exists(file)) {
        over = true;
        return;
      }
      if (start == Start::kEndedInOrder) {
        ++ended;
      } else if (start == Start::kBegan) {
        ++went_on;
      } else {
        over = true;
      }
      // Stress asks for memory as long as it runs: these requests are enough
      // for its start.
      if (GetParam() && number >= 400) over = true;
    }
  };
  std::thread other(refuse, 1);
  refuse(0);
  other.join();
  std::printf("%d requests refused: %d ended it, it went on without %d\n",
              ended + went_on, ended.load(), went_on.load());
  EXPECT_GT(ended, 50);
}

TEST_P(FieldStartTest, EndsInOrderWithFewDescriptors) {
  RaiseUntilItBegins("nofile", 3, 1);
}

TEST_P(FieldStartTest, EndsInOrderInASmallAddressSpace) {
  RaiseUntilItBegins("as", 4 << 20, 1 << 20);
}

TEST(FieldThreadsTest, EndsInOrderWithMoreThreadsThanDescriptors) {
  for (const char* const threads : {"--threads=64", "--threads=256"}) {
    EXPECT_EQ(
        Try(Command{"prlimit", "--nofile=100"} + Relay() + Command{threads},
            threads),
        Start::kEndedInOrder);
  }
}

INSTANTIATE_TEST_SUITE_P(, FieldStartTest, ::testing::Bool(),
                         [](const auto& info) {
                           return info.param ? "Stress" : "Relay";
                         });

}  // namespace
}  // namespace tandem
