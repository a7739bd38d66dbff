// Waits for buffers at each place of an expression at which programs write
// co_await, with waits that suspend.
//
// g++ 12.2 compiles a condition that awaits correctly only if a block around it
// declares a variable (coroutine_frame.h). Here each coroutine does.

#include <chrono>
#include <deque>
#include <exception>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "tandem/session/coroutine.h"
#include "tandem/session/event_notifier.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/support/coroutines.h"
#include "tandem/tests/support/full_service.h"

namespace tandem {
namespace {

constexpr Allocation kGranted = Allocation::kGranted;

class AwaitPositionsTest : public FullServiceTest<> {
 protected:
  AwaitPositionsTest() : FullServiceTest({.capacity = 16}) {}

  // Awaits both buffers, for a session that no other wait has.
  auto Wait() {
    return BuffersFor(sessions_.emplace_back(service_.sessions()), *notifier_);
  }
  // The same with a deadline.
  auto WaitUntil(DeadlineList::Time deadline) {
    return BuffersFor(sessions_.emplace_back(service_.sessions()), *notifier_,
                      deadlines_, deadline);
  }

  Task<Allocation> Returned() { co_return co_await Wait(); }
  Task<bool> IsSame(Allocation as) {
    const bool same = true;
    if (co_await Wait() != as) co_return !same;
    co_return same;
  }

  // The coroutine waits this many times, and then writes "done".
  void ExpectWaits(int waits) {
    for (int i = 0; i < waits; ++i) {
      EXPECT_EQ(log_, "");
      EXPECT_EQ(service_.Waiting(), 1u);
      service_.GiveBack(2);
      EXPECT_EQ(notifier_->Dispatch(), 1u);
    }
    EXPECT_EQ(log_, "done");
    EXPECT_EQ(service_.Waiting(), 0u);
  }

  static bool BothGranted(Allocation a, Allocation b) {
    return a == kGranted && b == kGranted;
  }
  static bool IsLong(const std::string& text, Allocation got) {
    return text.size() == 40 && got == kGranted;
  }

  DeadlineList deadlines_;
  const std::unique_ptr<EventNotifier> notifier_ =
      EventNotifier::Create().value();
  std::deque<SessionBuffers> sessions_;
};

TEST_F(AwaitPositionsTest, Initializer) {
  [](auto& t) -> Detached {
    const Allocation got = co_await t.Wait();
    if (got != kGranted) co_return;
    t.log_ = "done";
  }(*this);
  ExpectWaits(1);
}

TEST_F(AwaitPositionsTest, ConditionOfIf) {
  [](auto& t) -> Detached {
    const std::string text = "done";
    if (co_await t.Wait() != kGranted) co_return;
    t.log_ = text;
  }(*this);
  ExpectWaits(1);
}

TEST_F(AwaitPositionsTest, ConditionOfIfWithElse) {
  [](auto& t) -> Detached {
    std::string text;
    if (co_await t.Wait() != kGranted) {
      text = "wrong";
    } else {
      text = "done";
    }
    t.log_ = text;
  }(*this);
  ExpectWaits(1);
}

TEST_F(AwaitPositionsTest, ConditionOfIfWithADeadline) {
  [](auto& t) -> Detached {
    const auto deadline =
        DeadlineList::Time::clock::now() + std::chrono::hours(1);
    if (co_await t.WaitUntil(deadline) == kGranted) t.log_ = "done";
  }(*this);
  ExpectWaits(1);
}

TEST_F(AwaitPositionsTest, DeclarationInIf) {
  [](auto& t) -> Detached {
    if (const Allocation got = co_await t.Wait(); got == kGranted) {
      t.log_ = "done";
    }
  }(*this);
  ExpectWaits(1);
}

TEST_F(AwaitPositionsTest, BothSidesOfAnAnd) {
  [](auto& t) -> Detached {
    const std::string text = "done";
    if (co_await t.Wait() == kGranted && co_await t.Wait() == kGranted) {
      t.log_ = text;
    }
  }(*this);
  ExpectWaits(2);
}

TEST_F(AwaitPositionsTest, BothSidesOfAnOr) {
  [](auto& t) -> Detached {
    const std::string text = "done";
    if (co_await t.Wait() != kGranted || co_await t.Wait() != kGranted) {
      co_return;
    }
    t.log_ = text;
  }(*this);
  ExpectWaits(2);
}

TEST_F(AwaitPositionsTest, ConditionOfSwitch) {
  [](auto& t) -> Detached {
    const std::string text = "done";
    switch (co_await t.Wait()) {
      case kGranted:
        t.log_ = text;
        break;
      default:
        t.log_ = "wrong";
    }
  }(*this);
  ExpectWaits(1);
}

TEST_F(AwaitPositionsTest, ConditionOfWhile) {
  [](auto& t) -> Detached {
    int rounds = 0;
    while (co_await t.Wait() == kGranted && rounds < 3) ++rounds;
    t.log_ = "done";
  }(*this);
  ExpectWaits(4);
}

TEST_F(AwaitPositionsTest, ConditionOfDoWhile) {
  [](auto& t) -> Detached {
    int rounds = 0;
    do {
      ++rounds;
    } while (co_await t.Wait() == kGranted && rounds < 3);
    t.log_ = "done";
  }(*this);
  ExpectWaits(3);
}

TEST_F(AwaitPositionsTest, ConditionAndStepOfFor) {
  [](auto& t) -> Detached {
    for (int i = 0; co_await t.Wait() == kGranted && i < 3;
         i += co_await t.Wait() == kGranted ? 2 : 0) {
    }
    t.log_ = "done";
  }(*this);
  ExpectWaits(5);
}

TEST_F(AwaitPositionsTest, ConditionInsideOfALoop) {
  [](auto& t) -> Detached {
    for (int i = 0; i < 3; ++i) {
      if (co_await t.Wait() != kGranted) co_return;
    }
    t.log_ = "done";
  }(*this);
  ExpectWaits(3);
}

TEST_F(AwaitPositionsTest, ConditionInsideOfTry) {
  [](auto& t) -> Detached {
    const std::string text = "done";
    try {
      if (co_await t.Wait() == kGranted) t.log_ = text;
    } catch (const std::exception&) {
    }
  }(*this);
  ExpectWaits(1);
}

TEST_F(AwaitPositionsTest, Arguments) {
  [](auto& t) -> Detached {
    const bool both = t.BothGranted(co_await t.Wait(), co_await t.Wait());
    if (both) t.log_ = "done";
  }(*this);
  ExpectWaits(2);
}

TEST_F(AwaitPositionsTest, ArgumentBesideATemporary) {
  [](auto& t) -> Detached {
    const bool is_long = t.IsLong(std::string(40, 'x'), co_await t.Wait());
    if (is_long) t.log_ = "done";
  }(*this);
  ExpectWaits(1);
}

TEST_F(AwaitPositionsTest, BranchesOfTheTernary) {
  [](auto& t) -> Detached {
    const bool first = t.log_.empty();
    const Allocation one = first ? co_await t.Wait() : Allocation::kExhausted;
    const Allocation two = !first ? Allocation::kExhausted : co_await t.Wait();
    if (t.BothGranted(one, two)) t.log_ = "done";
  }(*this);
  ExpectWaits(2);
}

TEST_F(AwaitPositionsTest, ConditionOfTheTernary) {
  [](auto& t) -> Detached {
    t.log_ = co_await t.Wait() == kGranted ? "done" : "wrong";
  }(*this);
  ExpectWaits(1);
}

TEST_F(AwaitPositionsTest, Statement) {
  [](auto& t) -> Detached {
    (void)co_await t.Wait();
    t.log_ = "done";
  }(*this);
  ExpectWaits(1);
}

TEST_F(AwaitPositionsTest, Return) {
  [](auto& t) -> Detached {
    const Allocation got = co_await t.Returned();
    if (got == kGranted) t.log_ = "done";
  }(*this);
  ExpectWaits(1);
}

TEST_F(AwaitPositionsTest, NestedInAnotherAwaitsArgument) {
  [](auto& t) -> Detached {
    const bool same = co_await t.IsSame(co_await t.Wait());
    if (same) t.log_ = "done";
  }(*this);
  ExpectWaits(2);
}

TEST_F(AwaitPositionsTest, ConditionThatAwaitsWhatAwaitsInACondition) {
  [](auto& t) -> Detached {
    const std::string text = "done";
    if (co_await t.IsSame(kGranted) && co_await t.IsSame(kGranted)) {
      t.log_ = text;
    }
  }(*this);
  ExpectWaits(2);
}

Detached ConditionWithoutAVariable(SessionBuffers& session,
                                   EventNotifier& notifier, std::string& log) {
  if (co_await BuffersFor(session, notifier) != kGranted) co_return;
  log = "done";
}

// A frame that g++ 12.2 lays out wrong is reported; other compilers lay it
// out right.
TEST_F(AwaitPositionsTest, ConditionWhereNoBlockDeclaresAVariable) {
  SessionBuffers& session = sessions_.emplace_back(service_.sessions());
#if defined(__clang__) || __GNUC__ > 12
  ConditionWithoutAVariable(session, *notifier_, log_);
  ExpectWaits(1);
#elif __GNUC__ == 12 && __GNUC_MINOR__ == 2
  EXPECT_DEATH(ConditionWithoutAVariable(session, *notifier_, log_),
               "awaits in a condition where .*const Allocation got");
#endif
}

}  // namespace
}  // namespace tandem
