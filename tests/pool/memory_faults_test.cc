// E1: memory, address space and thread-specific data are refused at each
// request in turn. The test tries every request of Create, of a thread's first
// use, and of all other functions that ask for memory, and prints how many
// there are.

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
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "tandem/pool/buffer.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/refused_memory.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

// What is refused beside memory: one of the requests that come while this is
// armed, or all from that one on.
struct Refusal {
  std::atomic<bool> armed{false};
  std::atomic<size_t> left{0};  // requests until the one
  std::atomic<bool> goes_on{false};
  std::atomic<bool> has_struck{false};

  bool Strikes() {
    if (!armed) return false;
    if (left > 0) {
      --left;
      return false;
    }
    return !has_struck.exchange(true) || goes_on;
  }
};

Refusal address_space;
Refusal specifics;

}  // namespace
}  // namespace tandem

// These stand in front of the C library's functions. ThreadSanitizer's runtime
// calls both before it is ready for instrumented code.
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

// Options with which Create does everything that it can do.
PoolOptions Options() {
  return {.name = "a name that does not fit into the string itself",
          .capacity = 64,
          .max_threads = 1'024,
          .core_pools = 4};
}

enum class Request { kMemory, kAddressSpace, kThreadSpecificData };

// Refuses the request numbered `nth` while it lives. Memory is refused to the
// calling thread, the others to every thread.
class Refused {
 public:
  Refused(Request request, size_t nth, RefusedMemory::Which which) {
    if (request == Request::kMemory) {
      memory_.emplace(nth, which);
      return;
    }
    other_ = request == Request::kAddressSpace ? &address_space : &specifics;
    other_->left = nth;
    other_->goes_on = which == RefusedMemory::kAllFromThere;
    other_->has_struck = false;
    other_->armed = true;
  }
  ~Refused() {
    if (other_ != nullptr) other_->armed = false;
  }
  Refused(const Refused&) = delete;
  Refused& operator=(const Refused&) = delete;

  bool has_struck() const {
    return memory_ ? memory_->refused() : other_->has_struck.load();
  }

 private:
  std::optional<RefusedMemory> memory_;
  Refusal* other_ = nullptr;
};

// The number of places at which Create was refused, and returned an error.
size_t CountPlacesOfCreate(Request request) {
  return ForEachRequest([&](size_t nth, RefusedMemory::Which which) {
    const PoolOptions options = Options();
    bool has_struck = false;
    const absl::StatusOr<std::unique_ptr<BufferPool>> pool = [&] {
      const Refused refused(request, nth, which);
      auto created = BufferPool::Create(options);
      has_struck = refused.has_struck();
      return created;
    }();
    if (has_struck) {
      EXPECT_EQ(pool.status().code(), absl::StatusCode::kResourceExhausted)
          << pool.status();
    } else {
      EXPECT_TRUE(pool.ok()) << pool.status();
      if (pool.ok()) ExpectCanTake(**pool, options.capacity);
    }
    return has_struck && !::testing::Test::HasFailure();
  });
}

// A case from the field.
TEST(FieldMemoryTest, CreateThatHasNoMemoryIsAStatus) {
  const size_t places = CountPlacesOfCreate(Request::kMemory);
  std::printf("operator new refused in %zu places of Create\n", places);
  EXPECT_GE(places, 8u);
}

TEST(FieldMemoryTest, CreateThatHasNoAddressSpaceIsAStatus) {
  if (kAsan || kTsan) GTEST_SKIP() << "maps memory for itself";
  const size_t places = CountPlacesOfCreate(Request::kAddressSpace);
  std::printf("mmap refused in %zu places of Create\n", places);
  EXPECT_GE(places, 4u);
}

TEST(FieldMemoryTest, CreateThatHasNoMemoryForItsMessageIsAStatus) {
  PoolOptions wrong = Options();
  wrong.buffer_size = 1;
  const size_t places =
      ForEachRequest([&](size_t nth, RefusedMemory::Which which) {
        const Refused refused(Request::kMemory, nth, which);
        const bool ok = BufferPool::Create(wrong).ok();
        const bool has_struck = refused.has_struck();
        EXPECT_FALSE(ok);
        return has_struck && !::testing::Test::HasFailure();
      });
  std::printf("operator new refused in %zu places of a message\n", places);
  EXPECT_GE(places, 2u);
}

// E1: the thread bypasses the cache, and gets one as soon as there is memory
// for it.
TEST(FieldMemoryTest, FirstUseThatHasNoMemoryGoesPastTheCache) {
  const auto pool = NewPool(Options());
  for (const auto& [request, name] :
       {std::pair(Request::kMemory, "operator new"),
        std::pair(Request::kAddressSpace, "mmap"),
        std::pair(Request::kThreadSpecificData, "pthread_setspecific")}) {
    if (request == Request::kAddressSpace && kAsan) continue;
    if (request != Request::kMemory && kTsan) continue;
    const size_t places =
        ForEachRequest([&](size_t nth, RefusedMemory::Which which) {
          bool has_struck = false;
          Companion thread;
          thread.Run([&] {
            const Refused refused(request, nth, which);
            std::byte* const buffer = pool->Acquire();
            has_struck = refused.has_struck();
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
          return has_struck && !::testing::Test::HasFailure();
        });
    std::printf("%s refused in %zu places of a thread's first use\n", name,
                places);
    EXPECT_EQ(places != 0, request == Request::kThreadSpecificData);
  }
  ExpectAtRest(*pool, 0);
}

TEST(FieldMemoryTest, SnapshotTrimAndEndThrowNothing) {
  const size_t places =
      ForEachRequest([&](size_t nth, RefusedMemory::Which which) {
        PoolOptions options = Options();
        std::unique_ptr<BufferPool> pool = NewPool(options);
        options.pinned = true;
        std::unique_ptr<BufferPool> pinned = NewPool(options);
        FillCache(*pool);
        const Refused refused(Request::kMemory, nth, which);
        EXPECT_EQ(pool->Snapshot().in_use, 0u);
        EXPECT_TRUE(pool->Trim().ok());
        EXPECT_FALSE(pinned->Trim().ok());
        pinned.reset();
        pool.reset();
        return refused.has_struck() && !::testing::Test::HasFailure();
      });
  std::printf("operator new refused in %zu places of Snapshot, Trim and end\n",
              places);
  EXPECT_GE(places, 4u);
}

// The test below runs this in a program of its own, where no pool has taken its
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

// E1: functions that take and return buffers do not throw.
template <class Pool>
concept ThrowsNothing = requires(Pool& pool, std::byte* buffer) {
  { pool.Acquire() }
  noexcept;
  { pool.Release(buffer) }
  noexcept;
  { pool.AcquireMany({}) }
  noexcept;
  { pool.ReleaseMany({}) }
  noexcept;
  { pool.AcquireBuffer() }
  noexcept;
};
static_assert(ThrowsNothing<BufferPool>);

}  // namespace
}  // namespace tandem
