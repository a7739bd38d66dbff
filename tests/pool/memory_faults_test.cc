// E1: memory, address space and thread-specific data are refused at each
// request in turn. Every request of Create, of a thread's first use and of what
// else asks for memory is tried, and how many those are is printed.

#include <dlfcn.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "tandem/pool/buffer.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

// Refuses one request of those that come while it is armed, or all from that
// one on.
struct Refusal {
  std::atomic<bool> armed{false};
  std::atomic<int> left{0};  // requests until the one
  std::atomic<bool> goes_on{false};

  bool Strikes() {
    if (!armed) return false;
    const int n = left.fetch_sub(1);
    return n == 0 || (n < 0 && goes_on);
  }
  bool has_struck() const { return left < 0; }
};

// Arms one while it lives.
class Armed {
 public:
  explicit Armed(Refusal& refusal) : refusal_(refusal) { refusal.armed = true; }
  ~Armed() { refusal_.armed = false; }
  Armed(const Armed&) = delete;
  Armed& operator=(const Armed&) = delete;

 private:
  Refusal& refusal_;
};

Refusal heap;
Refusal address_space;
Refusal specifics;

void* Allocate(size_t size) {
  return heap.Strikes() ? nullptr : std::malloc(size == 0 ? 1 : size);
}
void* AllocateAligned(size_t size, std::align_val_t alignment) {
  const auto unit = static_cast<size_t>(alignment);
  return heap.Strikes()
             ? nullptr
             : std::aligned_alloc(unit, (size + unit - 1) / unit * unit);
}
void* OrThrow(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace
}  // namespace tandem

void* operator new(size_t size) {
  return tandem::OrThrow(tandem::Allocate(size));
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return tandem::Allocate(size);
}
void* operator new(size_t size, std::align_val_t alignment) {
  return tandem::OrThrow(tandem::AllocateAligned(size, alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}

// In front of the C library's. ThreadSanitizer's runtime calls both before it
// is ready for instrumented code.
#ifndef __SANITIZE_THREAD__
extern "C" void* mmap(void* start, size_t length, int protection, int flags,
                      int file, off_t offset) noexcept {
  if (tandem::address_space.Strikes()) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  return reinterpret_cast<void*>(
      syscall(SYS_mmap, start, length, protection, flags, file, offset));
}
extern "C" int pthread_setspecific(pthread_key_t key,
                                   const void* value) noexcept {
  if (tandem::specifics.Strikes()) return ENOMEM;
  using Function = int(pthread_key_t, const void*);
  static Function* const next =
      reinterpret_cast<Function*>(dlsym(RTLD_NEXT, "pthread_setspecific"));
  return next(key, value);
}
#endif

namespace tandem {
namespace {

// Options for which Create does all that it can do.
PoolOptions Options() {
  return {.name = "a name that does not fit into the string itself",
          .capacity = 64,
          .max_threads = 1'024,
          .core_pools = 4};
}

// Runs `work`, which arms the refusal for a while, with each request refused in
// turn, until there is none left to refuse. Returns how many there were.
int RefuseEachInTurn(Refusal& refusal, bool and_later,
                     const std::function<void()>& work) {
  refusal.goes_on = and_later;
  for (int nth = 0;; ++nth) {
    refusal.left = nth;
    work();
    if (!refusal.has_struck() || ::testing::Test::HasFailure()) return nth;
  }
}

class FieldMemoryTest : public ::testing::TestWithParam<bool> {
 protected:
  // In how many places Create was refused, and said so.
  static int CountRefused(Refusal& refusal) {
    return RefuseEachInTurn(refusal, GetParam(), [&] {
      const PoolOptions options = Options();
      absl::StatusOr<std::unique_ptr<BufferPool>> pool = [&] {
        const Armed armed(refusal);
        return BufferPool::Create(options);
      }();
      if (refusal.has_struck()) {
        EXPECT_EQ(pool.status().code(), absl::StatusCode::kResourceExhausted)
            << pool.status();
      } else {
        ASSERT_TRUE(pool.ok()) << pool.status();
        ExpectCanTake(**pool, options.capacity);
      }
    });
  }
};

// Fault 6
TEST_P(FieldMemoryTest, CreateThatHasNoMemoryIsAStatus) {
  const int places = CountRefused(heap);
  std::printf("operator new refused in %d places of Create\n", places);
  EXPECT_GE(places, 4);
}

TEST_P(FieldMemoryTest, CreateThatHasNoAddressSpaceIsAStatus) {
  if (kAsan || kTsan) GTEST_SKIP() << "maps memory for itself";
  const int places = CountRefused(address_space);
  std::printf("mmap refused in %d places of Create\n", places);
  EXPECT_GE(places, 2);
}

TEST_P(FieldMemoryTest, CreateThatHasNoMemoryForItsMessageIsAStatus) {
  PoolOptions wrong = Options();
  wrong.buffer_size = 1;
  const int places = RefuseEachInTurn(heap, GetParam(), [&] {
    const absl::Status status = [&] {
      const Armed armed(heap);
      return BufferPool::Create(wrong).status();
    }();
    EXPECT_FALSE(status.ok());
  });
  std::printf("operator new refused in %d places of a message\n", places);
  EXPECT_GE(places, 1);
}

// E1: goes past the cache, and has one as soon as there is memory for it.
TEST_P(FieldMemoryTest, FirstUseThatHasNoMemoryGoesPastTheCache) {
  const std::unique_ptr<BufferPool> pool = NewPool(Options());
  for (Refusal* const refusal : {&heap, &address_space, &specifics}) {
    if (refusal == &address_space && kAsan) continue;
    if (refusal != &heap && kTsan) continue;
    const int places = RefuseEachInTurn(*refusal, GetParam(), [&] {
      Companion thread;
      thread.Run([&] {
        const Armed armed(*refusal);
        std::byte* const buffer = pool->Acquire();
        EXPECT_NE(buffer, nullptr);
        pool->Release(buffer);
      });
      thread.Run([&] {
        ExpectCanTake(*pool, pool->capacity());
        FillCache(*pool);
        EXPECT_NE(pool->Snapshot().cached, 0u);
      });
      thread.Finish();
      EXPECT_EQ(pool->Snapshot().cached, 0u);
    });
    std::printf("%s refused in %d places of a thread's first use\n",
                refusal == &heap            ? "operator new"
                : refusal == &address_space ? "mmap"
                                            : "pthread_setspecific",
                places);
    EXPECT_EQ(places != 0, refusal == &specifics);
  }
  ExpectAtRest(*pool, 0);
}

TEST_P(FieldMemoryTest, SnapshotTrimAndEndThrowNothing) {
  const int places = RefuseEachInTurn(heap, GetParam(), [&] {
    PoolOptions options = Options();
    std::unique_ptr<BufferPool> pool = NewPool(options);
    options.pinned = true;
    std::unique_ptr<BufferPool> pinned = NewPool(options);
    FillCache(*pool);
    const Armed armed(heap);
    EXPECT_EQ(pool->Snapshot().in_use, 0u);
    EXPECT_TRUE(pool->Trim().ok());
    EXPECT_FALSE(pinned->Trim().ok());
    pinned.reset();
    pool.reset();
  });
  std::printf("operator new refused in %d places of Snapshot, Trim and end\n",
              places);
  EXPECT_GE(places, 2);
}

// What the test below runs in a program of its own, where no pool has taken its
// key yet.
TEST(NoKeyTest, CreateWithoutAKeyIsAStatus) {
  if (std::getenv("TANDEM_TEST_NO_KEY") == nullptr) {
    GTEST_SKIP() << "run by FieldKeyTest";
  }
  pthread_key_t last = 0;
  for (pthread_key_t key; pthread_key_create(&key, nullptr) == 0;) last = key;
  for (int i = 0; i < 3; ++i) {
    const absl::Status status = BufferPool::Create(Options()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(
        status.message(),
        "tandem: no pthread key is left, or no memory for handlers of fork");
  }
  pthread_key_delete(last);
  ExpectCanTake(*NewPool(Options()), 64);
}

TEST(FieldKeyTest, CreateWithoutAKeyIsAStatus) {
  EXPECT_EQ(RunProgram({"/proc/self/exe", "--gtest_filter=NoKeyTest.*"},
                       {"TANDEM_TEST_NO_KEY=1"}),
            0);
}

INSTANTIATE_TEST_SUITE_P(Pool, FieldMemoryTest, ::testing::Bool(),
                         [](const auto& info) {
                           return info.param ? "AndAllLater" : "Once";
                         });

// E1: what takes and returns buffers throws nothing.
static_assert(noexcept(std::declval<BufferPool&>().Acquire()) && noexcept(
    std::declval<BufferPool&>().Release(
        nullptr)) && noexcept(std::declval<BufferPool&>()
                                  .AcquireMany(
                                      {})) && noexcept(std::declval<BufferPool&>()
                                                           .ReleaseMany(
                                                               {})) && noexcept(std::declval<BufferPool&>()
                                                                                    .AcquireBuffer()));

}  // namespace
}  // namespace tandem
