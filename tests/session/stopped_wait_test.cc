// P4, S5, S7: a thread is stopped forever in a look at a wait, in the end of a
// session, in a wait that blocks it, at a deadline, or in a snapshot.
// Coroutines and Asio wait by these same operations, in their loop's thread. An
// allocator's creation and end are not stopped, because no thread may use the
// pool meanwhile.

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "gtest/gtest.h"
#include "tandem/session/blocking_wait.h"
#include "tandem/session/deadline_list.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/pool/arena.h"
#include "tandem/tests/session/stopped_session.h"
#include "tandem/tests/support/service.h"

namespace tandem {
namespace {

// The file in which the system shows the call in which a thread of this
// process sleeps.
std::string CallFile(pid_t thread) {
  return "/proc/self/task/" + std::to_string(thread) + "/syscall";
}

// The number in such a file, -1 if the system does not show it. Allocates
// nothing, for a thread that runs while another copies the process.
int64_t CallIn(const char* file) {
  std::array<char, 32> text = {};
  const int fd = open(file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  const ssize_t size = read(fd, text.data(), text.size() - 1);
  close(fd);
  return size > 0 ? std::strtol(text.data(), nullptr, 10) : -1;
}

class StoppedWaitTest : public StoppedSessionTest {};

TEST_P(StoppedWaitTest, StoppedInALookAtAWaitHidesTwo) {
  Start(/*reserve=*/2);
  service_->TakeAllBut(1);
  ASSERT_EQ(stopped_->Ask(Kind::kPair), Allocation::kWaiting);
  OtherWaits();
  OtherWaits();
  CheckStops(2, [&] { (void)stopped_->IsServed(); });
}

TEST_P(StoppedWaitTest, StoppedWhileItTakesWhatItWasServedHidesTwo) {
  Start(/*reserve=*/2);
  service_->TakeAllBut(1);
  ASSERT_EQ(stopped_->Ask(Kind::kPair), Allocation::kWaiting);
  OtherWaits();
  service_->GiveBack(1);
  CheckStops(2, [&] { EXPECT_TRUE(stopped_->IsServed()); });
}

TEST_P(StoppedWaitTest, StoppedInItsEndWithBuffersHidesTwo) {
  Start(/*reserve=*/2);
  ASSERT_EQ(stopped_->Ask(Kind::kPair), Allocation::kGranted);
  Fill(stopped_->session(), Side::kRequest);
  service_->TakeAllBut(0);
  OtherWaits();
  OtherWaits();
  CheckStops(2, [&] { stopped_.reset(); });
}

TEST_P(StoppedWaitTest, StoppedInItsEndWhileItWaitsHidesTwo) {
  Start(/*reserve=*/0);
  service_->TakeAllBut(1);
  ASSERT_EQ(stopped_->Ask(Kind::kPair), Allocation::kWaiting);
  kind_ = Kind::kReceive;
  OtherWaits();
  CheckStops(2, [&] { stopped_.reset(); });
}

TEST_P(StoppedWaitTest, StoppedInItsEndWhenItWasServedHidesTwo) {
  Start(/*reserve=*/2);
  service_->TakeAllBut(1);
  ASSERT_EQ(stopped_->Ask(Kind::kPair), Allocation::kWaiting);
  OtherWaits();
  service_->GiveBack(1);
  CheckStops(2, [&] { stopped_.reset(); });
}

// S7: in the loop's thread, which ends late waits.
TEST_P(StoppedWaitTest, StoppedInAnExpiryHidesTwo) {
  struct Late : DeadlineList::Node {
    Party* party;
  } late;
  late.on_expired = [](DeadlineList::Node& node) {
    static_cast<Late&>(node).party->Cancel();
  };
  Start(/*reserve=*/2);
  late.party = &*stopped_;
  service_->TakeAllBut(1);
  ASSERT_EQ(stopped_->Ask(Kind::kPair), Allocation::kWaiting);
  OtherWaits();
  DeadlineList deadlines;
  deadlines.Add(late, DeadlineList::Time{});
  CheckStops(2, [&] { deadlines.Expire(DeadlineList::Time{}); });
}

// A thread that sleeps in the kernel, and is woken when it does; in copies
// that were stopped before, the others have served it.
TEST_P(StoppedWaitTest, StoppedInABlockingWaitHidesTwo) {
  const std::string file = CallFile(gettid());
  if (CallIn(file.c_str()) < 0) {
    GTEST_SKIP() << "needs to see whether it sleeps: " << file;
  }
  Start(/*reserve=*/2);
  service_->TakeAllBut(0);
  SessionBuffers sleeper(service_->sessions());
  ASSERT_EQ(sleeper.AllocateBuffers(BlockingWaker()), Allocation::kWaiting);
  OtherWaits();
  companion_.Start([&] {
    while (CallIn(file.c_str()) != SYS_futex) usleep(1'000);
    service_->GiveBack(2);
  });
  CheckStops(2, [&] {
    EXPECT_EQ(BlockUntilServed(sleeper), WaitStatus::kGranted);
    sleeper.ReleaseBuffers();
  });
  companion_.Wait();
}

TEST_P(StoppedWaitTest, StoppedInABlockingWaitThatIsLateHidesTwo) {
  Start(/*reserve=*/2);
  service_->TakeAllBut(1);
  SessionBuffers sleeper(service_->sessions());
  ASSERT_EQ(sleeper.AllocateBuffers(BlockingWaker()), Allocation::kWaiting);
  OtherWaits();
  CheckStops(2, [&] {
    EXPECT_NE(BlockUntilServed(sleeper, {}), WaitStatus::kWaiting);
    sleeper.ReleaseBuffers();
  });
}

TEST_P(StoppedWaitTest, StoppedInASnapshotHidesNothing) {
  Start(/*reserve=*/2);
  service_->TakeAllBut(1);
  OtherWaits();
  OtherWaits();
  CheckStops(0, [&] {
    const Arena arena;
    EXPECT_EQ(service_->sessions().Snapshot().classes.size(), 4u);
  });
}

INSTANTIATE_TEST_SUITE_P(Session, StoppedWaitTest, BothWays(), BiasName);

}  // namespace
}  // namespace tandem
