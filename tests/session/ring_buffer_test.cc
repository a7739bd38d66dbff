// The ring over a buffer: "empty" decides what is released (S3).

#include "tandem/session/ring_buffer.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <random>
#include <span>
#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace tandem {
namespace {

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string ReadAll(RingBuffer& ring) {
  std::string out(ring.size(), '?');
  EXPECT_EQ(ring.Read(std::as_writable_bytes(std::span(out))), out.size());
  return out;
}

class RingBufferTest : public ::testing::Test {
 protected:
  std::array<std::byte, 8> storage_;
  RingContent content_;
  RingBuffer ring_{storage_, content_};
};

TEST_F(RingBufferTest, WithoutBytesIsBothEmptyAndFull) {
  RingContent nothing;
  RingBuffer none({}, nothing);
  EXPECT_TRUE(none.empty());
  EXPECT_TRUE(none.full());
  EXPECT_EQ(none.Write(Bytes("a")), 0u);
  std::array<iovec, 2> iovecs;
  EXPECT_EQ(none.ReadableIovecs(iovecs), 0);
  EXPECT_EQ(none.WritableIovecs(iovecs), 0);
}

TEST_F(RingBufferTest, GivesBackWhatWasWrittenInOrder) {
  EXPECT_EQ(ring_.Write(Bytes("abc")), 3u);
  EXPECT_EQ(ring_.Write(Bytes("de")), 2u);
  EXPECT_EQ(ring_.size(), 5u);
  EXPECT_EQ(ring_.space(), 3u);
  EXPECT_EQ(ReadAll(ring_), "abcde");
  EXPECT_TRUE(ring_.empty());
}

TEST_F(RingBufferTest, TakesNoMoreThanThereIsSpaceFor) {
  EXPECT_EQ(ring_.Write(Bytes("0123456789")), 8u);
  EXPECT_TRUE(ring_.full());
  EXPECT_EQ(ring_.Write(Bytes("x")), 0u);
  EXPECT_EQ(ReadAll(ring_), "01234567");
}

TEST_F(RingBufferTest, GivesNoMoreThanThereIs) {
  ring_.Write(Bytes("ab"));
  std::array<std::byte, 5> out;
  EXPECT_EQ(ring_.Read(out), 2u);
  EXPECT_EQ(ring_.Read(out), 0u);
}

TEST_F(RingBufferTest, ContentThatWrapsIsTwoSpans) {
  ring_.Write(Bytes("abcdef"));
  ring_.Consume(5);
  ring_.Write(Bytes("ghijk"));  // 3 to the end, 2 from the start
  const auto [first, second] = ring_.readable();
  EXPECT_EQ(first.data(), storage_.data() + 5);
  EXPECT_EQ(first.size(), 3u);
  EXPECT_EQ(second.data(), storage_.data());
  EXPECT_EQ(second.size(), 3u);
  EXPECT_EQ(ReadAll(ring_), "fghijk");
}

TEST_F(RingBufferTest, SpaceThatWrapsIsTwoSpans) {
  ring_.Write(Bytes("abcdef"));
  ring_.Consume(4);
  const auto [first, second] = ring_.writable();
  EXPECT_EQ(first.data(), storage_.data() + 6);
  EXPECT_EQ(first.size(), 2u);
  EXPECT_EQ(second.data(), storage_.data());
  EXPECT_EQ(second.size(), 4u);
}

TEST_F(RingBufferTest, ConsumingEverythingStartsOver) {
  ring_.Write(Bytes("abc"));
  ring_.Consume(3);
  EXPECT_EQ(ring_.writable()[0].data(), storage_.data());
  EXPECT_EQ(ring_.writable()[0].size(), 8u);
}

// A caller that passes one span to send(2) or recv(2) relies on it.
TEST_F(RingBufferTest, FirstSpanIsEmptyOnlyIfBothAre) {
  for (uint32_t head = 0; head < 8; ++head) {
    for (uint32_t size = 0; size <= 8; ++size) {
      for (uint32_t consumed = 0; consumed <= size; ++consumed) {
        content_ = {.head = head, .size = size};
        ring_.Consume(consumed);
        SCOPED_TRACE(testing::Message() << consumed << " of " << size
                                        << " consumed from " << head);
        EXPECT_EQ(ring_.readable()[0].empty(), consumed == size);
        EXPECT_EQ(ring_.writable()[0].empty(), ring_.full());
        EXPECT_EQ(ring_.readable()[0].size() + ring_.readable()[1].size(),
                  size - consumed);
        EXPECT_EQ(ring_.writable()[0].size() + ring_.writable()[1].size(),
                  8 - (size - consumed));
      }
    }
  }
}

TEST_F(RingBufferTest, ViewsOfOneBufferShowTheSame) {
  RingBuffer other(storage_, content_);
  ring_.Write(Bytes("abc"));
  EXPECT_EQ(ReadAll(other), "abc");
  EXPECT_TRUE(ring_.empty());
  const RingView view(storage_, content_);
  ring_.Write(Bytes("de"));
  EXPECT_EQ(view.size(), 2u);
  EXPECT_EQ(view.readable()[0].data(), storage_.data());
}

TEST_F(RingBufferTest, FullRingHasNothingToWrite) {
  ring_.Write(Bytes("abcd"));
  ring_.Consume(2);
  ring_.Write(Bytes("efghij"));
  ASSERT_TRUE(ring_.full());
  std::array<iovec, 2> iovecs;
  EXPECT_EQ(ring_.WritableIovecs(iovecs), 0);
  EXPECT_EQ(ring_.ReadableIovecs(iovecs), 2);
}

TEST_F(RingBufferTest, PassesThroughReadvAndWritev) {
  std::array<int, 2> pipes;
  ASSERT_EQ(pipe(pipes.data()), 0);
  ring_.Write(Bytes("abcdef"));
  ring_.Consume(4);
  ring_.Write(Bytes("ghijk"));
  std::array<iovec, 2> iovecs;
  int count = ring_.ReadableIovecs(iovecs);
  ASSERT_EQ(count, 2);
  ASSERT_EQ(writev(pipes[1], iovecs.data(), count), 7);
  ring_.Consume(3);  // Somewhere in the middle, so that space wraps too.
  count = ring_.WritableIovecs(iovecs);
  ASSERT_EQ(readv(pipes[0], iovecs.data(), count), 4);
  ring_.Commit(4);
  EXPECT_EQ(ReadAll(ring_), "hijkefgh");
  close(pipes[0]);
  close(pipes[1]);
}

TEST_F(RingBufferTest, BehavesAsAQueueOfBytes) {
  std::mt19937 random(1);
  std::deque<std::byte> model;
  for (int i = 0; i < 20'000; ++i) {
    std::array<std::byte, 12> bytes;
    const auto some = std::span(bytes).first(random() % 12);
    if (random() % 2 == 0) {
      for (std::byte& byte : some) byte = std::byte(random());
      const size_t written = ring_.Write(some);
      ASSERT_EQ(written, std::min(some.size(), 8 - model.size()));
      model.insert(model.end(), some.begin(), some.begin() + written);
    } else {
      const size_t read = ring_.Read(some);
      ASSERT_EQ(read, std::min(some.size(), model.size()));
      ASSERT_TRUE(std::equal(some.begin(), some.begin() + read, model.begin()));
      model.erase(model.begin(), model.begin() + read);
    }
    ASSERT_EQ(ring_.size(), model.size());
    ASSERT_EQ(ring_.empty(), model.empty());
    ASSERT_EQ(ring_.full(), model.size() == 8);
  }
}

}  // namespace
}  // namespace tandem
