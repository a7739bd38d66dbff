// S8: classes with a margin and a rank, and how often a rank is overtaken.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/session/session_test_util.h"

namespace tandem {
namespace {

// HAProxy's ranks of today, more or less: urgent before pairs, bulk after them
// and with a larger margin.
SessionOptions Declared(uint32_t max_overtakes = 64) {
  return {.max_overtakes = max_overtakes,
          .classes = {{.name = "urgent", .keep = 1, .rank = 50},
                      {.name = "bulk", .keep = 5, .rank = 150}}};
}

class ClassesTest : public ::testing::Test {
 protected:
  Service service_{{.capacity = 16, .reserve = 2, .cache_size = 4}, Declared()};
  const ClassId urgent_ = *service_.sessions().FindClass("urgent");
  const ClassId bulk_ = *service_.sessions().FindClass("bulk");
};

TEST_F(ClassesTest, DeclaredClassLeavesItsMargin) {
  service_.TakeAllBut(6);
  SessionBuffers session(service_.sessions());
  EXPECT_EQ(session.AllocateBufferAs(bulk_, Side::kRequest),
            Allocation::kGranted);
  EXPECT_EQ(session.AllocateBufferAs(bulk_, Side::kResponse),
            Allocation::kExhausted);
  service_.GiveBackAll();
}

TEST_F(ClassesTest, DeclaredClassMayKeepLessThanTheReserve) {
  service_.TakeAllBut(2);
  SessionBuffers session(service_.sessions());
  EXPECT_EQ(session.AllocateBufferAs(urgent_, Side::kRequest),
            Allocation::kGranted);
  EXPECT_EQ(session.AllocateBufferAs(urgent_, Side::kResponse),
            Allocation::kExhausted);
  EXPECT_EQ(service_.Free(), 1u);
  service_.GiveBackAll();
}

// Its margin must be free: a cache that could serve it does not count.
TEST_F(ClassesTest, DeclaredClassLeavesItsMarginOutOfTheOwnCacheToo) {
  service_.TakeAllBut(5);
  std::byte* const own = service_.pool().Acquire();
  service_.pool().Release(own);
  const PoolSnapshot before = service_.pool().Snapshot();
  ASSERT_FALSE(before.pressed);
  ASSERT_GT(before.cached, 0u);
  SessionBuffers session(service_.sessions());
  EXPECT_EQ(session.AllocateBufferAs(bulk_, Side::kRequest),
            Allocation::kExhausted);
  service_.GiveBack(1);
  EXPECT_EQ(session.AllocateBufferAs(bulk_, Side::kRequest),
            Allocation::kGranted);
  service_.GiveBackAll();
}

TEST_F(ClassesTest, ServesInOrderOfRank) {
  SessionBuffers complete(service_.sessions());
  HoldOne(complete);
  service_.TakeAllBut(0);
  std::string order;
  LetterWaker r(order, 'r'), b(order, 'b'), p(order, 'p'), u(order, 'u'),
      c(order, 'c');
  SessionBuffers receive(service_.sessions());
  SessionBuffers bulk(service_.sessions());
  SessionBuffers pair(service_.sessions());
  SessionBuffers urgent(service_.sessions());
  ASSERT_EQ(receive.AllocateReceiveBuffer(Side::kRequest, r),
            Allocation::kWaiting);
  ASSERT_EQ(bulk.AllocateBufferAs(bulk_, Side::kRequest, b),
            Allocation::kWaiting);
  ASSERT_EQ(pair.AllocateBuffers(p), Allocation::kWaiting);
  ASSERT_EQ(urgent.AllocateBufferAs(urgent_, Side::kRequest, u),
            Allocation::kWaiting);
  ASSERT_EQ(complete.AllocateBuffers(c), Allocation::kWaiting);
  service_.GiveBackAll();
  EXPECT_EQ(order, "cupbr");
}

// The class that goes first is served, or none is: buffers that a lower class
// could use are kept for it.
TEST_F(ClassesTest, LowerClassIsNotServedBeforeAHigherOneThatCannotBeYet) {
  service_.TakeAllBut(5);
  SessionBuffers bulk(service_.sessions());
  SessionBuffers receive(service_.sessions());
  CountingWaker waker;
  ASSERT_EQ(bulk.AllocateBufferAs(bulk_, Side::kRequest, Waker{}),
            Allocation::kWaiting);
  EXPECT_EQ(receive.AllocateReceiveBuffer(Side::kRequest, waker),
            Allocation::kWaiting);
  EXPECT_EQ(waker.calls(), 0);
  service_.GiveBack(1);
  EXPECT_EQ(bulk.FinishWait(), WaitStatus::kGranted);
  EXPECT_EQ(waker.calls(), 1);
  service_.GiveBackAll();
}

TEST_F(ClassesTest, SnapshotCountsWaitsByClass) {
  service_.TakeAllBut(0);
  SessionBuffers first(service_.sessions());
  SessionBuffers second(service_.sessions());
  ASSERT_EQ(first.AllocateBufferAs(bulk_, Side::kRequest, Waker{}),
            Allocation::kWaiting);
  ASSERT_EQ(second.AllocateBufferAs(bulk_, Side::kRequest, Waker{}),
            Allocation::kWaiting);
  const auto bulk = [&] { return service_.sessions().Snapshot().classes[3]; };
  EXPECT_EQ(bulk().name, "bulk");
  EXPECT_EQ(bulk().waiting, 2u);
  EXPECT_TRUE(second.CancelWait());
  service_.GiveBackAll();
  EXPECT_EQ(bulk().waiting, 0u);
  EXPECT_EQ(bulk().waits, 2u);
  EXPECT_EQ(bulk().grants, 1u);
  EXPECT_EQ(bulk().cancels, 1u);
}

// How many fresh pairs overtake a receive that waits, with a bound of `bound`.
int PairsThatOvertake(uint32_t bound) {
  Service service({.capacity = 8, .reserve = 2}, Declared(bound));
  service.TakeAllBut(2);
  SessionBuffers receive(service.sessions());
  EXPECT_EQ(receive.AllocateReceiveBuffer(Side::kRequest, Waker{}),
            Allocation::kWaiting);
  SessionBuffers pair(service.sessions());
  int count = 0;
  while (count < 1000 && pair.AllocateBuffers() == Allocation::kGranted) {
    pair.ReleaseBuffers();
    ++count;
  }
  EXPECT_EQ(receive.FinishWait(), WaitStatus::kWaiting);
  service.GiveBackAll();
  EXPECT_EQ(receive.FinishWait(), WaitStatus::kGranted);
  return count;
}

TEST(OvertakingTest, FreshPairsOvertakeAReceiveAsOftenAsAllowedAndNoMore) {
  EXPECT_EQ(PairsThatOvertake(1), 1);
  EXPECT_EQ(PairsThatOvertake(3), 3);
  EXPECT_EQ(PairsThatOvertake(64), 64);
}

// A pair that subscribes behind a receive that is due is served after it.
TEST(OvertakingTest, ReceiveThatIsDueGoesBeforePairsThatCameLater) {
  Service service({.capacity = 8, .reserve = 2}, Declared(2));
  service.TakeAllBut(2);
  std::string order;
  LetterWaker r(order, 'r'), p(order, 'p');
  SessionBuffers receive(service.sessions());
  SessionBuffers pair(service.sessions());
  ASSERT_EQ(receive.AllocateReceiveBuffer(Side::kRequest, r),
            Allocation::kWaiting);
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(pair.AllocateBuffers(p), Allocation::kGranted);
    pair.ReleaseBuffers();
  }
  ASSERT_EQ(pair.AllocateBuffers(p), Allocation::kWaiting);
  EXPECT_EQ(order, "");
  service.GiveBackAll();
  EXPECT_EQ(order, "rp");
}

TEST(OvertakingTest, PairsThatWaitOvertakeAReceiveNoMoreThanAllowed) {
  Service service({.capacity = 16, .reserve = 2}, Declared(3));
  service.TakeAllBut(0);
  std::string order;
  LetterWaker r(order, 'r');
  std::deque<LetterWaker> wakers;
  SessionBuffers receive(service.sessions());
  ASSERT_EQ(receive.AllocateReceiveBuffer(Side::kRequest, r),
            Allocation::kWaiting);
  std::deque<SessionBuffers> pairs;
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(pairs.emplace_back(service.sessions())
                  .AllocateBuffers(wakers.emplace_back(order, 'p')),
              Allocation::kWaiting);
  }
  service.GiveBackAll();
  EXPECT_EQ(order, "ppprpp");
}

// A class that goes first and needs more than there is holds up a receive until
// the receive is due. By then there may be enough for the receive.
TEST(OvertakingTest, WhoBecomesDueIsServedAtOnceIfThereIsEnough) {
  Service service({.capacity = 16, .reserve = 2}, Declared(1));
  service.TakeAllBut(2);
  CountingWaker waker;
  SessionBuffers receive(service.sessions());
  SessionBuffers bulk(service.sessions());
  ASSERT_EQ(receive.AllocateReceiveBuffer(Side::kRequest, waker),
            Allocation::kWaiting);
  ASSERT_EQ(bulk.AllocateBufferAs(*service.sessions().FindClass("bulk"),
                                  Side::kRequest, Waker{}),
            Allocation::kWaiting);
  service.GiveBack(3);
  EXPECT_EQ(waker.calls(), 0);
  SessionBuffers pair(service.sessions());
  EXPECT_EQ(pair.AllocateBuffers(), Allocation::kGranted);
  EXPECT_EQ(waker.calls(), 1);
  service.GiveBackAll();
}

// Complete is never held back, and does not use up other classes' turns.
TEST(OvertakingTest, CompletesAreNeverHeldBack) {
  Service service({.capacity = 8, .reserve = 2}, Declared(1));
  SessionBuffers complete(service.sessions());
  HoldOne(complete);
  service.TakeAllBut(2);
  SessionBuffers receive(service.sessions());
  ASSERT_EQ(receive.AllocateReceiveBuffer(Side::kRequest, Waker{}),
            Allocation::kWaiting);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(complete.AllocateBuffers(), Allocation::kGranted);
    complete.ReleaseBuffers();
    ASSERT_TRUE(complete.has_buffer(Side::kRequest));
    ASSERT_FALSE(complete.has_buffer(Side::kResponse));
  }
  SessionBuffers pair(service.sessions());
  EXPECT_EQ(pair.AllocateBuffers(), Allocation::kGranted);
  pair.ReleaseBuffers();
  EXPECT_EQ(pair.AllocateBuffers(), Allocation::kExhausted);
  EXPECT_EQ(complete.AllocateBuffers(), Allocation::kGranted);
  service.GiveBackAll();
}

TEST_F(ClassesTest, BufferOfAClassMayBeHadWithoutASession) {
  service_.TakeAllBut(6);
  std::byte* const buffer = service_.sessions().Acquire(bulk_);
  ASSERT_NE(buffer, nullptr);
  EXPECT_EQ(service_.sessions().Acquire(bulk_), nullptr);
  service_.pool().Release(buffer);
  EXPECT_EQ(service_.Free(), 6u);
  service_.GiveBackAll();
}

// Its other buffer may be anywhere: a complete of a single side is served
// before a pair that came first.
TEST_F(ClassesTest, CompleteIsForWhoHoldsABufferElsewhere) {
  service_.TakeAllBut(0);
  SessionBuffers pair(service_.sessions());
  SessionBuffers single(service_.sessions());
  CountingWaker wake_pair;
  CountingWaker wake_single;
  ASSERT_EQ(pair.AllocateBuffers(wake_pair), Allocation::kWaiting);
  ASSERT_EQ(single.AllocateBufferAs(service_.sessions().complete(),
                                    Side::kResponse, wake_single),
            Allocation::kWaiting);
  service_.GiveBack(1);
  EXPECT_EQ(wake_single.calls(), 1);
  EXPECT_EQ(wake_pair.calls(), 0);
  service_.GiveBackAll();
  EXPECT_EQ(wake_pair.calls(), 1);
}

TEST(ClassesDeathTest, WhatNeedsTwoOrIsNoClassIsRefused) {
  Service service({.capacity = 8});
  SessionBuffers session(service.sessions());
  EXPECT_DEATH((void)service.sessions().Acquire(service.sessions().pair()),
               "class 1 is none that needs one buffer");
  EXPECT_DEATH((void)session.AllocateBufferAs(ClassId{3}, Side::kRequest),
               "class 3 is none that needs one buffer");
}

}  // namespace
}  // namespace tandem
