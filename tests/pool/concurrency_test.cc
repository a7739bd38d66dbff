// P1, P3, P6: many threads at once. No buffer is in two hands, none is lost,
// and at rest the ledger is correct.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

constexpr int kSteps = kTsan || kAsan ? 3'000 : 20'000;

struct Mix {
  std::string name;
  PoolOptions options;
  int threads;
};

class ConcurrencyTest : public ::testing::TestWithParam<std::tuple<Mix, Bias>> {
 protected:
  // Buffers on their way from one thread to another.
  class Mailbox {
   public:
    void Put(std::byte* buffer) {
      const std::lock_guard lock(mutex_);
      buffers_.push_back(buffer);
    }
    std::byte* Get() {
      const std::lock_guard lock(mutex_);
      if (buffers_.empty()) return nullptr;
      std::byte* const buffer = buffers_.back();
      buffers_.pop_back();
      return buffer;
    }

   private:
    std::mutex mutex_;
    std::vector<std::byte*> buffers_;
  };

  // One thread's life. Buffers in the mailbox are marked with kInMail.
  void Live(uint64_t name, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<std::byte*> held;
    for (int step = 0; step < kSteps && !HasFailure(); ++step) {
      switch (random() % 6) {
        case 0:
        case 1:
          Take(1, name, held);
          break;
        case 2:
          Take(1 + random() % 12, name, held);
          break;
        case 3:
        case 4:
          Return(held.empty() ? 0 : 1 + random() % held.size(), name, held);
          break;
        case 5:
          Exchange(name, held);
          break;
      }
    }
    Return(held.size(), name, held);
  }

  void Take(size_t count, uint64_t name, std::vector<std::byte*>& held) {
    std::array<std::byte*, 12> storage;
    const std::span<std::byte*> out(storage.data(), count);
    if (!AcquireInto(*pool_, out)) return;
    for (std::byte* const buffer : out) {
      EXPECT_TRUE(Mark(buffer, name)) << "in two hands";
      held.push_back(buffer);
    }
  }

  void Return(size_t count, uint64_t name, std::vector<std::byte*>& held) {
    const auto out = std::span(held).last(count);
    for (std::byte* const buffer : out) {
      EXPECT_TRUE(Unmark(buffer, name)) << "in two hands";
    }
    ReleaseAll(*pool_, out);
    held.resize(held.size() - count);
  }

  void Exchange(uint64_t name, std::vector<std::byte*>& held) {
    if (!held.empty()) {
      EXPECT_TRUE(Unmark(held.back(), name)) << "in two hands";
      EXPECT_TRUE(Mark(held.back(), kInMail));
      mailbox_.Put(held.back());
      held.pop_back();
    }
    if (std::byte* const buffer = mailbox_.Get()) {
      EXPECT_TRUE(Unmark(buffer, kInMail)) << "in two hands";
      EXPECT_TRUE(Mark(buffer, name));
      held.push_back(buffer);
    }
  }

  void EmptyMailbox() {
    while (std::byte* const buffer = mailbox_.Get()) {
      EXPECT_TRUE(Unmark(buffer, kInMail));
      pool_->Release(buffer);
    }
  }

  static constexpr uint64_t kInMail = ~uint64_t{0};

  static PoolOptions Options() {
    PoolOptions options = Param().options;
    options.bias = std::get<Bias>(GetParam());
    return options;
  }
  static const Mix& Param() { return std::get<Mix>(GetParam()); }

  const std::unique_ptr<BufferPool> pool_ = NewPool(Options());
  Mailbox mailbox_;
};

// P1, P3
TEST_P(ConcurrencyTest, NoBufferIsInTwoHandsAndNoneIsLost) {
  const uint64_t seed = TestSeed();
  constexpr int kRounds = 3;
  for (int round = 0; round < kRounds; ++round) {
    // New threads each round, so that caches change hands too (P6).
    std::vector<Companion> threads(Param().threads);
    for (size_t i = 0; i < threads.size(); ++i) {
      threads[i].Start(
          [&, i] { Live(1 + i, seed + round * threads.size() + i); });
    }
    for (Companion& thread : threads) thread.Wait();
    EmptyMailbox();
    ExpectAtRest(*pool_, 0);
    ExpectCanTake(*pool_, pool_->capacity());
  }
}

// P3: the bias of a cache is taken while its owner is at work.
TEST(BiasConcurrencyTest, OwnerAtWorkAndThiefNeverGetTheSameBuffer) {
  if (!NewPool({})->Snapshot().biased) GTEST_SKIP() << "no bias here";
  for (int round = 0; round < 200; ++round) {
    const auto pool =
        NewPool({.buffer_size = 64, .capacity = 16, .max_threads = 4});
    std::atomic<bool> biased = false;
    BusyOwner owner(*pool, [&] {
      for (int i = 0; i < 200; ++i) pool->Release(pool->Acquire());
      biased = pool->Snapshot().biased;
    });
    while (!biased) std::this_thread::yield();
    EXPECT_GE(TakeAllFromOwners(*pool), 15u);
    owner.Stop();
    ExpectAtRest(*pool, 0);
    ExpectCanTake(*pool, 16);
    if (::testing::Test::HasFailure()) break;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Pools, ConcurrencyTest,
    ::testing::Combine(
        ::testing::Values(
            Mix{"Ample", {.buffer_size = 64, .capacity = 1'000}, 4},
            Mix{"Scarce", {.buffer_size = 64, .capacity = 40}, 4},
            Mix{"Tiny", {.buffer_size = 64, .capacity = 3, .reserve = 0}, 4},
            Mix{"AllReserve",
                {.buffer_size = 64, .capacity = 16, .reserve = 16},
                3},
            Mix{"OneShardNoCache",
                {.buffer_size = 64,
                 .capacity = 64,
                 .cache_size = 0,
                 .core_pools = 1},
                4},
            Mix{"LargeCaches",
                {.buffer_size = 64, .capacity = 300, .cache_size = 128},
                4},
            Mix{"MoreThreadsThanCaches",
                {.buffer_size = 64, .capacity = 100, .max_threads = 2},
                5},
            Mix{"ColdFirst",
                {.buffer_size = 64,
                 .capacity = 100,
                 .debug = {.cold_first = true, .strict_misuse = true}},
                3}),
        BothWays()),
    [](const auto& info) {
      return std::get<Mix>(info.param).name +
             BiasName({std::get<Bias>(info.param), info.index});
    });

}  // namespace
}  // namespace tandem
