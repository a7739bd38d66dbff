#ifndef TANDEM_TESTS_SESSION_URING_TEST_UTIL_H_
#define TANDEM_TESTS_SESSION_URING_TEST_UTIL_H_

#include <liburing.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/session/uring_wait.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {

// A ring of io_uring(7) with a loop, and the completions of the test's own. The
// parameter are its flags.
class UringTest : public ::testing::TestWithParam<unsigned> {
 protected:
  static constexpr unsigned kEntries = 8;

  void SetUp() override {
    const int result = io_uring_queue_init(kEntries, &ring_, GetParam());
    if (result != 0) GTEST_SKIP() << "io_uring_queue_init: " << result;
    running_ = true;
    auto loop = UringLoop::Create(ring_);
    ASSERT_TRUE(loop.ok()) << loop.status();
    loop_ = *std::move(loop);
  }
  ~UringTest() override { EndRing(); }

  void EndRing() {
    if (std::exchange(running_, false)) io_uring_queue_exit(&ring_);
  }

  // Submits what there is, sleeps until there are completions, and handles
  // them.
  void Turn() {
    const int result =
        io_uring_submit_and_wait(&ring_, loop_->Prepare() ? 1 : 0);
    Require(result >= 0 || result == -EINTR, "io_uring_submit_and_wait");
    HandleCompletions();
  }
  void HandleCompletions() {
    for (io_uring_cqe* cqe; io_uring_peek_cqe(&ring_, &cqe) == 0;) {
      if (!loop_->Handle(*cqe)) own_.push_back(cqe->user_data);
      io_uring_cqe_seen(&ring_, cqe);
    }
  }

  // A request that completes at once.
  void SubmitNop(uint64_t data) {
    io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
    Require(sqe != nullptr, "the submission queue is full");
    io_uring_prep_nop(sqe);
    sqe->user_data = data;
  }

  io_uring ring_;
  bool running_ = false;
  std::unique_ptr<UringLoop> loop_;
  std::vector<uint64_t> own_;  // the user_data of the test's completions
};

inline std::string RingName(const ::testing::TestParamInfo<unsigned>& info) {
  return info.param == 0 ? "Plain" : "Deferred";
}
// As a ring is by default, and as a server with a ring for each thread wants it
// (Linux 6.1).
inline const auto kRings = ::testing::Values(
    0u, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);

}  // namespace tandem

#endif  // TANDEM_TESTS_SESSION_URING_TEST_UTIL_H_
