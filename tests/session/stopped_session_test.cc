// P4, S4, S5, S8: a thread is stopped forever in an allocation, a release or a
// cancel. stopped_wait_test has the rest of a session's operations. The stepper
// stops a thread at each instruction, whatever function it belongs to, so at
// those of a session's inlined paths, too (AllocateBothFast, TakeBackFast).

#include "tandem/tests/session/stopped_session.h"

#include <array>
#include <cstddef>

#include "gtest/gtest.h"

namespace tandem {
namespace {

TEST_P(StoppedSessionTest, StoppedInAReceiveThatIsMetHidesOne) {
  Start(/*reserve=*/2);
  CheckStops(1, [&] { (void)stopped_->Ask(Kind::kReceive); });
}

TEST_P(StoppedSessionTest, StoppedInAPairThatIsMetHidesTwo) {
  Start(/*reserve=*/2);
  CheckStops(2, [&] { (void)stopped_->Ask(Kind::kPair); });
}

// What it asked for may be granted to it while it is stopped.
TEST_P(StoppedSessionTest, StoppedInAReceiveThatWaitsHidesOne) {
  Start(/*reserve=*/2);
  service_->TakeAllBut(2);
  kind_ = Kind::kReceive;
  OtherWaits();
  OtherWaits();
  CheckStops(1, [&] { (void)stopped_->Ask(Kind::kReceive); });
}

TEST_P(StoppedSessionTest, StoppedInAPairThatWaitsHidesTwo) {
  Start(/*reserve=*/2);
  service_->TakeAllBut(1);
  OtherWaits();
  OtherWaits();
  CheckStops(2, [&] { (void)stopped_->Ask(Kind::kPair); });
}

// A session with data that asks for its other buffer: first in order.
TEST_P(StoppedSessionTest, StoppedInACompleteThatWaitsHidesItsTwo) {
  Start(/*reserve=*/2);
  HoldOne(stopped_->session());
  service_->TakeAllBut(0);
  OtherWaits();
  OtherWaits();
  CheckStops(2, [&] { (void)stopped_->Ask(Kind::kPair); });
}

// Its own buffers, or those of the waiter that it is serving.
TEST_P(StoppedSessionTest, StoppedInAReleaseThatServesHidesTwo) {
  Start(/*reserve=*/2);
  ASSERT_EQ(stopped_->Ask(Kind::kPair), Allocation::kGranted);
  service_->TakeAllBut(0);
  OtherWaits();
  OtherWaits();
  CheckStops(2, [&] { stopped_->Release(); });
}

// The last of the others gets what comes back; the stopped thread has nothing
// left to serve.
TEST_P(StoppedSessionTest, StoppedInACancelInTheMiddleHidesTwo) {
  Start(/*reserve=*/2);
  service_->TakeAllBut(1);
  OtherWaits();
  ASSERT_EQ(stopped_->Ask(Kind::kPair), Allocation::kWaiting);
  OtherWaits();
  CheckStops(2, [&] { stopped_->Cancel(); });
}

// S5: the cancel serves the receive that its pair held up.
TEST_P(StoppedSessionTest, StoppedInACancelThatServesHidesTwo) {
  Start(/*reserve=*/0);
  service_->TakeAllBut(1);
  ASSERT_EQ(stopped_->Ask(Kind::kPair), Allocation::kWaiting);
  kind_ = Kind::kReceive;
  OtherWaits();
  CheckStops(2, [&] { stopped_->Cancel(); });
}

// The pool's own operations also serve waiting sessions.
TEST_P(StoppedSessionTest, StoppedInAReleaseManyThatServesHidesFive) {
  Start(/*reserve=*/2);
  std::array<std::byte*, 5> many;
  ASSERT_TRUE(service_->pool().AcquireMany(many));
  service_->TakeAllBut(0);
  OtherWaits();
  OtherWaits();
  CheckStops(5, [&] { service_->pool().ReleaseMany(many); });
}

// It fails while others wait, unless they have been served meanwhile.
TEST_P(StoppedSessionTest, StoppedInAnAcquireThatFailsHidesOne) {
  Start(/*reserve=*/2);
  service_->TakeAllBut(1);
  OtherWaits();
  OtherWaits();
  CheckStops(1, [&] {
    std::byte* const one = service_->pool().Acquire();
    if (one != nullptr) service_->pool().Release(one);
  });
}

// Without a waker it fails, and gives back what it holds empty.
TEST_P(StoppedSessionTest, StoppedInAnAllocationThatFailsHidesTwo) {
  Start(/*reserve=*/2);
  ASSERT_EQ(stopped_->Ask(Kind::kReceive), Allocation::kGranted);
  service_->TakeAllBut(0);
  kind_ = Kind::kReceive;
  OtherWaits();
  OtherWaits();
  CheckStops(2, [&] { (void)stopped_->session().AllocateBuffers(); });
}

TEST_P(StoppedSessionTest, StoppedInAReceiveThatFailsHidesOne) {
  Start(/*reserve=*/2);
  service_->TakeAllBut(2);
  kind_ = Kind::kReceive;
  OtherWaits();
  OtherWaits();
  CheckStops(1, [&] {
    (void)stopped_->session().AllocateReceiveBuffer(Side::kRequest);
  });
}

// S8: it keeps more than the reserve, and so looks at the ledger first.
TEST_P(StoppedSessionTest, StoppedInADeclaredClassThatIsMetHidesOne) {
  Start(/*reserve=*/2);
  CheckStops(1, [&] { (void)stopped_->Ask(Kind::kLate); });
}

// S8: it makes those due that it overtakes, and looks whether they can be
// served.
TEST_P(StoppedSessionTest, StoppedInAReceiveThatMakesAClassDueHidesOne) {
  Start(/*reserve=*/2, /*max_overtakes=*/1);
  service_->TakeAllBut(kLateKeep);
  kind_ = Kind::kLate;
  OtherWaits();
  OtherWaits();
  CheckStops(1, [&] {
    EXPECT_EQ(stopped_->Ask(Kind::kReceive), Allocation::kGranted);
  });
}

TEST_P(StoppedSessionTest, StoppedInADeclaredClassThatWaitsHidesOne) {
  Start(/*reserve=*/2);
  service_->TakeAllBut(kLateKeep);
  kind_ = Kind::kLate;
  OtherWaits();
  OtherWaits();
  CheckStops(1, [&] { (void)stopped_->Ask(Kind::kLate); });
}

INSTANTIATE_TEST_SUITE_P(Session, StoppedSessionTest, BothWays(), BiasName);

}  // namespace
}  // namespace tandem
