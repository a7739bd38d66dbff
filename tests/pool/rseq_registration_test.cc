// P2: restartable sequences, registered by the C library, by another library,
// by the pool, or not at all.

#include "tandem/pool/section/rseq_registration.h"

#include <dlfcn.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

#if defined(__aarch64__)
constexpr uint32_t kSignature = 0xd428bc00;
#else
constexpr uint32_t kSignature = 0x53053053;
#endif

RseqArea* GlibcArea() {
  return reinterpret_cast<RseqArea*>(
      static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset);
}

// Unregisters the C library's area of the calling thread, as sandboxes and
// checkpointing tools do.
void UnregisterGlibcArea() {
  ASSERT_EQ(syscall(SYS_rseq, GlibcArea(), 32, /*unregister*/ 1, kSignature),
            0);
}

// An owner uses its cache as fast as it can, in a thread in which `prepare` has
// run, against a thread that takes all buffers without pause.
void ExpectNoBufferInTwoHands(void (*prepare)()) {
  const auto pool =
      NewPool({.buffer_size = 64, .capacity = 64, .cache_size = 8});
  BusyOwner owner(*pool, prepare);
  for (int round = 0; round < 300; ++round) {
    TakeAllFromOwners(*pool);
    usleep(500);  // Time to become biased again.
  }
  owner.Stop();
  ExpectAtRest(*pool, 0);
  ExpectCanTake(*pool, 64);
}

class FieldRseqTest : public ::testing::Test {
 protected:
  void SetUp() override {
    can_ = NewPool({})->Snapshot().biased;
    if (!can_) GTEST_SKIP() << "no pool is biased here";
  }

  // True if the cache of the calling thread, which uses `pool`, becomes biased.
  static bool BecomesBiased(BufferPool& pool) {
    const size_t before = pool.Snapshot().threads.size();
    FillCache(pool);
    return pool.Snapshot().threads.at(before).biased;
  }

  bool can_ = false;
};

TEST_F(FieldRseqTest, AreaIsTheOneThatTheKernelKnows) {
  const RseqArea* const area = RegisterRseqArea();
  ASSERT_NE(area, nullptr);
  EXPECT_EQ(area == GlibcArea(), __rseq_size != 0);
  EXPECT_GE(area->cpu_id, 0);
  EXPECT_EQ(RegisterRseqArea(), area) << "again";
  EXPECT_GE(CoreByRseqArea(), 0);
}

// A case from the field: the pool registers an area of its own.
TEST_F(FieldRseqTest, ThreadWhoseAreaWasUnregisteredGetsAnother) {
  if (__rseq_size == 0) GTEST_SKIP() << "the C library registers none";
  InChild([] {
    const auto pool = NewPool({.cache_size = 8});
    Companion other;
    other.Run([&] {
      UnregisterGlibcArea();
      EXPECT_TRUE(BecomesBiased(*pool));
      const RseqArea* const area = RegisterRseqArea();
      ASSERT_NE(area, nullptr);
      EXPECT_NE(area, GlibcArea());
      EXPECT_GE(area->cpu_id, 0);
    });
    ExpectNoBufferInTwoHands(UnregisterGlibcArea);
  });
}

// And if a thread cannot have an area, it has a cache that is never biased.
TEST_F(FieldRseqTest, ThreadWithoutAnAreaIsNeverBiased) {
  if (__rseq_size == 0) GTEST_SKIP() << "the C library registers none";
  InChild([] {
    const auto pool = NewPool({.cache_size = 8});
    Companion other;
    other.Run([&] {
      UnregisterGlibcArea();
      RefuseSystemCall(SYS_rseq, ENOSYS);
      EXPECT_FALSE(BecomesBiased(*pool));
      EXPECT_EQ(RegisterRseqArea(), nullptr);
    });
    EXPECT_TRUE(BecomesBiased(*pool)) << "this thread still has one";
    ExpectCanTake(*pool, pool->capacity());
    ExpectNoBufferInTwoHands([] {
      UnregisterGlibcArea();
      RefuseSystemCall(SYS_rseq, ENOSYS);
    });
  });
}

// As under gVisor or valgrind.
TEST_F(FieldRseqTest, PoolWorksWhereTheKernelHasNone) {
  if (__rseq_size != 0) GTEST_SKIP() << "the C library has registered one";
  InChild([] {
    RefuseSystemCall(SYS_rseq, ENOSYS);
    // In a thread that has registered nothing yet.
    Companion other;
    other.Run([&] {
      const auto pool = NewPool({.cache_size = 8});
      EXPECT_FALSE(pool->Snapshot().biased);
      EXPECT_FALSE(BecomesBiased(*pool));
      ExpectCanTake(*pool, pool->capacity());
    });
    ExpectNoBufferInTwoHands([] {});
  });
}

// The tests below run this in a program of its own, with the library of
// foreign_rseq.c preloaded and the C library's rseq areas turned off.
class ForeignRseqTest : public ::testing::Test {
 protected:
  void SetUp() override {
    foreign_ = static_cast<RseqArea*>(dlsym(RTLD_DEFAULT, "__rseq_abi"));
    if (foreign_ == nullptr) GTEST_SKIP() << "run by FieldPreloadedRseqTest";
    ASSERT_EQ(__rseq_size, 0u);
  }

  RseqArea* foreign_ = nullptr;
};

TEST_F(ForeignRseqTest, AreaOfOurSignatureIsUsed) {
  ASSERT_GE(foreign_->cpu_id, 0);
  EXPECT_EQ(RegisterRseqArea(), foreign_);
  EXPECT_TRUE(NewPool({})->Snapshot().biased);
}

TEST_F(ForeignRseqTest, AreaOfAnotherSignatureIsNeverUsed) {
  ASSERT_GE(foreign_->cpu_id, 0);
  EXPECT_EQ(RegisterRseqArea(), nullptr);
  EXPECT_FALSE(NewPool({})->Snapshot().biased);
}

TEST_F(ForeignRseqTest, AreaThatIsNotRegisteredYetIsRegistered) {
  Companion other;
  other.Run([&] {
    auto* const area =
        static_cast<RseqArea*>(dlsym(RTLD_DEFAULT, "__rseq_abi"));
    ASSERT_EQ(area->cpu_id, RseqArea::kUninitialized);
    EXPECT_EQ(RegisterRseqArea(), area);
    EXPECT_GE(area->cpu_id, 0);
  });
}

TEST_F(ForeignRseqTest, AreaWhoseLibraryHasFailedIsLeftAlone) {
  Companion other;
  other.Run([&] {
    auto* const area =
        static_cast<RseqArea*>(dlsym(RTLD_DEFAULT, "__rseq_abi"));
    area->cpu_id = RseqArea::kRegistrationFailed;
    EXPECT_EQ(RegisterRseqArea(), nullptr);
    EXPECT_EQ(area->cpu_id, RseqArea::kRegistrationFailed);
  });
}

TEST_F(ForeignRseqTest, NoBufferIsInTwoHands) {
  ExpectNoBufferInTwoHands([] {});
}

class FieldPreloadedRseqTest : public FieldRseqTest {
 protected:
  // Runs `program` with the library, which registers with `signature`.
  static int RunWith(uint32_t signature, std::vector<std::string> program) {
    return RunProgram(std::move(program),
                      {"GLIBC_TUNABLES=glibc.pthread.rseq=0",
                       absl::StrCat("FOREIGN_RSEQ_SIGNATURE=", signature),
                       // The folder in which Bazel puts the test's `data`.
                       absl::StrCat("LD_PRELOAD=", std::getenv("PWD"),
                                    "/tests/pool/libforeign_rseq.so")});
  }
  static int RunTests(uint32_t signature, const std::string& filter) {
    return RunWith(signature, {"/proc/self/exe",
                               "--gtest_filter=ForeignRseqTest." + filter});
  }
};

TEST_F(FieldPreloadedRseqTest, AreaOfAnotherLibraryServes) {
  if (kAsan) GTEST_SKIP() << "wants to be the first library";
  EXPECT_EQ(RunTests(kSignature, "*-*.AreaOfAnotherSignatureIsNeverUsed"), 0);
  EXPECT_EQ(RunWith(kSignature, {"tests/pool/bias_test"}), 0);
  EXPECT_EQ(RunWith(kSignature, {"tests/pool/seizure_stress", "--seconds=2"}),
            0);
}

TEST_F(FieldPreloadedRseqTest, AreaOfAnotherSignatureDoesNotServe) {
  if (kAsan) GTEST_SKIP() << "wants to be the first library";
  EXPECT_EQ(RunTests(0x1234, "*-*.AreaOfOurSignatureIsUsed"), 0);
  EXPECT_EQ(RunWith(0x1234, {"tests/pool/buffer_pool_test"}), 0);
  EXPECT_EQ(RunWith(0x1234, {"tests/pool/seizure_stress", "--seconds=2"}), 0);
}

}  // namespace
}  // namespace tandem
