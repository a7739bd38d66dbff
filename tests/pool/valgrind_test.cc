// P2: under valgrind, which knows no restartable sequences, pools work in
// shared mode, and use no memory that they should not.

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

// Runs a program that is found by PATH; its output goes to ours. Returns its
// exit code, -1 if it did not get as far.
int RunProgram(std::vector<std::string> words) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t program;
  if (posix_spawnp(&program, arguments[0], nullptr, nullptr, arguments.data(),
                   environ) != 0) {
    return -1;
  }
  int status = 0;
  waitpid(program, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

class ValgrindTest : public ::testing::TestWithParam<const char*> {};

TEST_P(ValgrindTest, FindsNoFault) {
  if (kAsan || kTsan) GTEST_SKIP() << "not with a sanitizer";
  if (RunProgram({"valgrind", "--version"}) != 0)
    GTEST_SKIP() << "no valgrind here";
  // Where bazel puts what the test's `data` names.
  EXPECT_EQ(RunProgram({"valgrind", "--quiet", "--error-exitcode=9",
                        std::string("tests/pool/") + GetParam()}),
            0);
}

// The second asserts that a pool is refused that must be biased.
INSTANTIATE_TEST_SUITE_P(Pool, ValgrindTest,
                         ::testing::Values("buffer_pool_test", "bias_test"),
                         [](const auto& info) {
                           return std::string(info.param);
                         });

}  // namespace
}  // namespace tandem
