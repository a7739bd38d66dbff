// The basis of the tests that stop a thread everywhere: the stepper stops
// before each instruction, and skips only those of a restartable sequence.

#include "tandem/tests/pool/stepper.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

constexpr int kInstructions = 100;

class StepperTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!Stepper::Works()) GTEST_SKIP() << "needs single steps";
  }

  // Adds one to `done_` by each of kInstructions instructions.
  void Work() {
#ifdef __x86_64__
    asm volatile(
        ".rept 100\n"
        "incl %0\n"
        ".endr\n"
        : "+m"(done_)::"cc");
#endif
  }

  int done_ = 0;
};

TEST_F(StepperTest, CountsEveryInstruction) {
  const uint64_t with = Stepper::Count([&] { Work(); });
  const uint64_t without =
      Stepper::Count([&] { asm volatile("" ::"r"(this)); });
  EXPECT_EQ(done_, kInstructions);
  EXPECT_GE(with, without + kInstructions);
}

TEST_F(StepperTest, InterruptsBeforeEachInstruction) {
  std::vector<int> seen;
  bool interrupted = true;
  for (uint64_t at = 0; interrupted; ++at) {
    done_ = 0;
    interrupted = Stepper::InterruptAt(
        at, [&] { Work(); }, [&] { seen.push_back(done_); });
    EXPECT_EQ(done_, kInstructions);
  }
  EXPECT_TRUE(std::ranges::is_sorted(seen));
  const auto copies = std::ranges::unique(seen);
  seen.erase(copies.begin(), copies.end());
  EXPECT_EQ(seen.size(), size_t{kInstructions} + 1);
}

// What the copies of the process have seen is in memory that they share.
TEST_F(StepperTest, StopsEverywhereInCopies) {
  constexpr size_t kPlaces = kInstructions + 1;
  void* const memory = mmap(nullptr, kPlaces, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  const std::span seen(static_cast<std::byte*>(memory), kPlaces);
  constexpr std::byte kSeen{1};
  // As many times as a build that does not optimize tries other instructions.
  for (int i = 0; i < 61; ++i) {
    done_ = 0;
    Stepper::InterruptEverywhere([&] { Work(); }, [&] { seen[done_] = kSeen; },
                                 [&] { EXPECT_EQ(done_, kInstructions); });
    if (std::ranges::count(seen, kSeen) == std::ssize(seen)) break;
#ifdef __OPTIMIZE__
    if (!kAsan) break;
#endif
  }
  EXPECT_EQ(std::ranges::count(seen, kSeen), std::ssize(seen));
  munmap(memory, kPlaces);
}

}  // namespace
}  // namespace tandem
