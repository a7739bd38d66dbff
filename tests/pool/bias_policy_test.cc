// P2: when a cache goes back to bias, so that a pool near exhaustion does not
// make system calls all the time. The test has a clock of its own.

#include "tandem/pool/cache/bias_policy.h"

#include <cstdint>

#include "gtest/gtest.h"

namespace tandem {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

// Quiet operations until the bias comes back.
uint32_t QuietOperations(BiasPolicy& policy) {
  uint32_t operations = 1;
  while (!policy.OnQuietOperation()) ++operations;
  return operations;
}

// The cache is biased at `from`, and no longer at `to`.
void HaveBias(BiasPolicy& policy, int64_t from, int64_t to) {
  policy.OnBias(from);
  EXPECT_TRUE(policy.OnShared([&] { return to; }));
}

TEST(BiasPolicyTest, PatienceDoublesWithEachShortBiasUpToACap) {
  BiasPolicy policy;
  uint32_t patience = BiasPolicy::kLeastPatience;
  EXPECT_EQ(QuietOperations(policy), patience);
  for (int i = 0; i < 20; ++i) {
    HaveBias(policy, kSecond, kSecond + 1'000);
    patience = patience < BiasPolicy::kMostPatience ? 2 * patience : patience;
    EXPECT_EQ(QuietOperations(policy), patience);
  }
  EXPECT_EQ(patience, BiasPolicy::kMostPatience);
}

TEST(BiasPolicyTest, PatienceHalvesWithEachLongBias) {
  BiasPolicy policy;
  HaveBias(policy, 0, 1'000);
  HaveBias(policy, 0, 1'000);
  EXPECT_EQ(QuietOperations(policy), 4 * BiasPolicy::kLeastPatience);
  HaveBias(policy, 0, kSecond);
  EXPECT_EQ(QuietOperations(policy), 2 * BiasPolicy::kLeastPatience);
  HaveBias(policy, 0, kSecond);
  HaveBias(policy, 0, kSecond);
  EXPECT_EQ(QuietOperations(policy), BiasPolicy::kLeastPatience);
}

// Reading the clock has a cost.
TEST(BiasPolicyTest, OnlyTheFirstSharedOperationAfterABiasLooksAtTheClock) {
  BiasPolicy policy;
  const auto never = [] {
    ADD_FAILURE();
    return int64_t{0};
  };
  EXPECT_FALSE(policy.OnShared(never));
  HaveBias(policy, 0, kSecond);
  EXPECT_FALSE(policy.OnShared(never));
}

// P5: because of it, a cache's version lasts for 2^40 operations.
TEST(BiasPolicyTest, NoBiasComesBackBeforeTwoToTheNinthOperations) {
  EXPECT_GE(BiasPolicy::kLeastPatience, 1u << 9);
}

}  // namespace
}  // namespace tandem
