// A session that always has more to move lets other sessions have their turns.

#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/log/check.h"
#include "gtest/gtest.h"
#include "tandem/tests/relay/load.h"
#include "tandem/tests/relay/relay_fixture.h"

namespace tandem {
namespace {

// Blocks the signal that stops relays in the calling thread, and so in all
// threads that it starts.
class SignalBlock {
 public:
  SignalBlock() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    PCHECK(pthread_sigmask(SIG_BLOCK, &signals, &before_) == 0);
  }
  ~SignalBlock() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

// While it lives, the one thread that does not block SIGUSR1 is stopped in a
// signal handler.
class Pause {
 public:
  Pause() {
    PCHECK(pipe(stands_.data()) == 0);
    PCHECK(pipe(goes_on_.data()) == 0);
    std::signal(SIGUSR1, StandStill);
    PCHECK(kill(getpid(), SIGUSR1) == 0);
    char byte;
    PCHECK(read(stands_[0], &byte, 1) == 1);
  }
  ~Pause() { PCHECK(write(goes_on_[1], "g", 1) == 1); }

 private:
  static void StandStill(int) {
    const int saved_errno = errno;
    char byte = 's';
    if (write(stands_[1], &byte, 1) != 1) _exit(3);
    if (read(goes_on_[0], &byte, 1) != 1) _exit(3);
    errno = saved_errno;
  }

  static inline std::array<int, 2> stands_;
  static inline std::array<int, 2> goes_on_;
};

// Tells which of several things happened first.
class FirstOf {
 public:
  FirstOf() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {}
  void Add(const OwnedFd& socket, uint32_t events) {
    epoll_event event = {.events = events | EPOLLET,
                         .data = {.fd = socket.get()}};
    PCHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket.get(), &event) == 0);
  }
  // The descriptor of the next.
  int Wait() {
    epoll_event event = {};
    PCHECK(epoll_wait(epoll_.get(), &event, 1, 40'000) >= 0);
    return event.data.fd;
  }

 private:
  OwnedFd epoll_;
};

TEST(RelayTurnsTest, WhoHasMoreAfterAVisitLetsTheOthersGoFirst) {
  ManualBackend backend;
  // One loop, and visits of 4 kB.
  TestRelay relay({.backend = backend.address(),
                   .threads = 1,
                   .buffers = 16,
                   .buffer_size = 1024});
  const SignalBlock block;
  const OwnedFd greedy = Connect(relay.address());
  const OwnedFd greedy_end = backend.Accept();
  const OwnedFd modest = Connect(relay.address());
  const OwnedFd modest_end = backend.Accept();
  for (const auto& [from, to] :
       {std::pair(&greedy, &greedy_end), std::pair(&modest, &modest_end)}) {
    SendAll(*from, "x");
    ASSERT_EQ(ReceiveUpTo(*to, 1), "x");
  }
  FirstOf first;
  first.Add(greedy_end, EPOLLRDHUP);
  first.Add(modest_end, EPOLLIN);
  // Enough bytes for several visits, and few enough for the other end's
  // window, where a FIN would wait behind them. Whole buffers, so that the end
  // comes at once.
  const std::string much(16 * 1024, 'm');
  {
    // Both arrive at once, the long one first.
    const Pause pause;
    SendAll(greedy, much);
    shutdown(greedy.get(), SHUT_WR);
    SendAll(modest, "y");
  }
  EXPECT_EQ(first.Wait(), modest_end.get());
  EXPECT_EQ(first.Wait(), greedy_end.get());
  EXPECT_EQ(ReceiveUpTo(greedy_end, much.size() + 1), much);
  EXPECT_EQ(ReceiveUpTo(modest_end, 1), "y");
}

}  // namespace
}  // namespace tandem
