// E5: a session's buffers can be detached, adopted and swapped.

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/support/service.h"

namespace tandem {
namespace {

void Write(SessionBuffers& session, Side side, std::string_view text) {
  ASSERT_EQ(session.ring(side).Write(std::as_bytes(std::span(text))),
            text.size());
}

std::string ReadAll(SessionBuffers& session, Side side) {
  std::string out(session.ring(side).size(), '?');
  session.ring(side).Read(std::as_writable_bytes(std::span(out)));
  return out;
}

TEST(MovingTest, DetachedBufferIsTheCallers) {
  Service service({.capacity = 4});
  std::byte* buffer = nullptr;
  {
    SessionBuffers session(service.sessions());
    HoldOne(session, Side::kResponse);
    std::byte* const held = session.buffer(Side::kResponse);
    const DetachedBuffer detached = session.Detach(Side::kResponse);
    EXPECT_EQ(detached.buffer, held);
    EXPECT_EQ(detached.content.size, 1u);
    EXPECT_FALSE(session.has_buffer(Side::kResponse));
    EXPECT_TRUE(session.ring(Side::kResponse).empty());
    EXPECT_EQ(session.ring(Side::kResponse).capacity(), 0u);
    EXPECT_EQ(session.Detach(Side::kResponse).buffer, nullptr);
    buffer = detached.buffer;
  }
  EXPECT_EQ(service.Free(), 3u);
  service.pool().Release(buffer);
  EXPECT_EQ(service.Free(), 4u);
}

TEST(MovingTest, AdoptedBufferBringsItsBytes) {
  Service service({.capacity = 4});
  SessionBuffers from(service.sessions());
  SessionBuffers to(service.sessions());
  ASSERT_EQ(from.AllocateBuffers(), Allocation::kGranted);
  // Around the end.
  from.SetContent(Side::kRequest, service.pool().buffer_size() - 2, 0);
  Write(from, Side::kRequest, "hello");
  to.Adopt(Side::kResponse, from.Detach(Side::kRequest));
  EXPECT_EQ(ReadAll(to, Side::kResponse), "hello");
  from.ReleaseBuffers();
  to.ReleaseBuffers();
  EXPECT_EQ(service.Free(), 4u);
}

TEST(MovingTest, AcquiredBufferCanBeAdopted) {
  Service service({.capacity = 4});
  SessionBuffers session(service.sessions());
  session.Adopt(Side::kRequest, service.pool().Acquire());
  EXPECT_TRUE(session.ring(Side::kRequest).empty());
  EXPECT_EQ(session.AllocateBuffers(), Allocation::kGranted);
  EXPECT_EQ(service.Free(), 2u);
  session.ReleaseBuffers();
  EXPECT_EQ(service.Free(), 4u);
}

TEST(MovingTest, SwapsTheSidesOfOneSession) {
  Service service({.capacity = 4});
  SessionBuffers session(service.sessions());
  ASSERT_EQ(session.AllocateBuffers(), Allocation::kGranted);
  Write(session, Side::kRequest, "ask");
  Write(session, Side::kResponse, "answer");
  session.Swap(Side::kRequest, session, Side::kResponse);
  session.Swap(Side::kRequest, session, Side::kRequest);
  EXPECT_EQ(ReadAll(session, Side::kRequest), "answer");
  EXPECT_EQ(ReadAll(session, Side::kResponse), "ask");
}

TEST(MovingTest, SwapsSidesOfTwoSessionsAlsoWithNone) {
  Service service({.capacity = 4});
  SessionBuffers one(service.sessions());
  SessionBuffers two(service.sessions());
  HoldOne(one);
  Write(one, Side::kRequest, "yz");
  one.Swap(Side::kRequest, two, Side::kResponse);
  EXPECT_FALSE(one.has_buffer(Side::kRequest));
  EXPECT_EQ(two.ring(Side::kResponse).size(), 3u);
  ASSERT_EQ(one.AllocateReceiveBuffer(Side::kResponse), Allocation::kGranted);
  one.Swap(Side::kResponse, two, Side::kResponse);
  EXPECT_EQ(ReadAll(one, Side::kResponse), "xyz");
  EXPECT_TRUE(two.ring(Side::kResponse).empty());
  EXPECT_TRUE(two.has_buffer(Side::kResponse));
}

// HAProxy keeps head and size in a struct of its own.
TEST(MovingTest, ContentDecidesWhatIsReleasedWhoeverKeepsIt) {
  Service service({.capacity = 4});
  SessionBuffers session(service.sessions());
  ASSERT_EQ(session.AllocateBuffers(), Allocation::kGranted);
  session.SetContent(Side::kRequest, 17, 5);
  EXPECT_EQ(session.ring(Side::kRequest).readable()[0].data(),
            session.buffer(Side::kRequest) + 17);
  session.ReleaseBuffers();
  EXPECT_TRUE(session.has_buffer(Side::kRequest));
  EXPECT_FALSE(session.has_buffer(Side::kResponse));
  session.SetContent(Side::kRequest, 0, 0);
  session.ReleaseBuffers();
  EXPECT_FALSE(session.has_buffer(Side::kRequest));
  EXPECT_EQ(service.Free(), 4u);
}

TEST(MovingTest, SideThatIsNotAwaitedCanMoveDuringAWait) {
  Service service({.capacity = 4});
  SessionBuffers session(service.sessions());
  HoldOne(session);
  service.TakeAllBut(0);
  ASSERT_EQ(session.AllocateBuffers(Waker{}), Allocation::kWaiting);
  const DetachedBuffer detached = session.Detach(Side::kRequest);
  session.Adopt(Side::kRequest, detached);
  service.GiveBackAll();
  EXPECT_EQ(session.FinishWait(), WaitStatus::kGranted);
  EXPECT_EQ(session.ring(Side::kRequest).size(), 1u);
  EXPECT_TRUE(session.has_buffer(Side::kResponse));
}

TEST(MovingTest, AfterACancelTheSideCanAdopt) {
  Service service({.capacity = 4});
  SessionBuffers session(service.sessions());
  std::byte* const buffer = service.pool().Acquire();
  service.TakeAllBut(0);
  ASSERT_EQ(session.AllocateBuffers(Waker{}), Allocation::kWaiting);
  ASSERT_TRUE(session.CancelWait());
  session.Adopt(Side::kRequest, buffer);
  EXPECT_EQ(session.buffer(Side::kRequest), buffer);
}

// Every way in and out, where a pool sees each operation.
TEST(MovingTest, WorksInDebugModesToo) {
  Service service({.capacity = 4,
                   .debug = {.integrity = true,
                             .canaries = true,
                             .record_caller = true,
                             .strict_misuse = true}});
  SessionBuffers from(service.sessions());
  SessionBuffers to(service.sessions());
  ASSERT_EQ(from.AllocateBuffers(), Allocation::kGranted);
  Write(from, Side::kRequest, "hello");
  to.Adopt(Side::kRequest, from.Detach(Side::kRequest));
  service.pool().Release(from.Detach(Side::kResponse).buffer);
  EXPECT_EQ(ReadAll(to, Side::kRequest), "hello");
  to.ReleaseBuffers();
  EXPECT_EQ(service.Free(), 4u);
}

using MovingDeathTest = testing::Test;

TEST(MovingDeathTest, ForeignBufferIsNotAdopted) {
  for (const bool check : {true, false}) {
    Service service({.name = "mine", .capacity = 4, .detect_misuse = check});
    SessionBuffers session(service.sessions());
    std::array<std::byte, 256> foreign;
    EXPECT_DEATH(session.Adopt(Side::kRequest, foreign.data()), "mine");
    std::byte* const buffer = service.pool().Acquire();
    EXPECT_DEATH(session.Adopt(Side::kRequest, buffer + 64), "mine");
    EXPECT_DEATH(session.Adopt(Side::kRequest, nullptr), "mine");
    service.pool().Release(buffer);
  }
}

TEST(MovingDeathTest, BufferOfAnotherPoolIsNotAdopted) {
  Service service({.name = "mine", .capacity = 4});
  Service other({.name = "other", .capacity = 4});
  SessionBuffers session(service.sessions());
  SessionBuffers stranger(other.sessions());
  HoldOne(stranger);
  EXPECT_DEATH(session.Adopt(Side::kRequest, stranger.Detach(Side::kRequest)),
               "mine");
  EXPECT_DEATH(session.Swap(Side::kRequest, stranger, Side::kRequest),
               "request side: swap with a session of another pool");
}

TEST(MovingDeathTest, IdleBufferIsNotAdopted) {
  Service service({.capacity = 4});
  SessionBuffers session(service.sessions());
  std::byte* const buffer = service.pool().Acquire();
  service.pool().Release(buffer);
  EXPECT_DEATH(session.Adopt(Side::kRequest, buffer), "nobody has it");
}

TEST(MovingDeathTest, BufferThatASessionHoldsIsNotAdoptedNorReleased) {
  for (const bool strict : {false, true}) {
    Service service({.capacity = 4, .debug = {.strict_misuse = strict}});
    SessionBuffers holder(service.sessions());
    SessionBuffers session(service.sessions());
    HoldOne(holder);
    std::byte* const buffer = holder.buffer(Side::kRequest);
    EXPECT_DEATH(session.Adopt(Side::kRequest, buffer),
                 "while a session holds it");
    EXPECT_DEATH(service.pool().Release(buffer), "while a session holds it");
    service.pool().Release(holder.Detach(Side::kRequest).buffer);
    holder.Adopt(Side::kRequest, service.pool().Acquire());
  }
}

TEST(MovingDeathTest, AwaitedSideNeitherAdoptsNorSwaps) {
  Service service({.capacity = 4});
  SessionBuffers session(service.sessions());
  SessionBuffers other(service.sessions());
  HoldOne(other);
  const DetachedBuffer detached = other.Detach(Side::kRequest);
  service.TakeAllBut(0);
  ASSERT_EQ(session.AllocateBuffers(Waker{}), Allocation::kWaiting);
  EXPECT_DEATH(session.Adopt(Side::kResponse, detached),
               "response side: adoption while it waits");
  EXPECT_DEATH(session.Swap(Side::kRequest, other, Side::kRequest),
               "request side: swap while it waits");
  EXPECT_DEATH(other.Swap(Side::kRequest, session, Side::kResponse),
               "response side: swap while it waits");
  service.GiveBackAll();
  // The wait has been served: its buffer is in the way.
  EXPECT_DEATH(session.Adopt(Side::kResponse, detached),
               "response side: adoption while it has a buffer");
  other.Adopt(Side::kRequest, detached);
}

TEST(MovingDeathTest, ContentStaysWithinTheBuffer) {
  Service service({.capacity = 4});
  SessionBuffers session(service.sessions());
  EXPECT_DEATH(session.SetContent(Side::kRequest, 0, 0), "there is no buffer");
  HoldOne(session);
  EXPECT_DEATH(session.SetContent(Side::kRequest, 256, 0), "beyond its buffer");
  EXPECT_DEATH(session.SetContent(Side::kRequest, 0, 257), "beyond its buffer");
  session.SetContent(Side::kRequest, 255, 256);
  EXPECT_TRUE(session.ring(Side::kRequest).full());
  EXPECT_DEATH(session.Adopt(Side::kResponse, service.pool().Acquire(), 0, 300),
               "response side: content set beyond its buffer");
}

}  // namespace
}  // namespace tandem
