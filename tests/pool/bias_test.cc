// P2, P3: bias, as far as it is visible: which caches have it, what takes it
// away, what it costs.

#include <array>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

class BiasTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!pool_->Snapshot().biased) {
      GTEST_SKIP() << "no restartable sequences here";
    }
  }

  // In the order of their first use.
  PoolSnapshot::Thread Thread(size_t i) {
    return pool_->Snapshot().threads.at(i);
  }

  const std::unique_ptr<BufferPool> pool_ =
      NewPool({.capacity = 1'024, .cache_size = 8});
};

// P2
TEST_F(BiasTest, QuietCacheBecomesBiased) {
  pool_->Release(pool_->Acquire());
  EXPECT_FALSE(Thread(0).biased) << "a new cache starts in shared mode";
  FillCache(*pool_);
  EXPECT_TRUE(Thread(0).biased);
  EXPECT_EQ(Thread(0).biases, 1u);
  EXPECT_EQ(pool_->Snapshot().barriers, 0u);
}

// P3
TEST_F(BiasTest, WhoRunsDryTakesTheBias) {
  Companion other;
  other.Run([&] { FillCache(*pool_); });
  ASSERT_TRUE(Thread(0).biased);
  ASSERT_GE(Thread(0).cached, 4u);
  ExpectCanTake(*pool_, 1'024);
  EXPECT_FALSE(Thread(0).biased);
  EXPECT_EQ(Thread(0).cached, 0u);
  EXPECT_NE(pool_->Snapshot().barriers, 0u);
  EXPECT_EQ(pool_->Snapshot().refusals, 0u);
}

// P3: one barrier serves a whole sweep over the caches.
TEST_F(BiasTest, OneBarrierTakesTheBiasOfAllCaches) {
  std::array<Companion, 12> others;
  for (Companion& other : others) {
    other.Run([&] { FillCache(*pool_); });
  }
  std::vector<std::byte*> all(1'024);
  ASSERT_TRUE(pool_->AcquireMany(all));
  EXPECT_EQ(pool_->Snapshot().barriers, 1u);
  pool_->ReleaseMany(all);
}

// P3: also if it takes several sweeps, each of which stops early.
TEST_F(BiasTest, SweepsThatStopEarlyShareTheirBarrier) {
  std::array<Companion, 12> others;
  for (Companion& other : others) {
    other.Run([&] { FillCache(*pool_); });
  }
  const std::vector<std::byte*> all = TakeAll(*pool_);
  EXPECT_EQ(all.size(), 1'024u);
  EXPECT_EQ(pool_->Snapshot().barriers, 1u);
  pool_->ReleaseMany(all);
}

// P3: its owner still uses the cache.
TEST_F(BiasTest, OwnerFindsItsBiasTakenAndGoesOn) {
  Companion owner;
  owner.Run([&] { FillCache(*pool_); });
  for (int round = 0; round < 10; ++round) {
    ExpectCanTake(*pool_, 1'024);
    owner.Run([&] { ExpectCanTake(*pool_, 1'024); });
  }
  EXPECT_NE(Thread(0).revocations, 0u);
}

// P2: portable everywhere, on demand.
TEST(BiasOptionTest, SharedPoolIsNeverBiased) {
  const auto pool = NewPool({.capacity = 64, .bias = Bias::kShared});
  for (int i = 0; i < 2'000; ++i) pool->Release(pool->Acquire());
  const PoolSnapshot snapshot = pool->Snapshot();
  EXPECT_FALSE(snapshot.biased);
  EXPECT_FALSE(snapshot.threads.at(0).biased);
  EXPECT_EQ(snapshot.threads.at(0).biases, 0u);
  ExpectCanTake(*pool, 64);
  EXPECT_EQ(pool->Snapshot().barriers, 0u);
}

// P2: for debuggers, without a new build; the programs whose names end in
// _shared run like this.
TEST(BiasOptionTest, FieldEnvironmentKeepsPoolsShared) {
  const char* const before = std::getenv("TANDEM_BIAS");
  const std::string restore = before == nullptr ? "" : before;
  setenv("TANDEM_BIAS", "shared", 1);
  EXPECT_FALSE(NewPool({})->Snapshot().biased);
  const absl::Status refused =
      BufferPool::Create({.bias = Bias::kBiased}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(refused.message().find("TANDEM_BIAS"), std::string::npos);
  setenv("TANDEM_BIAS", "quick", 1);
  EXPECT_EQ(BufferPool::Create({}).status().message(),
            "the environment variable TANDEM_BIAS is \"quick\"; allowed: "
            "\"shared\", or unset");
  setenv("TANDEM_BIAS", restore.c_str(), 1);
}

// P2: the programs whose names end in _own_rseq run like this. They still have
// the fast path: the pool registers the areas that the C library does not.
TEST(BiasOptionTest, FieldPoolIsBiasedWhoeverRegistersSequences) {
  const char* const tunables = std::getenv("GLIBC_TUNABLES");
  if (tunables == nullptr ||
      std::string_view(tunables) != "glibc.pthread.rseq=0") {
    GTEST_SKIP() << "the C library does here";
  }
  if (kTsan) GTEST_SKIP() << "never biased with it";
  const auto pool = NewPool({.cache_size = 8, .bias = Bias::kBiased});
  FillCache(*pool);
  EXPECT_TRUE(pool->Snapshot().threads.at(0).biased);
  Companion other;
  other.Run([&] { FillCache(*pool); });
  EXPECT_TRUE(pool->Snapshot().threads.at(1).biased);
}

// P2: and refused if the system cannot do it.
TEST(BiasOptionTest, BiasOnDemandIsHadOrRefused) {
  const bool can = NewPool({})->Snapshot().biased;
  const auto pool = BufferPool::Create({.bias = Bias::kBiased});
  EXPECT_EQ(pool.ok(), can);
  if (can) {
    EXPECT_TRUE((*pool)->Snapshot().biased);
  } else {
    EXPECT_EQ(pool.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_TRUE(std::string(pool.status().message())
                    .starts_with("PoolOptions.bias is kBiased, but"));
  }
}

}  // namespace
}  // namespace tandem
