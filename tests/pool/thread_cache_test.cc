// P3, P5: a thread cache by itself: its gate, epochs and counts, by calls in
// sequence. tests/schedule has what threads do to each other.

#include "tandem/pool/cache/thread_cache.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "gtest/gtest.h"
#include "tandem/pool/cache/cache_words.h"
#include "tandem/pool/platform.h"
#include "tandem/pool/section/rseq_section.h"

namespace tandem {
namespace {

class ThreadCacheTest : public ::testing::Test {
 protected:
  using Cache = ThreadCache<StdPlatform>;

  ThreadCacheTest() {
    cache_.SetLimit(4);
    if (RseqSection::Available()) cache_.Arm();
  }
  ~ThreadCacheTest() override { cache_.Disarm(); }

  bool Open() {
    return cache_.BeginBias([] { return false; });
  }
  static Epoch EpochOf(CacheGate gate) { return Epoch{gate.epoch()}; }

  std::array<std::byte, 8> memory_;
  std::array<std::byte*, 1> one_ = {memory_.data()};
  Cache cache_;
};

TEST_F(ThreadCacheTest, NewCacheIsClosedAndEmpty) {
  EXPECT_TRUE(cache_.gate().closed());
  EXPECT_FALSE(cache_.PushBiased(one_));
  EXPECT_TRUE(cache_.PushShared(one_));
  EXPECT_FALSE(cache_.PopBiased(one_));
  EXPECT_TRUE(cache_.PopShared(one_));
  EXPECT_EQ(cache_.size(), 0u);
}

TEST_F(ThreadCacheTest, OpenGateLetsNothingPastItsBounds) {
  if (!RseqSection::Available()) GTEST_SKIP() << "no sections here";
  ASSERT_TRUE(Open());
  EXPECT_FALSE(cache_.PopBiased(one_));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(cache_.PushBiased(one_));
  EXPECT_FALSE(cache_.PushBiased(one_));
  EXPECT_FALSE(cache_.PushShared(one_)) << "not while the gate is open";
  std::array<std::byte*, 5> five;
  EXPECT_FALSE(cache_.PopBiased(five));
  EXPECT_TRUE(cache_.PopBiased(std::span(five).first(4)));
  EXPECT_FALSE(cache_.PopBiased(std::span(five).first(2)));
  EXPECT_FALSE(cache_.PushBiased(five));
  EXPECT_TRUE(cache_.PushBiased(std::span(five).first(3)));
  EXPECT_FALSE(cache_.PushBiased(std::span(five).first(2)));
  EXPECT_EQ(cache_.size(), 3u);
}

// More than 2^16 changes: the count's carry does not reach the epoch.
TEST_F(ThreadCacheTest, CountThatOverflowsChangesNothingElse) {
  if (!RseqSection::Available()) GTEST_SKIP() << "no sections here";
  ASSERT_TRUE(Open());
  const uint32_t epoch = cache_.gate().epoch();
  for (int i = 0; i < 100'000; ++i) {
    ASSERT_TRUE(cache_.PushBiased(one_));
    ASSERT_EQ(cache_.size(), 1u);
    ASSERT_TRUE(cache_.PopBiased(one_));
    ASSERT_EQ(cache_.size(), 0u);
  }
  EXPECT_EQ(cache_.CloseOwn().epoch(), epoch);
}

TEST_F(ThreadCacheTest, CeilingFollowsTheLimitWhileTheGateIsOpen) {
  ASSERT_TRUE(Open());
  EXPECT_TRUE(cache_.MoveLimit(4, 2));
  EXPECT_EQ(cache_.gate().ceiling(), 2u);
  EXPECT_FALSE(cache_.MoveLimit(4, 8));
  EXPECT_TRUE(cache_.MoveLimit(2, 0));
  EXPECT_TRUE(cache_.biased());
  EXPECT_FALSE(cache_.PushBiased(one_));
  cache_.CloseOwn();
  EXPECT_TRUE(cache_.MoveLimit(0, 4));
  EXPECT_TRUE(cache_.gate().closed());
}

TEST_F(ThreadCacheTest, ClosingGateIsClosedOnlyAfterItsBarrier) {
  ASSERT_TRUE(Open());
  const CacheGate gate = cache_.Close();
  EXPECT_TRUE(gate.closing());
  EXPECT_TRUE(cache_.Close().closing()) << "for another one, too";
  cache_.SetClosed(gate);
  EXPECT_TRUE(cache_.Close().closed());
}

TEST_F(ThreadCacheTest, NobodyClosesAGateThatHasOpenedAnew) {
  ASSERT_TRUE(Open());
  const CacheGate gate = cache_.Close();
  ASSERT_TRUE(Open());
  cache_.SetClosed(gate);
  EXPECT_TRUE(cache_.biased());
}

// The look comes after the epoch: the gate is left behind.
TEST_F(ThreadCacheTest, GateThatStayedBehindIsMovedAsClosedAsItWas) {
  const CacheGate before = cache_.gate();
  EXPECT_FALSE(cache_.BeginBias([] { return true; }));
  EXPECT_EQ(cache_.gate().bits(), before.bits());
  ASSERT_TRUE(cache_.PushShared(one_));
  std::array<std::byte*, 1> loot;
  EXPECT_EQ(cache_.Steal(EpochOf(before), loot), std::nullopt);
  const CacheGate moved = cache_.Close();
  EXPECT_TRUE(moved.closed());
  EXPECT_EQ(cache_.Steal(EpochOf(moved), loot), 1u);
}

TEST_F(ThreadCacheTest, GateDoesNotOpenIfAThiefHasMovedIt) {
  EXPECT_FALSE(cache_.BeginBias([&] {
    cache_.Close();
    return false;
  }));
  EXPECT_FALSE(cache_.biased());
}

TEST_F(ThreadCacheTest, GateOpensWithWhatIsLeftOfTheLimitAfterTheEpoch) {
  ASSERT_TRUE(Open());
  cache_.CloseOwn();
  cache_.TakeLimit();
  ASSERT_TRUE(Open());
  EXPECT_EQ(cache_.gate().ceiling(), 0u);
}

// P1: otherwise it would lose its limit.
TEST_F(ThreadCacheTest, BusyCacheIsNotIdleThoughItHoldsWhatItHeld) {
  if (!RseqSection::Available()) GTEST_SKIP() << "no sections here";
  ASSERT_TRUE(Open());
  cache_.StartIdling(0);
  EXPECT_TRUE(cache_.IsIdle(100, 100));
  ASSERT_TRUE(cache_.PushBiased(one_));
  ASSERT_TRUE(cache_.PopBiased(one_));
  EXPECT_FALSE(cache_.IsIdle(200, 100));
  EXPECT_TRUE(cache_.IsIdle(300, 100));
}

// A version must not come twice while a thief may rely on the first.
TEST_F(ThreadCacheTest, PushBeginsANewEpochBeforeACountComesAgain) {
  const Epoch epoch = EpochOf(cache_.Close());
  int pushes = 0;
  while (EpochOf(cache_.Close()) == epoch) {
    ASSERT_LT(++pushes, 1 << 15);
    ASSERT_TRUE(cache_.PushShared(one_));
    ASSERT_TRUE(cache_.PopShared(one_));
  }
  EXPECT_GT(pushes, 1 << 13);
  std::array<std::byte*, 1> loot;
  ASSERT_TRUE(cache_.PushShared(one_));
  EXPECT_EQ(cache_.Steal(epoch, loot), std::nullopt);
}

}  // namespace
}  // namespace tandem
