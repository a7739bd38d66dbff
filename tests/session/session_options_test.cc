// Wrong options: each is an InvalidArgument that names the option, its value
// and the allowed range.

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/session/session_allocator.h"

namespace tandem {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

absl::Status StatusOf(const SessionOptions& options,
                      const PoolOptions& pool_options = {.capacity = 16}) {
  auto pool = BufferPool::Create(pool_options);
  EXPECT_TRUE(pool.ok()) << pool.status();
  return SessionAllocator::Create(pool->get(), options).status();
}

template <class... Parts>
void ExpectRefused(const absl::Status& status, Parts... parts) {
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(parts)...));
}

SessionOptions WithClass(WaitClass c) { return {.classes = {c}}; }

TEST(SessionOptionsTest, DefaultsAreAccepted) {
  EXPECT_TRUE(StatusOf({}).ok()) << StatusOf({});
}

TEST(SessionOptionsTest, BothEndsOfEachRangeAreAccepted) {
  EXPECT_TRUE(StatusOf({.max_waiters = 1, .max_overtakes = 1}).ok());
  EXPECT_TRUE(
      StatusOf({.max_waiters = 1'048'575, .max_overtakes = 1'000'000}).ok());
  EXPECT_TRUE(StatusOf(WithClass({.name = "a", .keep = 15, .rank = 255})).ok());
}

TEST(SessionOptionsTest, MaxWaitersOutOfRangeIsRefused) {
  ExpectRefused(StatusOf({.max_waiters = 0}), "SessionOptions.max_waiters is 0",
                "allowed: 1 to 1048575");
  ExpectRefused(StatusOf({.max_waiters = 1'048'576}),
                "SessionOptions.max_waiters is 1048576");
}

TEST(SessionOptionsTest, MaxOvertakesOutOfRangeIsRefused) {
  ExpectRefused(StatusOf({.max_overtakes = 0}),
                "SessionOptions.max_overtakes is 0", "allowed: 1 to 1000000");
  ExpectRefused(StatusOf({.max_overtakes = 1'000'001}),
                "SessionOptions.max_overtakes is 1000001");
}

TEST(SessionOptionsTest, FiveClassesAreAcceptedAndSixAreRefused) {
  SessionOptions options;
  for (int i = 1; i <= 5; ++i) {
    options.classes.push_back(
        {.name = std::to_string(i), .keep = 0, .rank = i});
  }
  EXPECT_TRUE(StatusOf(options).ok()) << StatusOf(options);
  options.classes.push_back({.name = "6", .keep = 0, .rank = 6});
  ExpectRefused(StatusOf(options), "SessionOptions.classes.size() is 6",
                "allowed: 0 to 5");
}

TEST(SessionOptionsTest, RankOutOfRangeIsRefused) {
  ExpectRefused(StatusOf(WithClass({.name = "a", .keep = 0, .rank = 0})),
                "classes[\"a\"].rank is 0", "allowed: 1 to 255");
  ExpectRefused(StatusOf(WithClass({.name = "a", .keep = 0, .rank = 256})),
                "classes[\"a\"].rank is 256");
}

TEST(SessionOptionsTest, RankOfAnotherClassIsRefused) {
  ExpectRefused(
      StatusOf(WithClass({.name = "a", .keep = 0, .rank = kReceiveRank})),
      "rank is 200", "\"a\"", "\"receive\"");
  ExpectRefused(StatusOf({.classes = {{.name = "a", .keep = 0, .rank = 7},
                                      {.name = "b", .keep = 0, .rank = 7}}}),
                "rank is 7", "\"a\"", "\"b\"");
}

TEST(SessionOptionsTest, NameOfAnotherClassIsRefused) {
  ExpectRefused(StatusOf(WithClass({.name = "pair", .keep = 0, .rank = 1})),
                "\"pair\" twice");
}

// S8: it would wait forever.
TEST(SessionOptionsTest, ClassThatCanNeverBeServedIsRefused) {
  ExpectRefused(StatusOf(WithClass({.name = "a", .keep = 16, .rank = 1})),
                "classes[\"a\"] needs 1 and keeps 16", "capacity, 16");
  ExpectRefused(
      StatusOf(WithClass({.name = "a", .keep = 0xFFFF'FFFF, .rank = 1})),
      "needs 1 and keeps 4294967295");
}

// S8: nor may receive and pair wait forever.
TEST(SessionOptionsTest, PoolThatIsTooSmallForABuiltInClassIsRefused) {
  ExpectRefused(StatusOf({}, {.capacity = 2, .reserve = 2}),
                "classes[\"receive\"] needs 1 and keeps 2 "
                "(PoolOptions.reserve)",
                "capacity, 2");
  ExpectRefused(StatusOf({}, {.capacity = 1, .reserve = 0}),
                "classes[\"pair\"] needs 2 and keeps 0", "capacity, 1");
  EXPECT_TRUE(StatusOf({}, {.capacity = 3, .reserve = 2}).ok());
  EXPECT_TRUE(StatusOf({}, {.capacity = 2, .reserve = 0}).ok());
}

// A caller need not set options that it does not use.
TEST(SessionOptionsTest, FieldSmallestPoolHasSessionsWithoutAReserveThatIsSet) {
  EXPECT_TRUE(StatusOf({}, {.capacity = 2}).ok());
}

TEST(SessionOptionsTest, ClassesAreFoundByName) {
  auto pool = BufferPool::Create({.capacity = 16});
  ASSERT_TRUE(pool.ok());
  auto sessions = SessionAllocator::Create(
      pool->get(), WithClass({.name = "mine", .keep = 0, .rank = 150}));
  ASSERT_TRUE(sessions.ok());
  EXPECT_EQ((*sessions)->FindClass("complete").value(),
            (*sessions)->complete());
  EXPECT_EQ((*sessions)->FindClass("pair").value(), (*sessions)->pair());
  EXPECT_EQ((*sessions)->FindClass("receive").value(), (*sessions)->receive());
  const auto missing = (*sessions)->FindClass("yours").status();
  EXPECT_TRUE(absl::IsNotFound(missing));
  EXPECT_THAT(
      std::string(missing.message()),
      AllOf(HasSubstr("yours"), HasSubstr("complete, pair, mine, receive")));
}

}  // namespace
}  // namespace tandem
