// E1: nothing throws. Memory is refused at each request in turn: creation then
// returns a Status, and sessions in use never ask for memory.

#include "tandem/tests/pool/refused_memory.h"

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <deque>
#include <new>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "tandem/session/asio_wait.h"
#include "tandem/session/event_notifier.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/pool/testing.h"
#include "tandem/tests/support/service.h"
#include "tandem/tests/support/waiting_session.h"

namespace tandem {
namespace {

// Calls `create` with each of its requests refused in turn: it returns
// ResourceExhausted, or works without. Returns how many places were tried.
template <class Create>
size_t ExpectStatusForEachRequest(Create create) {
  const size_t places = ForEachRequest([&](size_t nth, auto which) {
    auto made = create();  // What is allocated once and for all has been.
    EXPECT_TRUE(made.ok()) << made.status();
    made = absl::CancelledError("");
    bool refused = false;
    {
      const RefusedMemory memory(nth, which);
      made = create();
      refused = memory.refused();
    }
    EXPECT_TRUE(refused || made.ok());
    // Some requests can be done without.
    if (!made.ok()) {
      EXPECT_EQ(made.status().code(), absl::StatusCode::kResourceExhausted);
    }
    return refused;
  });
  ::testing::Test::RecordProperty("places", std::to_string(places));
  return places;
}

TEST(RefusedMemoryTest, FieldCreatingASessionLayerIsRefusedWithAStatus) {
  const auto pool = NewPool({.capacity = 64});
  const SessionOptions options = {
      .classes = {{.name = "a class with a name of some length", .rank = 150},
                  {.name = "another of those", .keep = 5, .rank = 250}}};
  const size_t places = ExpectStatusForEachRequest(
      [&] { return SessionAllocator::Create(pool.get(), options); });
  EXPECT_GE(places, 2 * 4u);
}

TEST(RefusedMemoryTest, FieldCreatingANotifierIsRefusedWithAStatus) {
  EXPECT_GE(ExpectStatusForEachRequest([] { return EventNotifier::Create(); }),
            2 * 1u);
}

TEST(RefusedMemoryTest, FieldCreatingAnAsioLoopIsRefusedWithAStatus) {
  asio::io_context context;
  EXPECT_GE(
      ExpectStatusForEachRequest([&] { return AsioLoop::Create(context); }),
      2 * 3u);
  context.poll();
}

// A thread's first use of the pool, by a session: refused each request in turn,
// if there are any, it works without.
TEST(RefusedMemoryTest, FieldAThreadsFirstUseDoesWithoutMemory) {
  Service service({.capacity = 8});
  const size_t places = ForEachRequest([&](size_t nth, auto which) {
    bool refused = false;
    std::thread([&] {
      const RefusedMemory memory(nth, which);
      SessionBuffers session(service.sessions());
      EXPECT_EQ(session.AllocateBuffers(), Allocation::kGranted);
      session.ReleaseBuffers();
      EXPECT_EQ(session.AllocateReceiveBuffer(Side::kRequest),
                Allocation::kGranted);
      EXPECT_EQ(session.AllocateBuffers(), Allocation::kGranted);
      session.ReleaseBuffers();
      refused = memory.refused();
    }).join();
    EXPECT_EQ(service.Free(), 8u);
    return refused;
  });
  ::testing::Test::RecordProperty("places", std::to_string(places));
}

// After the first use no operation asks for memory: not allocations that
// succeed, wait, are served or are cancelled.
TEST(RefusedMemoryTest, SessionsAskForNoMemory) {
  Service service({.capacity = 8});
  service.TakeAllBut(2);
  WaitingSession session(service), waits(service), leaves(service);
  const RefusedMemory memory(0, RefusedMemory::kAllFromThere);
  EXPECT_EQ(session.AllocateBuffers(), Allocation::kGranted);
  EXPECT_EQ(waits.Pair(), Allocation::kWaiting);
  EXPECT_EQ(leaves.Receive(), Allocation::kWaiting);
  EXPECT_TRUE(leaves.CancelWait());
  session.ReleaseBuffers();
  EXPECT_EQ(waits.wakes(), 1);
  EXPECT_EQ(leaves.wakes(), 0);
  EXPECT_EQ(waits.FinishWait(), WaitStatus::kGranted);
  waits.ReleaseBuffers();
  service.GiveBackAll();
  EXPECT_FALSE(memory.refused());
}

// Asio's own operations throw bad_alloc when they begin. So does this one, and
// leaves nothing behind.
TEST(RefusedMemoryTest, FieldAWaitThatCanNotBeginLeavesNothingBehind) {
  Service service({.capacity = 4});
  service.TakeAllBut(0);
  asio::io_context context;
  const auto loop = AsioLoop::Create(context).value();
  int calls = 0;
  const size_t places = ForEachRequest([&](size_t nth, auto which) {
    SessionBuffers session(service.sessions());
    asio::cancellation_signal cancel;
    bool refused = false;
    bool begun = true;
    {
      AsioWait wait(*loop, session);
      EXPECT_EQ(session.AllocateBuffers(wait.waker()), Allocation::kWaiting);
      const RefusedMemory memory(nth, which);
      try {
        wait.AsyncFinish(asio::bind_cancellation_slot(
                             cancel.slot(), [&](Allocation) { ++calls; }),
                         AsioWait::Time::clock::now() + std::chrono::hours(1));
      } catch (const std::bad_alloc&) {
        begun = false;
      }
      refused = memory.refused();
    }
    EXPECT_EQ(service.Waiting(), 0u);
    context.poll();
    EXPECT_EQ(calls, begun ? 1 : 0);
    EXPECT_EQ(begun, !refused);
    calls = 0;
    return refused;
  });
  ::testing::Test::RecordProperty("places", std::to_string(places));
  EXPECT_GE(places, 2 * 1u);
  service.GiveBackAll();
  EXPECT_EQ(service.Free(), 4u);
}

// If Asio has no memory to call a handler, or to watch the descriptor, run()
// throws, as with its own operations. At most that handler is lost; the others
// are called.
TEST(RefusedMemoryTest, FieldAHandlerThatCanNotBeCalledLosesNoOther) {
  constexpr int kWaits = 4;
  Service service({.capacity = 2 * kWaits});
  service.TakeAllBut(0);
  asio::io_context context;
  const auto loop = AsioLoop::Create(context).value();
  const size_t places = ForEachRequest([&](size_t nth, auto which) {
    std::deque<SessionBuffers> sessions;
    std::deque<AsioWait> waits;
    int ended = 0;
    for (int i = 0; i < kWaits; ++i) {
      SessionBuffers& session = sessions.emplace_back(service.sessions());
      AsioWait& wait = waits.emplace_back(*loop, session);
      EXPECT_EQ(session.AllocateBuffers(wait.waker()), Allocation::kWaiting);
      wait.AsyncFinish([&](Allocation got) {
        EXPECT_EQ(got, Allocation::kGranted);
        ++ended;
      });
    }
    service.GiveBackAll();
    bool refused = false;
    int lost = 0;
    {
      const RefusedMemory memory(nth, which);
      try {
        context.poll();
      } catch (const std::bad_alloc&) {
        lost = 1;
      }
      refused = memory.refused();
    }
    {
      // The loop may not be watching any more: the next wait makes it watch.
      SessionBuffers session(service.sessions());
      AsioWait wait(*loop, session);
      EXPECT_EQ(session.AllocateBuffers(wait.waker()), Allocation::kWaiting);
      wait.AsyncFinish([](Allocation) {});
    }
    for (int i = 0; i < 10; ++i) context.poll();
    EXPECT_LE(ended, kWaits);
    EXPECT_GE(ended, kWaits - lost);
    sessions.clear();
    service.TakeAllBut(0);
    return refused;
  });
  ::testing::Test::RecordProperty("places", std::to_string(places));
  EXPECT_GE(places, 2 * 1u);
}

}  // namespace
}  // namespace tandem
