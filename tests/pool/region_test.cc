#include "tandem/pool/region.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// A case from the field: pieces as io_uring takes them.
TEST(RegionTest, FieldPiecesOfAtMostOneGiBHoldWholeBuffers) {
  for (const bool canaries : {false, true}) {
    const auto pool = NewPool({.buffer_size = 1u << 20,
                               .capacity = 2'500,
                               .detect_misuse = false,
                               .debug = {.canaries = canaries}});
    ASSERT_EQ(pool->piece_count(), 3u);
    for (uint32_t i = 0; i < pool->capacity(); ++i) {
      const std::span<std::byte> piece =
          pool->piece(pool->PieceOf(BufferIndex{i}));
      EXPECT_LE(piece.size(), size_t{1} << 30);
      const std::byte* const buffer = pool->AddressOf(BufferIndex{i});
      EXPECT_GE(buffer, piece.data());
      EXPECT_LE(buffer + pool->buffer_size(), piece.data() + piece.size());
      EXPECT_EQ(buffer, pool->region().data() + i * pool->stride());
    }
  }
}

TEST(RegionTest, FieldLargestBuffersAreAPieceEach) {
  const auto pool = NewPool({.buffer_size = 1u << 30, .capacity = 2});
  ASSERT_EQ(pool->piece_count(), 2u);
  EXPECT_EQ(pool->piece(1).size(), size_t{1} << 30);
  EXPECT_EQ(pool->PieceOf(BufferIndex{1}), 1u);
}

TEST(RegionTest, FieldGuardPagesLeaveNoPieces) {
  EXPECT_EQ(
      NewPool({.capacity = 4, .debug = {.guard_pages = true}})->piece_count(),
      0u);
}

// A case from the field.
TEST(RegionTest, FieldHugePagesThatAreNotThereAreToldByName) {
  // More huge pages than any machine has reserved.
  const absl::Status status =
      BufferPool::Create({.buffer_size = 1u << 30,
                          .capacity = 1u << 20,
                          .huge_pages = HugePages::kExplicit})
          .status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("huge pages (PoolOptions.huge_pages is kExplicit"));
}

// What the kernel says of the mapping that holds `address`, in
// /proc/self/smaps: the line that begins with `key`.
std::string SmapsLine(const std::byte* address, const std::string& key) {
  std::ifstream smaps("/proc/self/smaps");
  const auto at = reinterpret_cast<uintptr_t>(address);
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    uintptr_t first = 0;
    uintptr_t last = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &first, &last) == 2) {
      inside = first <= at && at < last;
    } else if (inside && line.starts_with(key)) {
      return line;
    }
  }
  return "";
}

// A case from the field.
TEST(RegionTest, FieldLockedMemoryIsInMemoryAndStays) {
  if (kAsan || kTsan) GTEST_SKIP() << "sanitizers lock no memory";
  const auto pool = NewPool({.capacity = 2, .lock_memory = true});
  EXPECT_EQ(PagesIn(pool->region()),
            pool->region().size() / sysconf(_SC_PAGESIZE));
  EXPECT_THAT(SmapsLine(pool->region().data(), "VmFlags"), HasSubstr(" lo"));
  ExpectCanTake(*pool, 2);
}

TEST(RegionTest, FieldMemoryThatCanNotBeLockedIsToldByName) {
  if (kAsan || kTsan) GTEST_SKIP() << "sanitizers lock no memory";
  InChild([] {
    RefuseSystemCall(SYS_mlock, EPERM);
    const absl::Status status =
        BufferPool::Create({.capacity = 64, .lock_memory = true}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("PoolOptions.lock_memory (RLIMIT_MEMLOCK)"));
  });
}

TEST(RegionTest, FieldMemoryIsLeftOutOfCoreDumpsOnDemand) {
  const auto flags = [](bool exclude) {
    const auto pool =
        NewPool({.capacity = 64, .exclude_from_core_dumps = exclude});
    return SmapsLine(pool->region().data(), "VmFlags");
  };
  EXPECT_THAT(flags(true), HasSubstr(" dd"));
  EXPECT_THAT(flags(false), Not(HasSubstr(" dd")));
}

class RegionLayoutTest : public ::testing::TestWithParam<PoolOptions> {};

// P1: a buffer is known by pointer and by index, one to one.
TEST_P(RegionLayoutTest, IndexAndPointerNameTheSameBuffer) {
  const absl::StatusOr<Region> region = Region::Create(GetParam());
  ASSERT_TRUE(region.ok()) << region.status();
  for (uint32_t i = 0; i < region->map().capacity(); ++i) {
    EXPECT_EQ(region->map().Find(region->map().Address(BufferIndex{i})),
              BufferIndex{i});
  }
}

// P7: an address that does not start a buffer is not a buffer.
TEST_P(RegionLayoutTest, NoOtherPointerIsABuffer) {
  const absl::StatusOr<Region> region = Region::Create(GetParam());
  ASSERT_TRUE(region.ok()) << region.status();
  const std::byte* const first = region->map().Address(BufferIndex{0});
  const size_t stride = region->map().stride();
  for (size_t at = 1; at < 3 * stride; ++at) {
    if (at % stride == 0) continue;
    ASSERT_EQ(region->map().Find(first + at), kNoBuffer) << at;
  }
  const std::byte* const end = first + stride * region->map().capacity();
  EXPECT_EQ(region->map().Find(end), kNoBuffer);
  EXPECT_EQ(region->map().Find(first - stride), kNoBuffer);
  EXPECT_EQ(region->map().Find(nullptr), kNoBuffer);
  EXPECT_EQ(region->map().Find(reinterpret_cast<void*>(~uintptr_t{0})),
            kNoBuffer);
  // An offset at which offset / stride would wrap around.
  EXPECT_EQ(region->map().Find(first + (~uint64_t{0} / stride) * stride),
            kNoBuffer);
}

// P1: buffers lie apart, in one span, each at the start of a cache line.
TEST_P(RegionLayoutTest, BuffersLieApartInsideTheRegionOnTheirOwnLines) {
  const absl::StatusOr<Region> region = Region::Create(GetParam());
  ASSERT_TRUE(region.ok()) << region.status();
  const std::byte* free_from = region->bytes().data();
  for (uint32_t i = 0; i < region->map().capacity(); ++i) {
    const std::byte* const buffer = region->map().Address(BufferIndex{i});
    EXPECT_GE(buffer, free_from);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer) % kCacheLine, 0u);
    free_from = buffer + region->buffer_size();
  }
  EXPECT_LE(free_from, region->bytes().data() + region->bytes().size());
}

INSTANTIATE_TEST_SUITE_P(
    Region, RegionLayoutTest,
    ::testing::Values(
        PoolOptions{.buffer_size = 64, .capacity = 1'000},
        PoolOptions{.buffer_size = 192, .capacity = 777},
        PoolOptions{.buffer_size = 4'160, .capacity = 100},
        PoolOptions{.capacity = 64},
        PoolOptions{.capacity = 64, .debug = {.canaries = true}},
        PoolOptions{.capacity = 16, .debug = {.guard_pages = true}},
        PoolOptions{.buffer_size = 64,
                    .capacity = 16,
                    .debug = {.canaries = true, .guard_pages = true}}));

// P1: memory is committed as it is first used.
TEST(RegionTest, NothingIsCommittedBeforeItsFirstUse) {
  const auto pool = NewPool({.capacity = 256});
  const std::vector<std::byte*> all = TakeAll(*pool);
  EXPECT_EQ(PagesIn(pool->region()), 0u);
  std::memset(all[7], 1, pool->buffer_size());
  EXPECT_EQ(PagesIn(pool->region()),
            pool->buffer_size() / sysconf(_SC_PAGESIZE));
  pool->ReleaseMany(all);
}

// P1: prefault.
TEST(RegionTest, PrefaultCommitsEverything) {
  const auto pool = NewPool({.capacity = 256, .prefault = true});
  EXPECT_EQ(PagesIn(pool->region()),
            pool->region().size() / sysconf(_SC_PAGESIZE));
}

// P1: what has been used before is used again, not fresh memory.
TEST(RegionTest, UsedBuffersAreHandedOutBeforeColdOnes) {
  const auto pool = NewPool({.capacity = 1'024, .cache_size = 0});
  std::vector<std::byte*> few(10);
  ASSERT_TRUE(pool->AcquireMany(few));
  pool->ReleaseMany(few);
  const std::set<std::byte*> used(few.begin(), few.end());
  for (int round = 0; round < 100; ++round) {
    ASSERT_TRUE(pool->AcquireMany(few));
    EXPECT_EQ(std::set(few.begin(), few.end()), used);
    pool->ReleaseMany(few);
  }
}

// P1: the region goes with its pool.
TEST(RegionTest, MemoryIsUnmappedWithThePool) {
  std::unique_ptr<BufferPool> pool = NewPool({.capacity = 1'024});
  const std::span<std::byte> region = pool->region();
  pool.reset();
  std::vector<unsigned char> present(region.size() / sysconf(_SC_PAGESIZE));
  EXPECT_EQ(mincore(region.data(), region.size(), present.data()), -1);
  EXPECT_EQ(errno, ENOMEM);
}

// P1: transparent huge pages are used as available, and are not required.
TEST(RegionTest, TransparentHugePagesWork) {
  ExpectCanTake(
      *NewPool({.capacity = 512, .huge_pages = HugePages::kTransparent}), 512);
}

// P1: explicit huge pages are there, or creation says that they are not.
TEST(RegionTest, ExplicitHugePagesAreHadOrRefused) {
  const auto pool =
      BufferPool::Create({.capacity = 100, .huge_pages = HugePages::kExplicit});
  if (pool.ok()) {
    ExpectCanTake(**pool, 100);
    EXPECT_EQ((*pool)->region().size() % (2u << 20), 0u);
  } else {
    EXPECT_EQ(pool.status().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(pool.status().message()),
                HasSubstr("mapping 2097152 bytes"));
  }
}

// P1: NUMA policy.
TEST(RegionTest, MemoryMayBeInterleavedOrBoundToANode) {
  for (const NumaPolicy policy : {NumaPolicy::kInterleave, NumaPolicy::kBind}) {
    const auto pool =
        BufferPool::Create({.capacity = 64, .numa_policy = policy});
    if (absl::IsUnimplemented(pool.status()) ||
        absl::IsPermissionDenied(pool.status())) {
      GTEST_SKIP() << pool.status();
    }
    ASSERT_TRUE(pool.ok()) << pool.status();
    const std::vector<std::byte*> all = TakeAll(**pool);
    for (std::byte* const buffer : all) std::memset(buffer, 1, 16 * 1024);
    (*pool)->ReleaseMany(all);
  }
}

// P1: a node that the machine does not have is reported.
TEST(RegionTest, NodeThatIsNotThereIsRefused) {
  const auto pool =
      BufferPool::Create({.numa_policy = NumaPolicy::kBind, .numa_node = 999});
  ASSERT_FALSE(pool.ok());
  EXPECT_THAT(std::string(pool.status().message()),
              HasSubstr("PoolOptions.numa_policy, node 999"));
}

}  // namespace
}  // namespace tandem
