#include "tandem/pool/options.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;

struct BadOption {
  std::string name;
  PoolOptions options;
  std::string message;
};

class BadOptionTest : public ::testing::TestWithParam<BadOption> {};

// P1, section 5: every wrong option is an InvalidArgument that names the
// option, its value and what is allowed.
TEST_P(BadOptionTest, IsInvalidArgumentNamingOptionValueAndRange) {
  const absl::Status status = Validate(GetParam().options);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), GetParam().message);
  EXPECT_EQ(BufferPool::Create(GetParam().options).status(), status);
}

INSTANTIATE_TEST_SUITE_P(
    Options, BadOptionTest,
    ::testing::Values(
        BadOption{"BufferSizeTooSmall",
                  {.buffer_size = 0},
                  "PoolOptions.buffer_size is 0; allowed: 64 to 1073741824"},
        BadOption{"BufferSizeTooLarge",
                  {.buffer_size = (size_t{1} << 30) + 64},
                  "PoolOptions.buffer_size is 1073741888; allowed: 64 to "
                  "1073741824"},
        BadOption{"BufferSizeOdd",
                  {.buffer_size = 1000},
                  "PoolOptions.buffer_size is 1000; allowed: multiples of 64"},
        BadOption{"NoCapacity",
                  {.capacity = 0, .reserve = 0},
                  "PoolOptions.capacity is 0; allowed: 1 to 16777215"},
        BadOption{"CapacityTooLarge",
                  {.capacity = 1u << 24},
                  "PoolOptions.capacity is 16777216; allowed: 1 to 16777215"},
        BadOption{"ReserveAboveCapacity",
                  {.capacity = 8, .reserve = 9},
                  "PoolOptions.reserve is 9; allowed: 0 to 8"},
        BadOption{"CacheTooLarge",
                  {.cache_size = 513},
                  "PoolOptions.cache_size is 513; allowed: 0 to 512"},
        BadOption{"TooManyThreads",
                  {.max_threads = 65'537},
                  "PoolOptions.max_threads is 65537; allowed: 0 to 65536"},
        BadOption{"NoCorePools",
                  {.core_pools = 0},
                  "PoolOptions.core_pools is 0; allowed: 1 to 4096"},
        BadOption{"TooManyCorePools",
                  {.core_pools = 4'097},
                  "PoolOptions.core_pools is 4097; allowed: 1 to 4096"},
        BadOption{"NegativeNode",
                  {.numa_policy = NumaPolicy::kBind, .numa_node = -1},
                  "PoolOptions.numa_node is -1; allowed: 0 to 1023"},
        BadOption{"NodeTooLarge",
                  {.numa_policy = NumaPolicy::kBind, .numa_node = 1'024},
                  "PoolOptions.numa_node is 1024; allowed: 0 to 1023"},
        BadOption{"GuardPagesInHugePages",
                  {.huge_pages = HugePages::kExplicit,
                   .debug = {.guard_pages = true}},
                  "PoolOptions.debug.guard_pages is true; allowed: false with "
                  "huge_pages = kExplicit"},
        BadOption{"GuardPagesInPinnedMemory",
                  {.pinned = true, .debug = {.guard_pages = true}},
                  "PoolOptions.debug.guard_pages is true; allowed: false with "
                  "pinned"},
        BadOption{"GuardPagesInLockedMemory",
                  {.lock_memory = true, .debug = {.guard_pages = true}},
                  "PoolOptions.debug.guard_pages is true; allowed: false with "
                  "lock_memory"}),
    [](const auto& info) { return info.param.name; });

class GoodOptionTest : public ::testing::TestWithParam<PoolOptions> {};

// P1: the ends of every range are allowed, and work.
TEST_P(GoodOptionTest, EndsOfEveryRangeGiveAPoolWhoseBuffersCanAllBeTaken) {
  const auto pool = NewPool(GetParam());
  ExpectCanTake(*pool, GetParam().capacity);
  ExpectAtRest(*pool, 0);
}

INSTANTIATE_TEST_SUITE_P(
    Options, GoodOptionTest,
    ::testing::Values(PoolOptions{},                   //
                      PoolOptions{.buffer_size = 64},  //
                      PoolOptions{.buffer_size = 1u << 30, .capacity = 2},
                      PoolOptions{.capacity = 1, .reserve = 0},
                      PoolOptions{.capacity = 1, .reserve = 1},
                      PoolOptions{.capacity = 8, .reserve = 8},
                      PoolOptions{.cache_size = 0},        //
                      PoolOptions{.cache_size = 1},        //
                      PoolOptions{.cache_size = 512},      //
                      PoolOptions{.max_threads = 0},       //
                      PoolOptions{.max_threads = 65'536},  //
                      PoolOptions{.core_pools = 1},        //
                      PoolOptions{.core_pools = 4'096},    //
                      PoolOptions{.capacity = 8, .cache_size = 512}));

// P1: the largest pool holds 2^24 - 1 buffers; none of its memory is committed.
TEST(OptionsTest, LargestCapacityWorks) {
  const auto pool = NewPool({.buffer_size = 64,
                             .capacity = kMaxCapacity,
                             .core_pools = 1,
                             .detect_misuse = false});
  std::byte* const buffer = pool->Acquire();
  ASSERT_NE(buffer, nullptr);
  EXPECT_EQ(pool->Snapshot().capacity, 16'777'215u);
  EXPECT_EQ(pool->Snapshot().in_use, 1u);
  pool->Release(buffer);
  EXPECT_EQ(pool->IndexOf(pool->AddressOf(BufferIndex{kMaxCapacity - 1})),
            BufferIndex{kMaxCapacity - 1});
}

// P1: a lack of memory is the system's error, not the caller's.
TEST(OptionsTest, MoreMemoryThanAddressSpaceIsTheSystemsError) {
  const absl::Status status =
      BufferPool::Create({.buffer_size = 1u << 30, .capacity = kMaxCapacity})
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("mapping 18014397435740160 bytes"));
}

// A case from the field: a default fits the other options.
TEST(OptionsTest, FieldReserveThatIsNotSetFitsTheCapacity) {
  EXPECT_EQ(NewPool({.capacity = 1})->reserve(), 0u);
  EXPECT_EQ(NewPool({.capacity = 2})->reserve(), 1u);
  EXPECT_EQ(NewPool({.capacity = 3})->reserve(), 2u);
  EXPECT_EQ(NewPool({})->reserve(), 2u);
  ExpectCanTake(*NewPool({.capacity = 1}), 1);
}

// P1: the node is checked only if the policy uses it.
TEST(OptionsTest, NodeIsIgnoredUnlessThePolicyBinds) {
  EXPECT_TRUE(Validate({.numa_node = -1}).ok());
}

}  // namespace
}  // namespace tandem
