// P3, S1 to S5, S7, S8: sequences of operations on several threads, one at a
// time, end exactly as the sequential specification says. The sequences are
// those that libFuzzer has found worth keeping (pool_fuzz.cc), and random ones.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"
#include "tandem/tests/fuzz/pool_operations.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

constexpr char kCorpus[] = "tests/fuzz/corpus";

TEST(PoolFuzzTest, KeptSequencesEndAsTheSpecificationSays) {
  size_t count = 0;
  for (const auto& file : std::filesystem::directory_iterator(kCorpus)) {
    std::ifstream in(file.path(), std::ios::binary);
    const std::vector<uint8_t> input{std::istreambuf_iterator<char>(in), {}};
    ASSERT_EQ(RunOperations(input), "") << file.path();
    ++count;
  }
  EXPECT_GT(count, 10u);
}

TEST(PoolFuzzTest, RandomSequencesEndAsTheSpecificationSays) {
  constexpr int kInputs = kAsan || kTsan ? 400 : 2'000;
  std::mt19937_64 random(TestSeed());
  for (int i = 0; i < kInputs; ++i) {
    std::vector<uint8_t> input(random() % 1'000);
    for (uint8_t& byte : input) byte = static_cast<uint8_t>(random());
    ASSERT_EQ(RunOperations(input), "")
        << "input " << i << ": "
        << absl::BytesToHexString(std::string(input.begin(), input.end()));
  }
}

}  // namespace
}  // namespace tandem
