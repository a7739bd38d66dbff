// Spare buffers: they are there when the pool has plenty; under shortage it is
// as if they did not exist.

#include "tandem/session/spare_buffers.h"

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/support/service.h"
#include "tandem/tests/support/waiting_session.h"

namespace tandem {
namespace {

using Iovecs = std::array<iovec, SpareBuffers::kMost>;

size_t Sum(const Iovecs& iovecs, int count) {
  size_t sum = 0;
  for (int i = 0; i < count; ++i) sum += iovecs[static_cast<size_t>(i)].iov_len;
  return sum;
}

// Writes `text` behind the existing bytes.
void Append(SpareBuffers& spares, std::string text) {
  Iovecs room;
  const int count = spares.WritableIovecs(room);
  size_t done = 0;
  for (int i = 0; i < count; ++i) {
    const iovec& part = room[static_cast<size_t>(i)];
    const size_t n = std::min(part.iov_len, text.size() - done);
    std::memcpy(part.iov_base, text.data() + done, n);
    done += n;
  }
  Require(done == text.size(), "no room for the text");
  spares.Commit(done);
}

std::string Content(const SpareBuffers& spares) {
  Iovecs content;
  const int count = spares.ReadableIovecs(content);
  std::string text;
  for (int i = 0; i < count; ++i) {
    const iovec& part = content[static_cast<size_t>(i)];
    text.append(static_cast<const char*>(part.iov_base), part.iov_len);
  }
  return text;
}

// Different letters, so that every position is visible.
std::string Text(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 23);
  return text;
}

TEST(SpareBuffersTest, AreOneRowOfBytes) {
  Service service({.capacity = 64});
  const size_t size = service.pool().buffer_size();
  SpareBuffers spares(service.sessions());
  ASSERT_TRUE(spares.Take(3));
  EXPECT_EQ(spares.count(), 3u);
  Iovecs room;
  EXPECT_EQ(spares.WritableIovecs(room), 3);
  EXPECT_EQ(Sum(room, 3), 3 * size);
  const std::string text = Text(2 * size + 10);
  Append(spares, text.substr(0, size - 1));
  Append(spares, text.substr(size - 1));
  EXPECT_EQ(spares.size(), text.size());
  EXPECT_EQ(Content(spares), text);
  EXPECT_EQ(spares.WritableIovecs(room), 1);
  EXPECT_EQ(Sum(room, 1), size - 10);
  spares.Consume(size + 5);
  EXPECT_EQ(Content(spares), text.substr(size + 5));
  spares.Consume(size + 5);
  EXPECT_TRUE(spares.empty());
  EXPECT_EQ(spares.WritableIovecs(room), 3);
}

TEST(SpareBuffersTest, AReleaseKeepsThoseThatHoldData) {
  Service service({.capacity = 64});
  const auto size = static_cast<uint32_t>(service.pool().buffer_size());
  const struct {
    uint32_t filled;
    uint32_t consumed;
    uint32_t kept;
  } cases[] = {{0, 0, 0},
               {1, 0, 1},
               {size, 0, 1},
               {size + 1, 0, 2},
               {3 * size, size - 1, 3},
               {3 * size, size, 2},
               {3 * size, 3 * size - 1, 1},
               {2 * size, size + 1, 1},
               {3 * size, 3 * size, 0}};
  for (const auto& [filled, consumed, kept] : cases) {
    SpareBuffers spares(service.sessions());
    ASSERT_TRUE(spares.Take(3));
    const std::string text = Text(filled);
    Append(spares, text);
    spares.Consume(consumed);
    EXPECT_EQ(spares.kept(), kept) << filled << ", " << consumed;
    spares.Release();
    EXPECT_EQ(spares.count(), kept) << filled << ", " << consumed;
    EXPECT_EQ(Content(spares), text.substr(consumed));
    EXPECT_EQ(service.Free(), 64 - kept);
    // The remaining bytes are as before.
    Iovecs room;
    const int count = spares.WritableIovecs(room);
    const size_t free = Sum(room, count);
    Append(spares, std::string(free, 'z'));
    EXPECT_EQ(Content(spares), text.substr(consumed) + std::string(free, 'z'));
  }
  EXPECT_EQ(service.Free(), 64u);
}

TEST(SpareBuffersTest, LeaveAQuarterAndTheReserve) {
  // A pool without caches, so that all that is free can be counted.
  Service service({.capacity = 40, .reserve = 4, .cache_size = 0});
  SpareBuffers spares(service.sessions());
  service.TakeAllBut(10 + 4 + 3);
  ASSERT_TRUE(spares.Take(3));
  spares.Clear();
  service.GiveBackAll();
  service.TakeAllBut(10 + 4 + 2);
  EXPECT_FALSE(spares.Take(3));
  EXPECT_TRUE(spares.Take(2));
  EXPECT_EQ(service.Free(), 14u);
  spares.Clear();
}

TEST(SpareBuffersTest, S4AreNotHadWhileASessionWaits) {
  Service service({.capacity = 64});
  WaitingSession waiter(service);
  SpareBuffers spares(service.sessions());
  service.TakeAllBut(1);
  ASSERT_EQ(waiter.Pair(), Allocation::kWaiting);
  EXPECT_FALSE(spares.Take(1));
  service.GiveBackAll();
  EXPECT_EQ(waiter.wakes(), 1);
  EXPECT_EQ(waiter.FinishWait(), WaitStatus::kGranted);
  EXPECT_TRUE(spares.Take(1));
}

TEST(SpareBuffersTest, S4AreNotHadWhileASessionWaitsForMoreThanThereIs) {
  // All buffers but one are free, and a session waits until all are.
  Service service({.capacity = 64},
                  {.classes = {{.name = "last", .keep = 63, .rank = 250}}});
  const ClassId last = service.sessions().FindClass("last").value();
  WaitingSession waiter(service);
  SpareBuffers spares(service.sessions());
  service.TakeAllBut(63);
  ASSERT_EQ(waiter.As(last), Allocation::kWaiting);
  EXPECT_FALSE(spares.Take(1));
  ASSERT_TRUE(waiter.CancelWait());
  EXPECT_TRUE(spares.Take(1));
  spares.Clear();
}

// What sessions have seen of a service, and what it has counted.
struct Record {
  std::string log;
  std::vector<uint64_t> counts;
};

// Sessions that share fewer buffers than leave any to spare, in a random order
// that depends on the seed alone; between any two steps one of them asks for
// spares, or not.
Record RunUnderShortage(uint64_t seed, bool ask_for_spares) {
  constexpr size_t kSessions = 12;
  Service service({.capacity = 16, .reserve = 2});
  service.TakeAllBut(6);
  Record record;
  std::mt19937_64 random(seed);
  std::deque<WaitingSession> sessions;
  for (size_t i = 0; i < kSessions; ++i) {
    sessions.emplace_back(service, &record.log, static_cast<char>('a' + i));
  }
  SpareBuffers spares(service.sessions());
  for (int step = 0; step < Rounds(5'000); ++step) {
    const size_t i = random() % kSessions;
    const Side side = random() % 2 == 0 ? Side::kRequest : Side::kResponse;
    const auto n = static_cast<uint32_t>(1 + random() % SpareBuffers::kMost);
    if (ask_for_spares) Require(!spares.Take(n), "spares under shortage");
    WaitingSession& session = sessions[i];
    switch (random() % 4) {
      case 0:
        record.log += std::to_string(static_cast<int>(session.Receive(side)));
        break;
      case 1:
        record.log += std::to_string(static_cast<int>(session.Pair()));
        break;
      case 2:
        if (session.FinishWait() != WaitStatus::kWaiting) {
          session.ReleaseBuffers();
        }
        break;
      default:
        if (random() % 8 == 0) session.CancelWait();
        break;
    }
  }
  const SessionSnapshot snapshot = service.sessions().Snapshot();
  for (const auto& thread : snapshot.pool.threads) {
    record.counts.insert(record.counts.end(),
                         {thread.shortages, thread.failures, thread.refills,
                          thread.flushes, thread.bypasses, thread.steals});
  }
  for (const auto& of_class : snapshot.classes) {
    record.counts.insert(record.counts.end(),
                         {of_class.waits, of_class.grants, of_class.cancels});
  }
  sessions.clear();
  service.GiveBackAll();
  return record;
}

TEST(SpareBuffersTest, UnderShortageItIsAsIfThereWereNone) {
  const uint64_t seed = TestSeed();
  const Record without = RunUnderShortage(seed, false);
  const Record with = RunUnderShortage(seed, true);
  EXPECT_EQ(with.log, without.log);
  EXPECT_EQ(with.counts, without.counts);
  // They have waited, and been served.
  EXPECT_NE(with.log.find('a'), std::string::npos);
}

TEST(SpareBuffersTest, S6WhatThreadsTakeAndReturnServesAllWhoWait) {
  Service service({.capacity = 16, .reserve = 2});
  std::atomic<uint64_t> taken{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      WaitingSession session(service);
      SpareBuffers spares(service.sessions());
      for (int i = 0; i < Rounds(20'000); ++i) {
        const int before = session.wakes();
        if (session.Pair() == Allocation::kWaiting) {
          while (session.wakes() == before) std::this_thread::yield();
          Require(session.FinishWait() == WaitStatus::kGranted, "not granted");
        }
        if (spares.Take(3)) {
          ++taken;
          Append(spares, "abc");
          if (i % 2 == 0) spares.Release();
          spares.Consume(spares.size());
          spares.Release();
        }
        session.ReleaseBuffers();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(taken, 0u);
  EXPECT_EQ(service.Waiting(), 0u);
  EXPECT_EQ(service.Free(), 16u);
}

}  // namespace
}  // namespace tandem
