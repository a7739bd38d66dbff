// S8: classes with a margin and a rank, and how often a rank is overtaken.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/support/service.h"
#include "tandem/tests/support/waiting_session.h"

namespace tandem {
namespace {

// HAProxy's ranks of today, more or less: urgent before pairs, bulk after them
// and with a larger margin.
SessionOptions Declared(uint32_t max_overtakes = 64) {
  return {.max_overtakes = max_overtakes,
          .classes = {{.name = "urgent", .keep = 1, .rank = 50},
                      {.name = "bulk", .keep = 5, .rank = 150}}};
}

using enum Allocation;

class ClassesTest : public ::testing::Test {
 protected:
  Service service_{{.capacity = 16, .reserve = 2, .cache_size = 4}, Declared()};
  const ClassId urgent_ = *service_.sessions().FindClass("urgent");
  const ClassId bulk_ = *service_.sessions().FindClass("bulk");
};

TEST_F(ClassesTest, DeclaredClassLeavesItsMargin) {
  service_.TakeAllBut(6);
  SessionBuffers session(service_.sessions());
  EXPECT_EQ(session.AllocateBufferAs(bulk_, Side::kRequest), kGranted);
  EXPECT_EQ(session.AllocateBufferAs(bulk_, Side::kResponse), kExhausted);
}

TEST_F(ClassesTest, DeclaredClassMayKeepLessThanTheReserve) {
  service_.TakeAllBut(2);
  SessionBuffers session(service_.sessions());
  EXPECT_EQ(session.AllocateBufferAs(urgent_, Side::kRequest), kGranted);
  EXPECT_EQ(session.AllocateBufferAs(urgent_, Side::kResponse), kExhausted);
  EXPECT_EQ(service_.Free(), 1u);
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
  EXPECT_EQ(session.AllocateBufferAs(bulk_, Side::kRequest), kExhausted);
  service_.GiveBack(1);
  EXPECT_EQ(session.AllocateBufferAs(bulk_, Side::kRequest), kGranted);
}

TEST_F(ClassesTest, ServesInOrderOfRank) {
  std::string order;
  WaitingSession complete(service_, &order, 'c');
  HoldOne(complete);
  service_.TakeAllBut(0);
  WaitingSession receive(service_, &order, 'r'), bulk(service_, &order, 'b'),
      pair(service_, &order, 'p'), urgent(service_, &order, 'u');
  ASSERT_EQ(receive.Receive(), kWaiting);
  ASSERT_EQ(bulk.As(bulk_), kWaiting);
  ASSERT_EQ(pair.Pair(), kWaiting);
  ASSERT_EQ(urgent.As(urgent_), kWaiting);
  ASSERT_EQ(complete.Pair(), kWaiting);
  service_.GiveBackAll();
  EXPECT_EQ(order, "cupbr");
}

// The class that goes first is served, or none is: buffers that a lower class
// could use are kept for it.
TEST_F(ClassesTest, LowerClassIsNotServedBeforeAHigherOneThatCannotBeYet) {
  service_.TakeAllBut(5);
  WaitingSession bulk(service_), receive(service_);
  ASSERT_EQ(bulk.As(bulk_), kWaiting);
  EXPECT_EQ(receive.Receive(), kWaiting);
  EXPECT_EQ(receive.wakes(), 0);
  service_.GiveBack(1);
  EXPECT_EQ(bulk.FinishWait(), WaitStatus::kGranted);
  EXPECT_EQ(receive.wakes(), 1);
}

TEST_F(ClassesTest, SnapshotCountsWaitsByClass) {
  service_.TakeAllBut(0);
  WaitingSession first(service_), second(service_);
  ASSERT_EQ(first.As(bulk_), kWaiting);
  ASSERT_EQ(second.As(bulk_), kWaiting);
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
  WaitingSession receive(service), pair(service);
  EXPECT_EQ(receive.Receive(), kWaiting);
  int count = 0;
  while (count < 1000 && pair.AllocateBuffers() == kGranted) {
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
  WaitingSession receive(service, &order, 'r'), pair(service, &order, 'p');
  ASSERT_EQ(receive.Receive(), kWaiting);
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(pair.Pair(), kGranted);
    pair.ReleaseBuffers();
  }
  ASSERT_EQ(pair.Pair(), kWaiting);
  EXPECT_EQ(order, "");
  service.GiveBackAll();
  EXPECT_EQ(order, "rp");
}

TEST(OvertakingTest, PairsThatWaitOvertakeAReceiveNoMoreThanAllowed) {
  Service service({.capacity = 16, .reserve = 2}, Declared(3));
  service.TakeAllBut(0);
  std::string order;
  WaitingSession receive(service, &order, 'r');
  ASSERT_EQ(receive.Receive(), kWaiting);
  std::deque<WaitingSession> pairs;
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(pairs.emplace_back(service, &order, 'p').Pair(), kWaiting);
  }
  service.GiveBackAll();
  EXPECT_EQ(order, "ppprpp");
}

// A class that goes first and needs more than there is holds up a receive until
// the receive is due. By then there may be enough for the receive.
TEST(OvertakingTest, WhoBecomesDueIsServedAtOnceIfThereIsEnough) {
  Service service({.capacity = 16, .reserve = 2}, Declared(1));
  service.TakeAllBut(2);
  WaitingSession receive(service), bulk(service), pair(service);
  ASSERT_EQ(receive.Receive(), kWaiting);
  ASSERT_EQ(bulk.As(*service.sessions().FindClass("bulk")), kWaiting);
  service.GiveBack(3);
  EXPECT_EQ(receive.wakes(), 0);
  EXPECT_EQ(pair.AllocateBuffers(), kGranted);
  EXPECT_EQ(receive.wakes(), 1);
}

// Complete is never held back, and does not use up other classes' turns.
TEST(OvertakingTest, CompletesAreNeverHeldBack) {
  Service service({.capacity = 8, .reserve = 2}, Declared(1));
  WaitingSession complete(service), receive(service), pair(service);
  HoldOne(complete);
  service.TakeAllBut(2);
  ASSERT_EQ(receive.Receive(), kWaiting);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(complete.AllocateBuffers(), kGranted);
    complete.ReleaseBuffers();
    ASSERT_TRUE(complete.has_buffer(Side::kRequest));
    ASSERT_FALSE(complete.has_buffer(Side::kResponse));
  }
  EXPECT_EQ(pair.AllocateBuffers(), kGranted);
  pair.ReleaseBuffers();
  EXPECT_EQ(pair.AllocateBuffers(), kExhausted);
  EXPECT_EQ(complete.AllocateBuffers(), kGranted);
}

TEST_F(ClassesTest, BufferOfAClassMayBeHadWithoutASession) {
  service_.TakeAllBut(6);
  std::byte* const buffer = service_.sessions().Acquire(bulk_);
  ASSERT_NE(buffer, nullptr);
  EXPECT_EQ(service_.sessions().Acquire(bulk_), nullptr);
  service_.pool().Release(buffer);
  EXPECT_EQ(service_.Free(), 6u);
}

// Its other buffer may be anywhere: a complete of a single side is served
// before a pair that came first.
TEST_F(ClassesTest, CompleteIsForWhoHoldsABufferElsewhere) {
  service_.TakeAllBut(0);
  WaitingSession pair(service_), single(service_);
  ASSERT_EQ(pair.Pair(), kWaiting);
  ASSERT_EQ(single.As(service_.sessions().complete(), Side::kResponse),
            kWaiting);
  service_.GiveBack(1);
  EXPECT_EQ(single.wakes(), 1);
  EXPECT_EQ(pair.wakes(), 0);
  service_.GiveBackAll();
  EXPECT_EQ(pair.wakes(), 1);
}

TEST(ClassesDeathTest, WhatNeedsTwoOrIsNoClassIsRefused) {
  Service service({.capacity = 8});
  SessionBuffers session(service.sessions());
  EXPECT_DEATH((void)service.sessions().Acquire(service.sessions().pair()),
               "class 1 is not a class of one buffer");
  EXPECT_DEATH((void)session.AllocateBufferAs(ClassId{3}, Side::kRequest),
               "class 3 is not a class of one buffer");
}

}  // namespace
}  // namespace tandem
