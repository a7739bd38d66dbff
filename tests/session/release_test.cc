// S3: after processing, a buffer without data goes back, and a buffer with
// data stays.

#include <cstddef>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/support/service.h"

namespace tandem {
namespace {

TEST(ReleaseTest, GivesBackWhatIsEmpty) {
  Service service({.capacity = 8});
  SessionBuffers session(service.sessions());
  ASSERT_EQ(session.AllocateBuffers(), Allocation::kGranted);
  session.ReleaseBuffers();
  EXPECT_FALSE(session.has_buffer(Side::kRequest));
  EXPECT_FALSE(session.has_buffer(Side::kResponse));
  EXPECT_EQ(session.ring(Side::kRequest).capacity(), 0u);
  EXPECT_EQ(service.Free(), 8u);
}

TEST(ReleaseTest, KeepsWhatHoldsData) {
  Service service({.capacity = 8});
  SessionBuffers session(service.sessions());
  ASSERT_EQ(session.AllocateBuffers(), Allocation::kGranted);
  Fill(session, Side::kResponse);
  const std::byte* const held = session.buffer(Side::kResponse);
  session.ReleaseBuffers();
  EXPECT_FALSE(session.has_buffer(Side::kRequest));
  EXPECT_EQ(session.buffer(Side::kResponse), held);
  EXPECT_EQ(session.ring(Side::kResponse).size(), 1u);
  EXPECT_EQ(held[0], std::byte{'x'});
  EXPECT_EQ(service.Free(), 7u);
}

TEST(ReleaseTest, GivesBackWhatHasBeenConsumed) {
  Service service({.capacity = 8});
  SessionBuffers session(service.sessions());
  HoldOne(session);
  session.ReleaseBuffers();
  EXPECT_EQ(service.Free(), 7u);
  Drain(session, Side::kRequest);
  session.ReleaseBuffers();
  EXPECT_EQ(service.Free(), 8u);
}

TEST(ReleaseTest, GivesBackTheOnlyBuffer) {
  Service service({.capacity = 8});
  SessionBuffers session(service.sessions());
  for (const Side side : kSides) {
    ASSERT_EQ(session.AllocateReceiveBuffer(side), Allocation::kGranted);
    session.ReleaseBuffers();
    EXPECT_FALSE(session.has_buffer(side));
    EXPECT_EQ(service.Free(), 8u);
  }
}

TEST(ReleaseTest, NextBufferOfASideStartsAtItsFirstByte) {
  Service service({.capacity = 8});
  SessionBuffers session(service.sessions());
  ASSERT_EQ(session.AllocateBuffers(), Allocation::kGranted);
  session.SetContent(Side::kRequest, 7, 0);
  session.ReleaseBuffers();
  ASSERT_EQ(session.AllocateBuffers(), Allocation::kGranted);
  EXPECT_EQ(session.ring(Side::kRequest).head(), 0u);
}

TEST(ReleaseTest, OfNothingIsHarmless) {
  Service service({.capacity = 8});
  SessionBuffers session(service.sessions());
  session.ReleaseBuffers();
  session.ReleaseBuffers();
  EXPECT_EQ(service.Free(), 8u);
}

TEST(ReleaseTest, EndOfASessionGivesBackEverything) {
  Service service({.capacity = 8});
  {
    SessionBuffers session(service.sessions());
    ASSERT_EQ(session.AllocateBuffers(), Allocation::kGranted);
    Fill(session, Side::kRequest);
    EXPECT_EQ(service.Free(), 6u);
  }
  EXPECT_EQ(service.Free(), 8u);
}

}  // namespace
}  // namespace tandem
