// S6: sessions that keep the rules never deadlock, however many they are.

#include <poll.h>

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/session/blocking_wait.h"
#include "tandem/session/event_notifier.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/support/service.h"

namespace tandem {
namespace {

// A proxy's connection: receives into one buffer, holds it with data, asks for
// the other, processes, returns both. Lives on an event loop.
class Connection : public EventNotifier::Node {
 public:
  Connection(Service& service, EventNotifier& notifier, int turns, int& living)
      : session_(service.sessions()),
        notifier_(notifier),
        turns_(turns),
        living_(living) {
    on_ready = [](Node& node) { static_cast<Connection&>(node).Woken(); };
  }

  // Continues as far as possible without waiting.
  void Go() {
    while (turns_ > 0) {
      if (!received_) {
        if (session_.AllocateReceiveBuffer(Side::kRequest,
                                           notifier_.WakerFor(*this)) !=
            Allocation::kGranted) {
          return;
        }
        Received();
      }
      if (session_.AllocateBuffers(notifier_.WakerFor(*this)) !=
          Allocation::kGranted) {
        return;
      }
      Processed();
    }
  }

 private:
  void Woken() {
    ASSERT_EQ(session_.FinishWait(), WaitStatus::kGranted);
    if (received_) {
      Processed();
    } else {
      Received();
    }
    Go();
  }
  void Received() {
    Fill(session_, Side::kRequest);
    received_ = true;
  }
  void Processed() {
    ASSERT_TRUE(session_.has_buffer(Side::kRequest));
    ASSERT_TRUE(session_.has_buffer(Side::kResponse));
    Drain(session_, Side::kRequest);
    session_.ReleaseBuffers();
    received_ = false;
    if (--turns_ == 0) --living_;
  }

  SessionBuffers session_;
  EventNotifier& notifier_;
  int turns_;
  int& living_;
  bool received_ = false;
};

void RunLoop(Service& service, EventNotifier& notifier, int connections,
             int turns) {
  int living = connections;
  std::deque<Connection> all;
  for (int i = 0; i < connections; ++i) {
    all.emplace_back(service, notifier, turns, living);
  }
  for (Connection& connection : all) connection.Go();
  while (living > 0) {
    pollfd readable = {.fd = notifier.fd(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(poll(&readable, 1, 30'000), 1) << living << " deadlocked";
    notifier.Dispatch();
  }
}

void ExpectAllFinish(const PoolOptions& options, int threads, int connections,
                     int turns) {
  Service service(options);
  // They outlive all threads: a thread that has woken a connection may still be
  // leaving the notifier when that connection ends.
  std::deque<std::unique_ptr<EventNotifier>> notifiers;
  std::vector<std::thread> loops;
  for (int i = 0; i < threads; ++i) {
    notifiers.push_back(EventNotifier::Create().value());
  }
  for (auto& notifier : notifiers) {
    loops.emplace_back(RunLoop, std::ref(service), std::ref(*notifier),
                       connections, turns);
  }
  for (std::thread& loop : loops) loop.join();
  EXPECT_EQ(service.Free(), options.capacity);
  EXPECT_EQ(service.Waiting(), 0u);
}

TEST(DeadlockTest, FarMoreSessionsThanBuffersAllFinish) {
  ExpectAllFinish({.capacity = 8}, /*threads=*/4, /*connections=*/100,
                  Rounds(1'000));
}

// The smallest pool: one receive at a time, and the reserve.
TEST(DeadlockTest, SmallestPoolIsEnoughForAnyNumberOfSessions) {
  ExpectAllFinish({.capacity = 3}, /*threads=*/4, /*connections=*/50,
                  Rounds(1'000));
}

TEST(DeadlockTest, CachesDoNotStrandWhatOthersWaitFor) {
  ExpectAllFinish({.capacity = 24, .cache_size = 16}, /*threads=*/6,
                  /*connections=*/20, Rounds(1'000));
}

TEST(DeadlockTest, ThreadsThatBlockAllFinish) {
  Service service({.capacity = 4});
  std::atomic<int> finished{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] {
      SessionBuffers session(service.sessions());
      for (int turn = 0; turn < Rounds(1'000); ++turn) {
        if (session.AllocateReceiveBuffer(Side::kRequest, BlockingWaker()) ==
            Allocation::kWaiting) {
          ASSERT_EQ(BlockUntilServed(session), WaitStatus::kGranted);
        }
        Fill(session, Side::kRequest);
        if (session.AllocateBuffers(BlockingWaker()) == Allocation::kWaiting) {
          ASSERT_EQ(BlockUntilServed(session), WaitStatus::kGranted);
        }
        Drain(session, Side::kRequest);
        session.ReleaseBuffers();
      }
      ++finished;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(finished, 16);
  EXPECT_EQ(service.Free(), 4u);
}

}  // namespace
}  // namespace tandem
