// P1: a Trimmer gives memory back by itself.

#include "tandem/pool/trimmer.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

// Takes all buffers, and writes to each.
void UseAll(BufferPool& pool) {
  const std::vector<std::byte*> all = TakeAll(pool);
  for (std::byte* const buffer : all) {
    std::memset(buffer, 1, pool.buffer_size());
  }
  pool.ReleaseMany(all);
}

// Two ends of a connection: what is sent out of band at the second shows
// POLLPRI at the first, as a trigger does while memory is short.
std::array<int, 2> ConnectedPair() {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  EXPECT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(listen(listener, 1), 0);
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  const int sender = socket(AF_INET, SOCK_STREAM, 0);
  EXPECT_EQ(connect(sender, reinterpret_cast<sockaddr*>(&address), size), 0);
  const int receiver = accept(listener, nullptr, nullptr);
  close(listener);
  return {receiver, sender};
}

std::unique_ptr<Trimmer> NewTrimmer(BufferPool& pool,
                                    const TrimmerOptions& options) {
  absl::StatusOr<std::unique_ptr<Trimmer>> trimmer =
      Trimmer::Create(&pool, options);
  EXPECT_TRUE(trimmer.ok()) << trimmer.status();
  return *std::move(trimmer);
}

bool ComesTrue(const std::function<bool()>& what) {
  for (int i = 0; i < 2'000; ++i) {
    if (what()) return true;
    std::this_thread::sleep_for(milliseconds(10));
  }
  return false;
}

// A case from the field.
TEST(FieldTrimmerTest, TrimsEverySoOften) {
  const auto pool = NewPool({.capacity = 64});
  const auto trimmer = NewTrimmer(*pool, {.every = milliseconds(20)});
  for (int round = 0; round < 3; ++round) {
    const uint64_t before = trimmer->bytes();
    UseAll(*pool);
    EXPECT_TRUE(ComesTrue(
        [&] { return trimmer->bytes() - before >= 50 * pool->buffer_size(); }));
  }
  EXPECT_GE(trimmer->trims(), 4u);
  ExpectCanTake(*pool, 64);
}

TEST(FieldTrimmerTest, CountsTheTrimAtItsCreation) {
  const std::unique_ptr<BufferPool> pool =
      NewPool({.capacity = 64, .cache_size = 0});
  UseAll(*pool);
  const auto trimmer = NewTrimmer(*pool, {.every = std::chrono::hours(1)});
  EXPECT_EQ(trimmer->trims(), 1u);
  EXPECT_EQ(trimmer->bytes(), 64 * pool->buffer_size());
}

TEST(FieldTrimmerTest, TrimsWhenMemoryIsShort) {
  const auto pool = NewPool({.capacity = 64});
  const auto [trigger, sender] = ConnectedPair();
  const auto trimmer = NewTrimmer(*pool, {.pressure_trigger = trigger});
  UseAll(*pool);
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ(trimmer->trims(), 1u) << "it is not yet";
  ASSERT_EQ(send(sender, "!", 1, MSG_OOB), 1);
  EXPECT_TRUE(ComesTrue([&] { return trimmer->trims() > 1; }));
  EXPECT_GE(trimmer->bytes(), 50 * pool->buffer_size());
  close(sender);
}

TEST(FieldTrimmerTest, GoesOnByTimeWhereTheTriggerIsGone) {
  const auto pool = NewPool({.capacity = 64});
  // A pipe whose other end is closed shows POLLERR, or POLLHUP, forever.
  std::array<int, 2> ends;
  ASSERT_EQ(pipe(ends.data()), 0);
  close(ends[0]);
  const auto trimmer = NewTrimmer(
      *pool, {.every = milliseconds(20), .pressure_trigger = ends[1]});
  EXPECT_TRUE(ComesTrue([&] { return trimmer->trims() >= 3; }));
}

TEST(FieldTrimmerTest, PressureTriggerIsHadOrRefusedByName) {
  const absl::StatusOr<int> trigger = OpenPressureTrigger();
  if (trigger.ok()) {
    const auto pool = NewPool({.capacity = 64});
    NewTrimmer(*pool, {.pressure_trigger = *trigger});
    EXPECT_EQ(fcntl(*trigger, F_GETFD), -1) << "the trimmer closes it";
  } else {
    EXPECT_THAT(std::string(trigger.status().message()), HasSubstr("memory"));
  }
  EXPECT_THAT(
      std::string(OpenPressureTrigger("/nowhere/memory").status().message()),
      HasSubstr("/nowhere/memory"));
}

TEST(FieldTrimmerTest, WrongOptionsAreRefusedByName) {
  const auto pool = NewPool({.capacity = 4});
  EXPECT_EQ(Trimmer::Create(pool.get(), {}).status().message(),
            "TrimmerOptions.every is 0 and pressure_trigger is -1; allowed: at "
            "least one of them set");
  EXPECT_EQ(Trimmer::Create(pool.get(), {.every = milliseconds(-1)})
                .status()
                .message(),
            "TrimmerOptions.every is -1 ms; allowed: 0 to 86400000");
  const auto pinned = NewPool({.capacity = 4, .pinned = true});
  EXPECT_EQ(
      Trimmer::Create(pinned.get(), {.every = milliseconds(1)}).status().code(),
      absl::StatusCode::kFailedPrecondition);
}

// E1
TEST(FieldTrimmerTest, ThreadThatCanNotBeHadIsAStatus) {
  if (kAsan || kTsan) GTEST_SKIP() << "the sanitizer ends the process";
  InChild([] {
    const auto pool = NewPool({.capacity = 4});
    RefuseSystemCall(SYS_clone3, EAGAIN);
    RefuseSystemCall(SYS_clone, EAGAIN);
    const absl::Status status =
        Trimmer::Create(pool.get(), {.every = milliseconds(1)}).status();
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("a thread for a Trimmer"));
  });
}

}  // namespace
}  // namespace tandem
