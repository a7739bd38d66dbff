// P9: debug modes, chosen at creation, and what they find.

#include <signal.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <semaphore>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/stepper.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

bool IsAll(const std::byte* buffer, size_t size, int value) {
  return std::all_of(buffer, buffer + size,
                     [&](std::byte b) { return b == std::byte(value); });
}

// P9
TEST(FailOneInTest, FailsAboutOneInSoMany) {
  const auto pool = NewPool({.capacity = 64, .debug = {.fail_one_in = 10}});
  int failures = 0;
  for (int i = 0; i < 10'000; ++i) {
    std::byte* const buffer = pool->Acquire();
    if (buffer == nullptr) {
      ++failures;
    } else {
      pool->Release(buffer);
    }
  }
  EXPECT_GT(failures, 800);
  EXPECT_LT(failures, 1'200);
}

// P9
TEST(FailOneInTest, OneFailsAlways) {
  const auto pool = NewPool({.capacity = 256, .debug = {.fail_one_in = 1}});
  std::vector<std::byte*> few(3);
  std::vector<std::byte*> many(200);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(pool->Acquire(), nullptr);
    EXPECT_FALSE(pool->AcquireMany(few));
    EXPECT_FALSE(pool->AcquireMany(many));
  }
  ExpectAtRest(*pool, 0);
}

// P9
TEST(FailOneInTest, ZeroNeverFails) {
  const auto pool = NewPool({.capacity = 64, .debug = {.fail_one_in = 0}});
  for (int i = 0; i < 10'000; ++i) {
    std::byte* const buffer = pool->Acquire();
    ASSERT_NE(buffer, nullptr);
    pool->Release(buffer);
  }
}

// P9
TEST(NoCacheTest, NothingIsEverCached) {
  const auto pool =
      NewPool({.capacity = 64, .cache_size = 32, .debug = {.no_cache = true}});
  EXPECT_EQ(pool->Snapshot().cache_limit, 0u);
  for (int i = 0; i < 100; ++i) {
    std::byte* const buffer = pool->Acquire();
    EXPECT_EQ(pool->Snapshot().available, 63u);
    pool->Release(buffer);
    EXPECT_EQ(pool->Snapshot().available, 64u);
  }
  ExpectCanTake(*pool, 64);
}

// P9
TEST(ColdFirstTest, BufferThatHasLainLongestIsTakenFirst) {
  const auto pool = NewPool(
      {.capacity = 256, .cache_size = 32, .debug = {.cold_first = true}});
  std::array<std::byte*, 32> all;
  ASSERT_TRUE(pool->AcquireMany(all));
  // What the batch's refill has left in the cache goes first.
  std::vector<std::byte*> rest(pool->Snapshot().cached);
  for (std::byte*& buffer : rest) buffer = pool->Acquire();
  ASSERT_EQ(pool->Snapshot().cached, 0u);
  for (std::byte* const buffer : all) pool->Release(buffer);
  for (std::byte* const buffer : all) EXPECT_EQ(pool->Acquire(), buffer);
  pool->ReleaseMany(all);
  pool->ReleaseMany(rest);
}

// P3, P9
TEST(ColdFirstTest, AllCanBeTaken) {
  const auto pool = NewPool({.capacity = 100, .debug = {.cold_first = true}});
  Companion other;
  for (int i = 0; i < 10; ++i) {
    other.Run([&] { FillCache(*pool); });
    ExpectCanTake(*pool, 100);
  }
}

// P7, P9
TEST(ZeroOnReleaseTest, NextOwnerSeesZeros) {
  const auto pool = NewPool({.capacity = 200, .zero_on_release = true});
  std::vector<std::byte*> all = TakeAll(*pool);
  for (std::byte* const buffer : all) std::memset(buffer, 0x5A, 16 * 1024);
  pool->ReleaseMany(all);
  all = TakeAll(*pool);
  for (std::byte* const buffer : all) {
    EXPECT_TRUE(IsAll(buffer, 16 * 1024, 0));
  }
  pool->ReleaseMany(all);
}

// Copies a byte where ASan would forbid it.
[[gnu::noinline, gnu::no_sanitize("address")]] void Overwrite(
    volatile std::byte* to, const volatile std::byte* from) {
  *to = *from;
}

class DebugDeathTest : public ::testing::Test {
 protected:
  DebugDeathTest() { GTEST_FLAG_SET(death_test_style, "fast"); }
};

// P9
TEST_F(DebugDeathTest, IntegrityTellsOfAWriteAfterRelease) {
  const auto pool =
      NewPool({.name = "bits", .capacity = 16, .debug = {.integrity = true}});
  for (const size_t at : {size_t{0}, size_t{1'000}, size_t{16 * 1024 - 1}}) {
    std::byte* const buffer = pool->Acquire();
    pool->Release(buffer);
    EXPECT_DEATH(
        {
          Scribble(buffer + at);
          (void)pool->Acquire();
        },
        ::testing::ContainsRegex("pool \"bits\": buffer 0x[0-9a-f]+ .number "
                                 "[0-9]+. was written at byte " +
                                 std::to_string(at) + " after its release"));
  }
}

// P9
TEST_F(DebugDeathTest, IntegrityTellsOfACopyOfAnotherIdleBuffer) {
  const auto pool = NewPool(
      {.buffer_size = 64, .capacity = 16, .debug = {.integrity = true}});
  std::array<std::byte*, 2> two;
  ASSERT_TRUE(pool->AcquireMany(two));
  pool->Release(two[0]);
  pool->Release(two[1]);
  EXPECT_DEATH(
      {
        for (size_t i = 0; i < 64; ++i) Overwrite(two[0] + i, two[1] + i);
        (void)TakeAll(*pool);
      },
      "written at byte 0 after its release");
}

// P1, P9: memory that was given back to the system has no pattern to check.
TEST_F(DebugDeathTest, IntegrityGivesNoFalseAlarm) {
  const auto pool = NewPool(
      {.capacity = 200, .zero_on_release = true, .debug = {.integrity = true}});
  for (int round = 0; round < 5; ++round) {
    const std::vector<std::byte*> all = TakeAll(*pool);
    ASSERT_EQ(all.size(), 200u);
    for (std::byte* const buffer : all) std::memset(buffer, round, 16 * 1024);
    pool->ReleaseMany(all);
    if (round % 2 == 0) {
      ASSERT_TRUE(pool->Trim().ok());
    }
  }
}

// P9
TEST_F(DebugDeathTest, CanariesTellOfAWritePastTheEnd) {
  const auto pool = NewPool(
      {.buffer_size = 256, .capacity = 16, .debug = {.canaries = true}});
  std::byte* const buffer = pool->Acquire();
  for (const size_t past : {size_t{0}, size_t{1}, size_t{63}}) {
    EXPECT_DEATH(
        {
          Scribble(buffer + 256 + past);
          pool->Release(buffer);
        },
        "was written " + std::to_string(past) + " bytes past its end");
  }
  pool->Release(buffer);
}

// P9: every byte of the buffer itself is its owner's.
TEST_F(DebugDeathTest, CanariesGiveNoFalseAlarm) {
  const auto pool =
      NewPool({.capacity = 64, .debug = {.integrity = true, .canaries = true}});
  for (int round = 0; round < 5; ++round) {
    const std::vector<std::byte*> all = TakeAll(*pool);
    for (std::byte* const buffer : all) std::memset(buffer, round, 16 * 1024);
    pool->ReleaseMany(all);
    ASSERT_TRUE(pool->Trim().ok());
  }
}

// P9
TEST_F(DebugDeathTest, GuardPagesStopAccessesOutside) {
  const auto pool = NewPool({.capacity = 4, .debug = {.guard_pages = true}});
  const std::vector<std::byte*> all = TakeAll(*pool);
  ASSERT_EQ(all.size(), 4u);
  for (std::byte* const buffer : all) {
    std::memset(buffer, 1, 16 * 1024);
    EXPECT_DEATH(Scribble(buffer - 1), "");
    EXPECT_DEATH(Scribble(buffer + 16 * 1024), "");
  }
  pool->ReleaseMany(all);
}

// P1, P9
TEST_F(DebugDeathTest, GuardPagesStayThroughTrim) {
  const auto pool =
      NewPool({.capacity = 4, .cache_size = 0, .debug = {.guard_pages = true}});
  const std::vector<std::byte*> all = TakeAll(*pool);
  for (std::byte* const buffer : all) std::memset(buffer, 1, 16 * 1024);
  pool->ReleaseMany(all);
  EXPECT_EQ(*pool->Trim(), 4u * 16 * 1024);
  ExpectCanTake(*pool, 4);
  EXPECT_DEATH(Scribble(all[0] - 1), "");
}

// Code in a section of its own, so that an address in it can be recognized.
extern "C" const char __start_tandem_caller[];
extern "C" const char __stop_tandem_caller[];

[[gnu::section("tandem_caller"), gnu::noinline]] void ReleaseHere(
    BufferPool& pool, std::byte* buffer) {
  pool.Release(buffer);
  asm volatile("");  // Not a tail call: there is an address to return to.
}
[[gnu::section("tandem_caller"), gnu::noinline]] void ReleaseManyHere(
    BufferPool& pool, std::byte* buffer) {
  pool.ReleaseMany({&buffer, 1});
  asm volatile("");
}
[[gnu::section("tandem_caller"), gnu::noinline]] std::byte* AcquireHere(
    BufferPool& pool) {
  std::byte* const buffer = pool.Acquire();
  asm volatile("");
  return buffer;
}

[[gnu::section("tandem_caller"), gnu::noinline]] void AcquirePairHere(
    BufferPool& pool, std::span<std::byte*, 2> out) {
  ASSERT_TRUE(pool.AcquirePair(out));
  asm volatile("");
}

MATCHER(NamesACallerInTheTest, "") {
  constexpr std::string_view kBefore = "; last taken or released by 0x";
  const size_t at = arg.find(kBefore);
  if (at == std::string::npos) return false;
  const uintptr_t caller =
      std::strtoull(arg.c_str() + at + kBefore.size(), nullptr, 16);
  return caller >= reinterpret_cast<uintptr_t>(__start_tandem_caller) &&
         caller < reinterpret_cast<uintptr_t>(__stop_tandem_caller);
}

// P9
TEST_F(DebugDeathTest, CallerOfTheFirstReleaseIsNamed) {
  const auto pool = NewPool({.capacity = 16, .debug = {.record_caller = true}});
  std::byte* const buffer = pool->Acquire();
  ReleaseHere(*pool, buffer);
  EXPECT_DEATH(pool->Release(buffer), NamesACallerInTheTest());
}

// P9
TEST_F(DebugDeathTest, CallerOfABatchIsNamed) {
  const auto pool = NewPool({.capacity = 16, .debug = {.record_caller = true}});
  std::byte* const buffer = pool->Acquire();
  ReleaseManyHere(*pool, buffer);
  EXPECT_DEATH(pool->Release(buffer), NamesACallerInTheTest());
}

// P9
TEST_F(DebugDeathTest, CallerWhoTookAnOverrunBufferIsNamed) {
  const auto pool = NewPool(
      {.capacity = 16, .debug = {.canaries = true, .record_caller = true}});
  std::byte* const buffer = AcquireHere(*pool);
  Scribble(buffer + pool->buffer_size());
  EXPECT_DEATH(pool->Release(buffer), NamesACallerInTheTest());
  Scribble(buffer + pool->buffer_size());
  pool->Release(buffer);
  std::array<std::byte*, 2> pair;
  AcquirePairHere(*pool, pair);
  Scribble(pair[0] + pool->buffer_size());
  EXPECT_DEATH(pool->ReleasePair(pair), NamesACallerInTheTest());
  Scribble(pair[0] + pool->buffer_size());
  pool->ReleasePair(pair);
}

// P7: two releases race each other, the first of them stopped before any of its
// instructions: one of the two is reported.
TEST_F(DebugDeathTest, StrictMisuseTellsOfReleasesThatRace) {
  if (!Stepper::Works()) GTEST_SKIP() << "needs single steps";
  const auto pool = NewPool(
      {.buffer_size = 64, .capacity = 16, .debug = {.strict_misuse = true}});
  pool->Release(pool->Acquire());
  std::byte* const buffer = pool->Acquire();
  const uint64_t instructions = Stepper::Count([&] { pool->Release(buffer); });
  ASSERT_EQ(pool->Acquire(), buffer);
  const uint64_t stride = 1 + instructions / 150;
  for (uint64_t at = 0; at < instructions; at += stride) {
    ASSERT_DEATH(Stepper::InterruptAt(
                     at, [&] { pool->Release(buffer); },
                     [&] { Companion().Run([&] { pool->Release(buffer); }); }),
                 "released twice")
        << "at instruction " << at;
  }
  pool->Release(buffer);
}

// P9: all of them at once.
TEST(DebugModesTest, AllTogetherLoseNothing) {
  const auto pool = NewPool({.capacity = 128,
                             .zero_on_release = true,
                             .debug = {.fail_one_in = 50,
                                       .cold_first = true,
                                       .integrity = true,
                                       .canaries = true,
                                       .guard_pages = true,
                                       .record_caller = true,
                                       .strict_misuse = true}});
  std::array<Companion, 3> threads;
  for (Companion& thread : threads) {
    thread.Start([&] {
      for (int i = 0; i < 300; ++i) {
        std::array<std::byte*, 5> some;
        if (!pool->AcquireMany(some)) continue;
        for (std::byte* const buffer : some) {
          std::memset(buffer, i, pool->buffer_size());
        }
        pool->ReleaseMany(some);
      }
    });
  }
  for (Companion& thread : threads) thread.Wait();
  ExpectAtRest(*pool, 0);
}

}  // namespace
}  // namespace tandem
