// Tests the check of histories. For each promise there is a history that keeps
// it and one that breaks it, which differ in one thing. Linearization must tell
// them apart; otherwise linearizability_test proves nothing.

#include "tandem/tests/session/linearization.h"

#include <cstddef>
#include <cstdint>

#include "gtest/gtest.h"
#include "tandem/tests/session/history.h"
#include "tandem/tests/session/tale.h"

namespace tandem {
namespace {

using Operation = History::Operation;
using Result = History::Result;

constexpr size_t kA = 0, kB = 1, kC = 2, kD = 3;  // threads, and their sessions

TEST(LinearizationTest, WhatIsDoneOneAfterTheOther) {
  Tale tale({.capacity = 4, .reserve = 1});
  tale.Does(kA, Pair());
  tale.Does(kB, Receive());
  tale.Does(kC, Receive(), Result::kFailed);
  tale.Does(kB, Pair(1));
  tale.Does(kC, Acquire(1), Result::kFailed);
  tale.Does(kC, OrWait(Receive()), Result::kWaiting);
  tale.Does(kA, Release(1));
  tale.Does(kC, Finish(), Result::kWaiting);
  tale.ReleasesAndWakes(kB, 2, kC);
  tale.Does(kC, Finish());
  tale.Does(kD, Cancel(kC), Result::kFailed);
  tale.Does(kD, OrWait(Pair()));
  EXPECT_TRUE(tale.IsAllowed());
}

// P1.
TEST(LinearizationTest, NoMoreAreOutThanThereAre) {
  const auto tell = [](uint32_t capacity) {
    Tale tale({.capacity = capacity});
    tale.Does(kA, Acquire(2));
    tale.Does(kB, Acquire(1));
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(3));
  EXPECT_FALSE(tell(2));
}

TEST(LinearizationTest, OrderOfWhatOverlapsIsSearchedFor) {
  const auto tell = [](bool overlap) {
    Tale tale({.capacity = 1});
    tale.Does(kA, Acquire(1));
    tale.Begins(kC, Acquire(1));
    tale.Begins(kB, Acquire(1));
    tale.Begins(kA, Release(1));
    tale.Ends(kB);
    if (!overlap) tale.Ends(kC);
    tale.Does(kB, Release(1));
    if (overlap) tale.Ends(kC);
    tale.Ends(kA);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(true));
  EXPECT_FALSE(tell(false));
}

TEST(LinearizationTest, BuffersAreGivenBackOnce) {
  const auto tell = [](uint32_t taken) {
    Tale tale({.capacity = 2});
    tale.Does(kA, Acquire(taken));
    tale.Does(kA, Release(1));
    tale.Does(kA, Release(1));
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(2));
  EXPECT_FALSE(tell(1));
}

// S1.
TEST(LinearizationTest, ReceiveLeavesTheReserve) {
  const auto tell = [](uint32_t free, Result result) {
    Tale tale({.capacity = 4, .reserve = 2});
    tale.Does(kA, Acquire(4 - free));
    tale.Does(kB, Receive(), result);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(3, Result::kDone));
  EXPECT_FALSE(tell(2, Result::kDone));
  EXPECT_TRUE(tell(2, Result::kFailed));
  EXPECT_FALSE(tell(3, Result::kFailed));
}

// S2.
TEST(LinearizationTest, HalfAPairIsNone) {
  const auto tell = [](uint32_t free, Result result) {
    Tale tale({.capacity = 3});
    tale.Does(kA, Acquire(3 - free));
    tale.Does(kB, Pair(), result);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(2, Result::kDone));
  EXPECT_FALSE(tell(1, Result::kDone));
  EXPECT_TRUE(tell(1, Result::kFailed));
  EXPECT_FALSE(tell(2, Result::kFailed));
}

TEST(LinearizationTest, NobodySeesHalfAPairTaken) {
  const auto tell = [](Result result) {
    Tale tale({.capacity = 2});
    tale.Does(kA, Acquire(1));
    tale.Begins(kB, Pair());
    tale.Does(kC, Acquire(1), result);
    tale.Ends(kB, Result::kFailed);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(Result::kDone));
  EXPECT_FALSE(tell(Result::kFailed));
}

TEST(LinearizationTest, FailedPairGivesBackWhatIsEmptyAndNoMore) {
  const auto tell = [](uint32_t empty, const Operation& then) {
    Tale tale({.capacity = 2});
    tale.Does(kA, Receive());
    tale.Does(kB, Acquire(1));
    tale.Does(kA, Pair(1, empty), Result::kFailed);
    tale.Does(kB, Release(1));
    tale.Does(kA, then);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(0, Release(1)));
  EXPECT_FALSE(tell(1, Release(1)));
  EXPECT_TRUE(tell(1, Acquire(2)));
  EXPECT_FALSE(tell(0, Acquire(2)));
}

// P3.
TEST(LinearizationTest, FailsWhileOthersMayHaveItInTheirHands) {
  const auto tell = [](bool overlap, uint32_t free) {
    Tale tale({.capacity = free + 1, .batch = 1});
    tale.Begins(kA, Acquire(1));
    if (!overlap) tale.Ends(kA);
    tale.Does(kB, Acquire(1), Result::kFailed);
    if (overlap) tale.Ends(kA);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(true, 1));
  EXPECT_FALSE(tell(false, 1));
  EXPECT_FALSE(tell(true, 2));
}

// S4.
TEST(LinearizationTest, WhoCanBeServedIsBeforeAllAreDone) {
  const auto tell = [](bool woken, Result finish) {
    Tale tale({.capacity = 2});
    tale.Does(kA, Acquire(2));
    tale.Does(kB, OrWait(Receive()), Result::kWaiting);
    tale.Begins(kA, Release(1));
    if (woken) tale.Wakes(kA, kB);
    tale.Ends(kA);
    tale.Does(kB, Finish(), finish);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(true, Result::kDone));
  EXPECT_FALSE(tell(true, Result::kWaiting));
  EXPECT_FALSE(tell(true, Result::kCancelled));
  EXPECT_FALSE(tell(false, Result::kWaiting));
}

TEST(LinearizationTest, NobodyIsWokenForNothing) {
  const auto tell = [](uint32_t released) {
    Tale tale({.capacity = 3});
    tale.Does(kA, Acquire(3));
    tale.Does(kB, OrWait(Pair()), Result::kWaiting);
    tale.ReleasesAndWakes(kA, released, kB);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(2));
  EXPECT_FALSE(tell(1));
}

TEST(LinearizationTest, BuffersComeWithTheWakeUp) {
  const auto tell = [](Result result) {
    Tale tale({.capacity = 1});
    tale.Does(kA, Acquire(1));
    tale.Does(kB, OrWait(Receive()), Result::kWaiting);
    tale.ReleasesAndWakes(kA, 1, kB);
    tale.Does(kC, Acquire(1), result);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(Result::kFailed));
  EXPECT_FALSE(tell(Result::kDone));
}

TEST(LinearizationTest, WaitIsServedByTheOperationThatBeganIt) {
  const auto tell = [](bool overlap) {
    Tale tale({.capacity = 2});
    tale.Does(kA, Acquire(1));
    tale.Begins(kB, OrWait(Pair()));
    tale.Does(kC, Acquire(1), Result::kFailed);  // B has come before.
    if (!overlap) tale.Ends(kB);
    tale.Does(kA, Release(1));
    if (overlap) tale.Ends(kB);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(true));
  EXPECT_FALSE(tell(false));
}

TEST(LinearizationTest, FirstComeFirstServedInAClass) {
  const auto tell = [](bool overlap, size_t first) {
    Tale tale({.capacity = 1});
    tale.Does(kA, Acquire(1));
    tale.Begins(kB, OrWait(Receive()));
    if (!overlap) tale.Ends(kB, Result::kWaiting);
    tale.Does(kC, OrWait(Receive()), Result::kWaiting);
    if (overlap) tale.Ends(kB, Result::kWaiting);
    tale.ReleasesAndWakes(kA, 1, first);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(false, kB));
  EXPECT_FALSE(tell(false, kC));
  EXPECT_TRUE(tell(true, kC));
}

TEST(LinearizationTest, LaterAllocationOvertakesNobodyButAComplete) {
  const auto tell = [](const Operation& later) {
    Tale tale({.capacity = 2});
    tale.Does(kC, Receive());
    tale.Does(kB, OrWait(Pair()), Result::kWaiting);
    tale.Does(kC, later);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(Pair(1)));
  EXPECT_FALSE(tell(Receive()));
  EXPECT_FALSE(tell(Acquire(1)));
}

TEST(LinearizationTest, ClassIsOvertakenOnlyByAServerThatBeganEarlier) {
  const auto tell = [](bool earlier) {
    Tale tale({.capacity = 2});
    tale.Does(kA, Acquire(2));
    tale.Does(kC, OrWait(Receive()), Result::kWaiting);
    if (earlier) tale.Begins(kA, Release(1));
    tale.Does(kB, OrWait(Pair()), Result::kWaiting);
    if (!earlier) tale.Begins(kA, Release(1));
    tale.Does(kC, Finish(), Result::kWaiting);  // Not served before B had come.
    tale.Wakes(kA, kC);
    tale.Ends(kA);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(true));
  EXPECT_FALSE(tell(false));
}

// S5.
TEST(LinearizationTest, WaitIsServedOrCancelled) {
  const auto tell = [](bool woken, bool cancelled, Result finish) {
    Tale tale({.capacity = 1});
    tale.Does(kA, Acquire(1));
    tale.Does(kB, OrWait(Receive()), Result::kWaiting);
    tale.Begins(kA, Release(1));
    tale.Begins(kC, Cancel(kB));
    if (woken) tale.Wakes(kA, kB);
    tale.Ends(kC, cancelled ? Result::kDone : Result::kFailed);
    tale.Ends(kA);
    tale.Does(kB, Finish(), finish);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(true, false, Result::kDone));
  EXPECT_TRUE(tell(false, true, Result::kCancelled));
  EXPECT_FALSE(tell(false, true, Result::kDone));
  EXPECT_FALSE(tell(true, false, Result::kCancelled));
  for (const Result finish :
       {Result::kDone, Result::kWaiting, Result::kCancelled}) {
    EXPECT_FALSE(tell(true, true, finish));
    EXPECT_FALSE(tell(false, false, finish));
  }
}

TEST(LinearizationTest, WhoLeavesLetsOthersBeServed) {
  const auto tell = [](bool woken) {
    Tale tale({.capacity = 2});
    tale.Does(kA, Acquire(1));
    tale.Does(kB, OrWait(Pair()), Result::kWaiting);
    tale.Does(kC, OrWait(Receive()), Result::kWaiting);
    tale.Begins(kB, Cancel(kB));
    if (woken) tale.Wakes(kB, kC);
    tale.Ends(kB);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(true));
  EXPECT_FALSE(tell(false));
}

// S7.
TEST(LinearizationTest, AsManyWaitAsMayAndCompletesBeyond) {
  const auto tell = [](uint32_t max_waiters, const Operation& operation,
                       Result result) {
    Tale tale({.capacity = 2, .max_waiters = max_waiters});
    tale.Does(kA, Acquire(1));
    tale.Does(kC, Receive());
    tale.Does(kB, OrWait(Receive()), Result::kWaiting);
    tale.Does(operation.held == 1 ? kC : kD, OrWait(operation), result);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(1, Pair(), Result::kOverloaded));
  EXPECT_FALSE(tell(2, Pair(), Result::kOverloaded));
  EXPECT_TRUE(tell(2, Pair(), Result::kWaiting));
  EXPECT_FALSE(tell(1, Pair(), Result::kWaiting));
  EXPECT_TRUE(tell(1, Pair(1), Result::kWaiting));
  EXPECT_FALSE(tell(1, Pair(1), Result::kOverloaded));
}

TEST(LinearizationTest, WhoIsJustBeingServedMayStillCount) {
  const auto tell = [](bool overlap) {
    Tale tale({.capacity = 1, .max_waiters = 1});
    tale.Does(kA, Acquire(1));
    tale.Does(kB, OrWait(Receive()), Result::kWaiting);
    tale.Begins(kA, Release(1));
    tale.Wakes(kA, kB);
    if (!overlap) tale.Ends(kA);
    tale.Does(kB, Finish());
    tale.Does(kC, OrWait(Receive()), Result::kOverloaded);
    if (overlap) tale.Ends(kA);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(true));
  EXPECT_FALSE(tell(false));
}

// S8.
TEST(LinearizationTest, LaterAllocationWaitsBehindADueClass) {
  const auto tell = [](uint32_t max_overtakes, bool overlap, Result result) {
    Tale tale({.capacity = 5, .reserve = 2, .max_overtakes = max_overtakes});
    tale.Does(kA, Acquire(3));
    tale.Does(kC, OrWait(Receive()), Result::kWaiting);
    for (int i = 0; i < 2; ++i) {
      tale.Begins(kD, Pair());
      if (overlap) tale.Does(kB, Cancel(kB), Result::kFailed);
      tale.Ends(kD);
      tale.Does(kD, Release(2));
    }
    tale.Does(kD, Pair(), result);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(2, false, Result::kFailed));
  EXPECT_FALSE(tell(2, false, Result::kDone));
  EXPECT_TRUE(tell(3, false, Result::kDone));
  EXPECT_FALSE(tell(3, false, Result::kFailed));
  EXPECT_TRUE(tell(2, true, Result::kDone));
  EXPECT_TRUE(tell(3, true, Result::kFailed));
}

TEST(LinearizationTest, WhoComesFirstMayJoinLater) {
  const auto tell = [](bool overlap) {
    Tale tale({.capacity = 2, .max_overtakes = 2});
    tale.Does(kA, Pair());
    tale.Begins(kB, OrWait(Pair()));
    if (!overlap) tale.Ends(kB, Result::kWaiting);
    tale.Begins(kC, OrWait(Receive()));
    if (overlap) tale.Ends(kB, Result::kWaiting);
    tale.Does(kD, Cancel(kC), Result::kFailed);  // C has not joined yet.
    tale.Ends(kC, Result::kWaiting);
    tale.ReleasesAndWakes(kA, 2, kC);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(true));
  EXPECT_FALSE(tell(false));
}

TEST(LinearizationTest, DueClassIsServedFirst) {
  const auto tell = [](uint32_t max_overtakes, size_t first) {
    Tale tale({.capacity = 2, .max_overtakes = max_overtakes});
    tale.Does(kA, Pair());
    tale.Does(kC, OrWait(Receive()), Result::kWaiting);
    tale.Does(kB, OrWait(Pair()), Result::kWaiting);
    tale.ReleasesAndWakes(kA, 2, kB);
    tale.Does(kA, OrWait(Pair()), Result::kWaiting);
    tale.ReleasesAndWakes(kB, 2, kA);
    tale.Does(kD, OrWait(Pair()), Result::kWaiting);
    tale.ReleasesAndWakes(kA, 2, first);
    return tale.IsAllowed();
  };
  EXPECT_TRUE(tell(2, kC));
  EXPECT_FALSE(tell(2, kD));
  EXPECT_TRUE(tell(3, kD));
  EXPECT_FALSE(tell(3, kC));
}

}  // namespace
}  // namespace tandem
