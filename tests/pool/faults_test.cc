// P1, P6: faults outside of the pool: the system has no memory or refuses it,
// and threads are ended wherever they are.

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tandem/pool/buffer.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

size_t AddressSpaceInUse() {
  size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// From now on this process can map no more than `bytes` beyond what it has.
void LimitAddressSpace(size_t bytes) {
  const rlim_t limit = AddressSpaceInUse() + bytes;
  const rlimit limits = {.rlim_cur = limit, .rlim_max = limit};
  ASSERT_EQ(setrlimit(RLIMIT_AS, &limits), 0);
}

// In a process whose address space may grow only by `limit`: the pool is
// refused again and again, with a message that begins so. So a refused pool
// keeps nothing. A pool that fits works.
void ExpectRefusedForMemory(size_t limit, const PoolOptions& options,
                            const std::string& message) {
  if (kAsan || kTsan) GTEST_SKIP() << "maps terabytes for itself";
  InChild([&] {
    LimitAddressSpace(limit);
    for (int i = 0; i < 20; ++i) {
      const absl::Status status = BufferPool::Create(options).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
      EXPECT_THAT(std::string(status.message()), StartsWith(message));
    }
    const auto pool = NewPool({.capacity = 64});
    ExpectCanTake(*pool, 64);
  });
}

constexpr size_t kMiB = size_t{1} << 20;

// P1
TEST(MemoryFaultTest, RegionThatCanNotBeHadIsAStatus) {
  ExpectRefusedForMemory(64 * kMiB,
                         {.buffer_size = 64 * 1024, .capacity = 1536},
                         "mapping 100663296 bytes");
}

// P1: there is room for the buffers, and then none for their states, which take
// one line for each buffer and two more, and a power of two in all.
TEST(MemoryFaultTest, GuardStatesThatCanNotBeHadAreAStatus) {
  ExpectRefusedForMemory(100 * kMiB,
                         {.buffer_size = 64, .capacity = (1u << 20) - 2},
                         "mapping 67108864 bytes");
}

// P9: more guard pages than the mappings that the system allows a process.
TEST(MemoryFaultTest, GuardPagesThatCanNotBeHadAreAStatus) {
  if (kAsan || kTsan) GTEST_SKIP() << "needs mappings for itself";
  uint32_t most = 0;
  std::ifstream("/proc/sys/vm/max_map_count") >> most;
  if (most == 0 || most > (1u << 21)) GTEST_SKIP() << "most: " << most;
  const size_t before = AddressSpaceInUse();
  const absl::Status status =
      BufferPool::Create(
          {.buffer_size = 64, .capacity = most, .debug = {.guard_pages = true}})
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("PoolOptions.debug.guard_pages: page "));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(absl::StrCat(" of ", most + 1)));
  EXPECT_LT(AddressSpaceInUse(), before + kMiB * 64);
}

// P1: if the system refuses to commit memory in advance, creation says so;
// nothing of the region stays, and a pool that does not ask for it works.
TEST(MemoryFaultTest, PrefaultThatIsRefusedIsAStatus) {
  const PoolOptions plain = {.capacity = 256};
  PoolOptions prefault = plain;
  prefault.prefault = true;
  for (const int error : {EPERM, ENOMEM}) {
    InChild([&] {
      RefuseSystemCall(SYS_madvise, error);
      const size_t before = AddressSpaceInUse();
      for (int i = 0; i < 20; ++i) {
        const absl::Status status = BufferPool::Create(prefault).status();
        EXPECT_EQ(status.code(), absl::ErrnoToStatusCode(error));
        EXPECT_THAT(
            std::string(status.message()),
            StartsWith("committing 4194304 bytes for PoolOptions.prefault"));
      }
      EXPECT_LT(AddressSpaceInUse(), before + kMiB * 64);
      const auto pool = NewPool(plain);
      ExpectCanTake(*pool, 256);
    });
  }
}

// P1: if the system does not know how, as before Linux 5.14, creation does not
// fail: the pool touches every page itself.
TEST(MemoryFaultTest, PrefaultThatIsUnknownIsDoneByHand) {
  InChild([] {
    RefuseSystemCall(SYS_madvise, EINVAL);
    const auto pool = NewPool({.capacity = 256, .prefault = true});
    EXPECT_EQ(PagesIn(pool->region()),
              pool->region().size() / sysconf(_SC_PAGESIZE));
    ExpectCanTake(*pool, 256);
  });
}

// P1: if memory cannot be given back, Trim says so, and keeps the buffers.
TEST(MemoryFaultTest, TrimThatIsRefusedGivesNothingBack) {
  InChild([] {
    const auto pool = NewPool({.capacity = 256, .prefault = true});
    ExpectCanTake(*pool, 256);
    RefuseSystemCall(SYS_madvise, EPERM);
    EXPECT_EQ(*pool->Trim(), 0u);
    ExpectAtRest(*pool, 0);
    ExpectCanTake(*pool, 256);
  });
}

// Threads are ended while others work, with a buffer in their hands that
// unwinding releases. They end between two operations, because no function of
// the pool is a cancellation point. stopped_thread_test (P4) stops threads
// forever inside an operation, at any instruction.
class EndedThreadTest : public BothWaysTest {
 protected:
  static constexpr uint32_t kCapacity = 64;

  struct Use {
    BufferPool* pool;
    bool exits;  // by itself; else it works until it is cancelled
    std::atomic<bool> has_begun{false};
  };

  void CheckEnds(bool exits) {
    const auto pool = NewPool({.capacity = kCapacity, .cache_size = 8});
    std::atomic<bool> stop{false};
    Companion worker;
    worker.Start([&] {
      while (!stop) FillCache(*pool);
    });
    for (int i = 0; i < 100; ++i) {
      Use use = {.pool = pool.get(), .exits = exits};
      pthread_t thread;
      ASSERT_EQ(pthread_create(&thread, nullptr, Run, &use), 0);
      if (!exits) {
        use.has_begun.wait(false);
        ASSERT_EQ(pthread_cancel(thread), 0);
      }
      void* result = nullptr;
      ASSERT_EQ(pthread_join(thread, &result), 0);
      ASSERT_EQ(result, exits ? &use : PTHREAD_CANCELED);
    }
    stop = true;
    worker.Wait();
    worker.Finish();
    ExpectAtRest(*pool, 0);
    EXPECT_EQ(pool->Snapshot().cached, 0u);
    ExpectCanTake(*pool, kCapacity);
  }

 private:
  static void* Run(void* argument) {
    auto& use = *static_cast<Use*>(argument);
    FillCache(*use.pool);
    for (;;) {
      const Buffer one = use.pool->AcquireBuffer();
      const Buffer other = use.pool->AcquireBuffer();
      if (use.exits) pthread_exit(argument);
      use.has_begun = true;
      use.has_begun.notify_one();
      pthread_testcancel();
    }
  }
};

// P6
TEST_P(EndedThreadTest, ThreadThatExitsWithABufferLosesNothing) {
  CheckEnds(/*exits=*/true);
}

// P6
TEST_P(EndedThreadTest, ThreadThatIsCancelledWithABufferLosesNothing) {
  CheckEnds(/*exits=*/false);
}

INSTANTIATE_TEST_SUITE_P(Pool, EndedThreadTest, BothWays(), BiasName);

}  // namespace
}  // namespace tandem
