// Wake-ups for an event loop: one write for each batch, in order.

#include "tandem/session/event_notifier.h"

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/support/interruptions.h"
#include "tandem/tests/support/service.h"

namespace tandem {
namespace {

bool IsReadable(int fd) {
  pollfd readable = {.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&readable, 1, 0) == 1;
}

// What has been written to the descriptor since it was last read: each write
// adds one.
uint64_t WritesTo(int fd) {
  uint64_t writes = 0;
  if (read(fd, &writes, sizeof(writes)) != sizeof(writes)) return 0;
  return writes;
}

struct Letter : EventNotifier::Node {
  Letter(std::string& to, char name) : log(to), letter(name) {
    on_ready = [](Node& node) {
      auto& self = static_cast<Letter&>(node);
      self.log += self.letter;
    };
  }
  std::string& log;
  const char letter;
};

class EventNotifierTest : public ::testing::Test {
 protected:
  const std::unique_ptr<EventNotifier> notifier_ =
      EventNotifier::Create().value();
  std::string log_;
  Letter a_{log_, 'a'}, b_{log_, 'b'}, c_{log_, 'c'};
};

TEST_F(EventNotifierTest, IsReadableWhileThereIsSomethingToDispatch) {
  EXPECT_FALSE(IsReadable(notifier_->fd()));
  EXPECT_EQ(notifier_->Dispatch(), 0u);
  notifier_->Post(a_);
  EXPECT_TRUE(IsReadable(notifier_->fd()));
  EXPECT_EQ(log_, "");
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(log_, "a");
  EXPECT_FALSE(IsReadable(notifier_->fd()));
}

TEST_F(EventNotifierTest, WritesOnceForEachBatch) {
  notifier_->Post(a_);
  notifier_->Post(b_);
  notifier_->Post(c_);
  EXPECT_EQ(WritesTo(notifier_->fd()), 1u);
  EXPECT_EQ(notifier_->Dispatch(), 3u);
  notifier_->Post(a_);
  EXPECT_EQ(WritesTo(notifier_->fd()), 1u);
}

TEST_F(EventNotifierTest, DispatchesInTheOrderOfPosting) {
  notifier_->Post(b_);
  notifier_->Post(c_);
  notifier_->Post(a_);
  EXPECT_EQ(notifier_->Dispatch(), 3u);
  EXPECT_EQ(log_, "bca");
}

// A node may be posted again, or destroyed, once it has been called.
TEST_F(EventNotifierTest, PostFromWithinADispatchIsForTheNextOne) {
  struct Again : EventNotifier::Node {
    EventNotifier& notifier;
    int calls = 0;
  } again{{}, *notifier_};
  again.on_ready = [](EventNotifier::Node& node) {
    auto& self = static_cast<Again&>(node);
    if (++self.calls < 3) self.notifier.Post(self);
  };
  notifier_->Post(again);
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_TRUE(IsReadable(notifier_->fd()));
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(notifier_->Dispatch(), 0u);
  EXPECT_EQ(again.calls, 3);
}

TEST_F(EventNotifierTest, NodeMayBeDestroyedByItsFunction) {
  struct Mortal : EventNotifier::Node {};
  static int died;
  died = 0;
  for (int i = 0; i < 3; ++i) {
    auto* const mortal = new Mortal;
    mortal->on_ready = [](EventNotifier::Node& node) {
      delete static_cast<Mortal*>(&node);
      ++died;
    };
    notifier_->Post(*mortal);
  }
  EXPECT_EQ(notifier_->Dispatch(), 3u);
  EXPECT_EQ(died, 3);
}

// A function that throws ends the dispatch. The next dispatch calls the nodes
// behind it; the descriptor is readable until then.
TEST_F(EventNotifierTest, FieldOneThatThrowsLosesNoOther) {
  struct Thrower : EventNotifier::Node {
  } thrower;
  thrower.on_ready = [](EventNotifier::Node&) {
    throw std::runtime_error("thrown");
  };
  notifier_->Post(a_);
  notifier_->Post(thrower);
  notifier_->Post(b_);
  EXPECT_THROW(notifier_->Dispatch(), std::runtime_error);
  EXPECT_EQ(log_, "a");
  EXPECT_TRUE(IsReadable(notifier_->fd()));
  notifier_->Post(c_);
  EXPECT_EQ(notifier_->Dispatch(), 2u);
  EXPECT_EQ(log_, "abc");
  EXPECT_FALSE(IsReadable(notifier_->fd()));
  // After the last one the descriptor is not readable.
  notifier_->Post(thrower);
  EXPECT_THROW(notifier_->Dispatch(), std::runtime_error);
  EXPECT_FALSE(IsReadable(notifier_->fd()));
}

TEST_F(EventNotifierTest, OneThatIsTakenBackIsNotCalled) {
  notifier_->Post(a_);
  notifier_->Post(b_);
  notifier_->Post(c_);
  notifier_->TakeBack(b_);
  EXPECT_EQ(notifier_->Dispatch(), 2u);
  EXPECT_EQ(log_, "ac");
  notifier_->Post(b_);
  notifier_->TakeBack(b_);
  EXPECT_EQ(notifier_->Dispatch(), 0u);
  notifier_->Post(b_);
  EXPECT_EQ(notifier_->Dispatch(), 1u);
  EXPECT_EQ(log_, "acb");
}

// One write for all sessions that one release serves.
TEST_F(EventNotifierTest, BringsABatchOfGrantedWaitsInOneWrite) {
  Service service({.capacity = 8});
  service.TakeAllBut(0);
  std::deque<SessionBuffers> sessions;
  for (Letter* letter : {&a_, &b_, &c_}) {
    ASSERT_EQ(sessions.emplace_back(service.sessions())
                  .AllocateBuffers(notifier_->WakerFor(*letter)),
              Allocation::kWaiting);
  }
  service.GiveBackAll();
  EXPECT_EQ(WritesTo(notifier_->fd()), 1u);
  EXPECT_EQ(notifier_->Dispatch(), 3u);
  EXPECT_EQ(log_, "abc");
  for (SessionBuffers& session : sessions) {
    EXPECT_EQ(session.FinishWait(), WaitStatus::kGranted);
  }
}

// A handler that interrupted any function may call it (P10).
TEST_F(EventNotifierTest, PostKeepsErrno) {
  // A full counter makes the write fail with EAGAIN.
  const uint64_t most = ~uint64_t{1};
  ASSERT_EQ(write(notifier_->fd(), &most, sizeof(most)), 8);
  errno = EDOM;
  notifier_->Post(a_);
  EXPECT_EQ(errno, EDOM);
  EXPECT_EQ(notifier_->Dispatch(), 1u);
}

// A post by a handler, anywhere within a dispatch, is dispatched by that
// dispatch or makes the descriptor readable.
struct Posted : EventNotifier::Node {
  EventNotifier* notifier = nullptr;
  std::atomic<bool> pending{false};
  std::atomic<int> posts{0};
} posted;

TEST_F(EventNotifierTest, LosesNoneThatAHandlerPosts) {
  posted.notifier = notifier_.get();
  posted.on_ready = [](EventNotifier::Node& node) {
    static_cast<Posted&>(node).pending = false;
  };
  const Interruptions interruptions([](int) {
    if (posted.pending.exchange(true)) return;
    ++posted.posts;
    posted.notifier->Post(posted);
  });
  while (posted.posts < Rounds(20'000)) {
    notifier_->Dispatch();
    if (posted.pending) {
      ASSERT_TRUE(IsReadable(notifier_->fd()));
    }
  }
}

TEST_F(EventNotifierTest, LosesNoneThatManyThreadsPost) {
  constexpr int kThreads = 3;
  struct Counted : EventNotifier::Node {
    std::atomic<int> calls{0};
  };
  const int rounds = Rounds(100'000);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      Counted node;
      node.on_ready = [](EventNotifier::Node& self) {
        ++static_cast<Counted&>(self).calls;
      };
      for (int i = 1; i <= rounds; ++i) {
        notifier_->Post(node);
        while (node.calls < i) std::this_thread::yield();
      }
    });
  }
  for (int left = kThreads * rounds; left > 0;) {
    pollfd readable = {.fd = notifier_->fd(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(poll(&readable, 1, 30'000), 1) << left << " are lost";
    left -= static_cast<int>(notifier_->Dispatch());
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace tandem
