#include "tandem/tests/pool/testing.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <set>
#include <utility>

#include "absl/log/check.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"

namespace tandem {

std::unique_ptr<BufferPool> NewPool(const PoolOptions& options) {
  absl::StatusOr<std::unique_ptr<BufferPool>> pool =
      BufferPool::Create(options);
  CHECK_OK(pool);
  return *std::move(pool);
}

std::vector<std::byte*> TakeAll(BufferPool& pool) {
  std::vector<std::byte*> taken;
  while (std::byte* const buffer = pool.Acquire()) {
    taken.push_back(buffer);
    // P1; and a broken pool must not make the test run for ever.
    CHECK_LE(taken.size(), pool.capacity());
  }
  return taken;
}

void ExpectCanTake(BufferPool& pool, size_t count) {
  const std::vector<std::byte*> taken = TakeAll(pool);
  EXPECT_EQ(taken.size(), count);
  EXPECT_EQ(std::set(taken.begin(), taken.end()).size(), taken.size())
      << "a buffer was handed out twice";
  pool.ReleaseMany(taken);
}

void ExpectAtRest(const BufferPool& pool, uint32_t in_use) {
  const PoolSnapshot snapshot = pool.Snapshot();
  uint64_t listed = snapshot.cold.buffers;
  for (const PoolSnapshot::Core& core : snapshot.cores) {
    listed += core.buffers;
  }
  EXPECT_EQ(snapshot.in_use, in_use);
  EXPECT_EQ(snapshot.available, listed);
  EXPECT_EQ(snapshot.waiting, 0u);
  EXPECT_EQ(snapshot.shortages, 0u);
}

void FillCache(BufferPool& pool) {
  // More quiet operations than the least that bring a bias back.
  for (int i = pool.Snapshot().biased ? 200 : 0; i > 0; --i) {
    std::byte* const buffer = pool.Acquire();
    if (buffer != nullptr) pool.Release(buffer);
  }
  std::vector<std::byte*> buffers(pool.Snapshot().cache_limit);
  for (std::byte*& buffer : buffers) buffer = pool.Acquire();
  for (std::byte* const buffer : buffers) {
    if (buffer != nullptr) pool.Release(buffer);
  }
}

bool Mark(std::byte* buffer, uint64_t owner) {
  uint64_t was;
  std::memcpy(&was, buffer, sizeof(was));
  std::memcpy(buffer, &owner, sizeof(owner));
  return was == 0;
}

bool Unmark(std::byte* buffer, uint64_t owner) {
  uint64_t was;
  std::memcpy(&was, buffer, sizeof(was));
  std::memset(buffer, 0, sizeof(was));
  return was == owner;
}

[[gnu::noinline, gnu::no_sanitize_address]] void Scribble(std::byte* at) {
  volatile std::byte* const byte = at;
  *byte = *byte ^ std::byte{0xFF};
}

uint64_t TestSeed() {
  const char* const set = std::getenv("TANDEM_TEST_SEED");
  const uint64_t seed =
      set != nullptr ? std::strtoull(set, nullptr, 10) : std::random_device()();
  std::printf("to replay: TANDEM_TEST_SEED=%llu\n",
              static_cast<unsigned long long>(seed));
  return seed;
}

void InChild(const std::function<void()>& test) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    test();
    std::fflush(nullptr);
    // No destructors: threads that the child does not have may use what they
    // would destroy.
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "in a child process";
}

}  // namespace tandem
