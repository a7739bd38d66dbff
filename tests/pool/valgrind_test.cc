// P2: under valgrind, which has no restartable sequences, pools work in shared
// mode, and use only memory that is theirs.

#include <string>

#include "gtest/gtest.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

class ValgrindTest : public ::testing::TestWithParam<const char*> {};

TEST_P(ValgrindTest, FindsNoFault) {
  if (kAsan || kTsan) GTEST_SKIP() << "not with a sanitizer";
  if (RunProgram({"valgrind", "--version"}) != 0)
    GTEST_SKIP() << "no valgrind here";
  // The folder in which Bazel puts the test's `data`.
  EXPECT_EQ(RunProgram({"valgrind", "--quiet", "--error-exitcode=9",
                        std::string("tests/pool/") + GetParam()}),
            0);
}

// The second test asserts that creation fails for a pool that must be biased.
INSTANTIATE_TEST_SUITE_P(Pool, ValgrindTest,
                         ::testing::Values("buffer_pool_test", "bias_test"),
                         [](const auto& info) {
                           return std::string(info.param);
                         });

}  // namespace
}  // namespace tandem
