// P4, S4: a thread that is stopped before any instruction of a post keeps only
// its own node from the event loop. A loop that is stopped before any
// instruction of a dispatch loses nothing that is posted meanwhile. A notifier
// is gone only when no thread is in a post.

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <thread>

#include "gtest/gtest.h"
#include "tandem/session/event_notifier.h"
#include "tandem/tests/pool/stepper.h"
#include "tandem/tests/support/service.h"

namespace tandem {
namespace {

bool IsReadable(int fd) {
  pollfd readable = {.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&readable, 1, 0) == 1;
}

struct Counted : EventNotifier::Node {
  Counted() {
    on_ready = [](Node& node) { ++static_cast<Counted&>(node).calls; };
  }
  std::atomic<int> calls{0};
};

class StoppedPostTest : public ::testing::Test {
 protected:
  // The nodes that others post while one is stopped. Each must be dispatched.
  static constexpr int kPostsOfOthers = 20;

  void SetUp() override {
    if (!Stepper::Works()) GTEST_SKIP() << "needs single steps";
    ExpectBrought();  // What is linked when it is first called has been.
  }

  // Stops `operation` everywhere, lets another thread run `meanwhile`, and then
  // checks that every posted node is called once.
  void CheckStops(const Stepper::Function& operation,
                  const Stepper::Function& meanwhile) {
    Stepper::InterruptEverywhere(
        operation,
        [&] {
          alarm(20);  // Ends who waits for the stopped one.
          LeaveDescriptorToParent();
          std::thread(meanwhile).join();
        },
        [&] {
          // No more dispatches than necessary: each makes the next post write.
          if (own_.calls != 1 || other_.calls != posts_of_other_) {
            EXPECT_TRUE(IsReadable(notifier_->fd()));
            notifier_->Dispatch();
          }
          EXPECT_EQ(own_.calls, 1);
          EXPECT_EQ(other_.calls, posts_of_other_);
          ExpectBrought();
        });
  }

  void PostOther() {
    ++posts_of_other_;
    notifier_->Post(other_);
  }
  // The loop sees what another thread posts now, and calls it.
  void ExpectBrought() {
    PostOther();
    EXPECT_TRUE(IsReadable(notifier_->fd()));
    EXPECT_GE(notifier_->Dispatch(), 1u);
    EXPECT_EQ(other_.calls, posts_of_other_);
  }

  // A copy of the process shares the descriptor: replace it by a new one that
  // reads the same.
  void LeaveDescriptorToParent() {
    const int fd = notifier_->fd();
    const int copy = eventfd(IsReadable(fd) ? 1 : 0, EFD_NONBLOCK);
    ASSERT_EQ(dup3(copy, fd, O_CLOEXEC), fd);
    close(copy);
  }

  std::unique_ptr<EventNotifier> notifier_ = EventNotifier::Create().value();
  Counted own_, other_;
  int posts_of_other_ = 0;
};

TEST_F(StoppedPostTest, PosterKeepsNobodyElsesNodeFromTheLoop) {
  CheckStops([&] { notifier_->Post(own_); },
             [&] {
               for (int i = 0; i < kPostsOfOthers; ++i) ExpectBrought();
             });
}

// Another thread has written already, and the loop has not read yet.
TEST_F(StoppedPostTest, SecondPosterKeepsNobodyElsesNodeFromTheLoop) {
  Counted first;
  notifier_->Post(first);
  CheckStops([&] { notifier_->Post(own_); },
             [&] {
               for (int i = 0; i < kPostsOfOthers; ++i) ExpectBrought();
             });
  EXPECT_EQ(first.calls, 1);
}

TEST_F(StoppedPostTest, LoopLosesNothingThatIsPostedWhileItDispatches) {
  notifier_->Post(own_);
  CheckStops([&] { notifier_->Dispatch(); }, [&] { PostOther(); });
}

// Its node has been called, so the notifier may be destroyed: that waits for
// the post, but not forever. A post's last access is a write, which would show
// in the pattern that fills the notifier's memory after its end.
TEST_F(StoppedPostTest, NotifierOutlivesThePostsUnderWay) {
  constexpr std::byte kGone{0x5A};
  EventNotifier* const notifier = notifier_.release();
  const std::span memory(reinterpret_cast<std::byte*>(notifier),
                         sizeof(EventNotifier));
  std::atomic<bool> over{false};
  bool destroyed = false;
  std::thread loop;
  Stepper::InterruptEverywhere(
      [&] { notifier->Post(own_); },
      [&] {
        loop = std::thread([&] {
          notifier->Dispatch();
          if (own_.calls == 1) {
            notifier->~EventNotifier();
            std::ranges::fill(memory, kGone);
            destroyed = true;
          }
          over = true;
        });
        // Enough time for an error to show.
        for (int i = 0; i < 100 && !over; ++i) {
          std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
      },
      [&] {
        alarm(20);
        if (loop.joinable()) loop.join();
        if (destroyed) {
          EXPECT_EQ(std::ranges::count(memory, kGone), std::ssize(memory))
              << "a post touched it when it was gone";
        } else {
          notifier->~EventNotifier();
        }
      });
  ::operator delete(notifier);
}

// The same at full speed, for the sanitizers.
TEST(PostRaceTest, NotifierMayGoWhenAllItsNodesHaveBeenCalled) {
  std::atomic<EventNotifier*> current{nullptr};
  std::atomic<int> round{0};
  std::array<Counted, 2> nodes;
  std::array<std::thread, 2> posters;
  const int rounds = Rounds(10'000);
  for (size_t t = 0; t < posters.size(); ++t) {
    posters[t] = std::thread([&, t] {
      for (int i = 1; i <= rounds; ++i) {
        while (round != i) std::this_thread::yield();
        current.load()->Post(nodes[t]);
      }
    });
  }
  for (int i = 1; i <= rounds; ++i) {
    const auto notifier = EventNotifier::Create().value();
    current = notifier.get();
    round = i;
    while (nodes[0].calls < i || nodes[1].calls < i) {
      pollfd readable = {.fd = notifier->fd(), .events = POLLIN, .revents = 0};
      ASSERT_EQ(poll(&readable, 1, 30'000), 1);
      notifier->Dispatch();
    }
  }
  for (std::thread& poster : posters) poster.join();
}

}  // namespace
}  // namespace tandem
