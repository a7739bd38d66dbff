// P3, S1, S2, S4, S5, S7, S8: what concurrent threads see of the pool and of
// each other is possible if their operations come one after the other
// (Linearization says to what extent). Real threads run thousands of short
// histories. A timer stops one thread in the middle of an operation while the
// others continue. The seed fixes what each thread does, not when; a violation
// prints its history.

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/time.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/session/session_allocator.h"
#include "tandem/tests/pool/testing.h"
#include "tandem/tests/session/history.h"
#include "tandem/tests/session/linearization.h"
#include "tandem/tests/session/player.h"
#include "tandem/tests/support/service.h"

namespace tandem {
namespace {

constexpr size_t kThreads = 4;
constexpr size_t kOperations = 10;  // of each

// Puts the calling thread on one of the cores that it may use: threads that the
// system leaves on one core never run at the same time.
void UseCore(size_t i) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
  const auto count = static_cast<size_t>(CPU_COUNT(&allowed));
  if (count < 2) return;
  size_t left = i % count;
  for (size_t core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &allowed) || left-- != 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    sched_setaffinity(0, sizeof(one), &one);
    return;
  }
}

struct Scene {
  std::optional<uint32_t> cache_size;
  bool waits;
  uint32_t max_waiters = 1000;
  std::optional<uint32_t> max_overtakes = std::nullopt;
};

// The threads, and the results of their histories.
class LinearizabilityTest : public ::testing::Test {
 protected:
  LinearizabilityTest() {
    // The timer is only for the players.
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm, nullptr);
    struct sigaction action = {};
    action.sa_handler = [](int) { Linger(5'000); };
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, nullptr);
    SetTimer(50);
  }
  ~LinearizabilityTest() override { SetTimer(0); }

  // Plays `count` histories.
  void Check(const Scene& scene, int count) {
    std::mt19937_64 random(TestSeed());
    std::optional<Service> service;
    for (int i = 0; i < count && !HasFailure(); ++i) {
      if (i % 50 == 0) Renew(service, scene, random);
      const bool warm = random() % 2 == 0;
      for (Companion& thread : threads_) {
        if (warm) thread.Run([&] { FillCache(service->pool()); });
      }
      PlayOne(*service, scene, random());
    }
    std::printf(
        "%zu operations, %zu beside others; %zu waits, %zu refused; %zu "
        "states\n",
        operations_, beside_, waits_, refused_, states_);
    EXPECT_GT(beside_, operations_ / 1'000);
    if (scene.waits) {
      EXPECT_GT(waits_, 0u);
    }
    if (scene.max_waiters < kThreads) {
      EXPECT_GT(refused_, 0u);
    }
  }

 private:
  static void SetTimer(suseconds_t micros) {
    const timeval every = {.tv_sec = 0, .tv_usec = micros};
    const itimerval timer = {.it_interval = every, .it_value = every};
    setitimer(ITIMER_REAL, &timer, nullptr);
  }

  void Renew(std::optional<Service>& service, const Scene& scene,
             std::mt19937_64& random) {
    const auto reserve = static_cast<uint32_t>(random() % 3);
    const auto capacity = static_cast<uint32_t>(reserve + 2 + random() % 5);
    service.emplace(
        PoolOptions{.capacity = capacity,
                    .reserve = reserve,
                    .cache_size = scene.cache_size,
                    .max_threads = 2 * kThreads},
        SessionOptions{
            .max_waiters = scene.max_waiters,
            .max_overtakes = scene.max_overtakes.value_or(1'000'000)});
    const uint32_t limit = service->pool().Snapshot().cache_limit;
    batch_ = (limit + 1) / 2;
    rules_ = {.capacity = capacity,
              .classes = {{1, 0}, {2, 0}, {1, reserve}},
              .max_waiters = scene.max_waiters,
              .max_overtakes = scene.max_overtakes};
  }

  void PlayOne(Service& service, const Scene& scene, uint64_t seed) {
    std::vector<std::unique_ptr<Player>> players;
    for (size_t i = 0; i < kThreads; ++i) {
      players.push_back(std::make_unique<Player>(service, i, scene.waits));
    }
    Player::ResetClock();
    std::atomic<size_t> ready{0};
    for (size_t i = 0; i < kThreads; ++i) {
      threads_[i].Start([&, i] {
        UseCore(i);
        ++ready;
        for (int turn = 0; ready < 2 && turn < 5'000; ++turn) Linger(100);
        players[i]->Play(seed + i, kOperations, players);
      });
    }
    for (Companion& thread : threads_) thread.Wait();
    History history;
    history.rules = rules_;
    history.batch = batch_;
    for (const auto& player : players) player->Tell(history);
    for (const auto& player : players) player->ReturnAll();
    ExpectAtRest(service.pool(), 0);
    EXPECT_EQ(service.Waiting(), 0u);
    Linearization linearization(history);
    EXPECT_TRUE(linearization.Exists())
        << "no order goes on after: " << linearization.furthest();
    if (HasFailure()) {
      ADD_FAILURE() << history.ToString() << "\nFor linearization_test:\n"
                    << history.ToCode();
    }
    Count(history);
    states_ += linearization.states();
  }

  void Count(const History& history) {
    waits_ += history.fates.size();
    for (const auto& thread : history.threads) {
      for (const History::Operation& op : thread) {
        ++operations_;
        if (op.result == History::Result::kOverloaded) ++refused_;
        size_t overlaps = 0;
        for (const auto& other : history.threads) {
          for (const History::Operation& b : other) {
            if (b.begin < op.end && op.begin < b.end) ++overlaps;
          }
        }
        if (overlaps > 1) ++beside_;  // It overlaps itself.
      }
    }
  }

  std::array<Companion, kThreads> threads_;
  SequentialPool::Rules rules_;
  uint32_t batch_ = 0;
  size_t operations_ = 0;
  size_t beside_ = 0;
  size_t waits_ = 0;
  size_t refused_ = 0;
  size_t states_ = 0;
};

constexpr int kHistories = kSanitized ? 300 : 1'200;

TEST_F(LinearizabilityTest, WithoutCachesAndWaitsResultsAreThoseOfSomeOrder) {
  Check({.cache_size = 0, .waits = false}, kHistories);
}
TEST_F(LinearizabilityTest, WithoutCachesWaitersAreServedInOrder) {
  Check({.cache_size = 0, .waits = true}, kHistories);
}
TEST_F(LinearizabilityTest, WithCachesResultsAreThoseOfSomeOrder) {
  Check({.cache_size = 2, .waits = false}, kHistories);
}
TEST_F(LinearizabilityTest, WithCachesWaitersAreServedInOrder) {
  Check({.cache_size = 2, .waits = true}, kHistories);
}
TEST_F(LinearizabilityTest, WithCachesThatAdaptWaitersAreServedInOrder) {
  Check({.cache_size = std::nullopt, .waits = true}, kHistories);
}
TEST_F(LinearizabilityTest, AsManyWaitAsMayAndTheRestAreRefused) {
  Check({.cache_size = 0, .waits = true, .max_waiters = 1}, kHistories);
}
TEST_F(LinearizabilityTest, WithCachesAsManyWaitAsMayAndTheRestAreRefused) {
  Check({.cache_size = 2, .waits = true, .max_waiters = 2}, kHistories);
}
TEST_F(LinearizabilityTest, WithoutCachesWhoIsDueGoesFirst) {
  Check({.cache_size = 0, .waits = true, .max_overtakes = 2}, kHistories);
}
TEST_F(LinearizabilityTest, WithCachesWhoIsDueGoesFirst) {
  Check({.cache_size = 2, .waits = true, .max_overtakes = 2}, kHistories);
}

}  // namespace
}  // namespace tandem
