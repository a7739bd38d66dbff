#ifndef TANDEM_TESTS_SUPPORT_FULL_SERVICE_H_
#define TANDEM_TESTS_SUPPORT_FULL_SERVICE_H_

#include <string>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/support/service.h"
#include "tandem/tests/support/waiting_session.h"

namespace tandem {

// A service whose buffers are all taken until the test or TearDown gives them
// back, a session that may wait for some, and a log of how waits end.
template <class Base = ::testing::Test>
class FullServiceTest : public Base {
 protected:
  explicit FullServiceTest(const PoolOptions& options,
                           const SessionOptions& session_options = {})
      : service_(options, session_options), session_(service_) {
    service_.TakeAllBut(0);
  }
  void TearDown() override {
    service_.GiveBackAll();
    EXPECT_EQ(service_.Waiting(), 0u);
  }

  // A session whose wake-up appends `letter` to the log.
  WaitingSession Named(char letter) {
    return WaitingSession(service_, &log_, letter);
  }

  // "A" if the session with the name 'a' was served, otherwise "a!" if too
  // many waited, and "a" if its wait ended without buffers.
  void Note(char name, Allocation result) {
    if (result == Allocation::kGranted) {
      log_ += static_cast<char>(name - 'a' + 'A');
    } else {
      log_ += name;
      if (result == Allocation::kOverloaded) log_ += '!';
    }
  }

  Service service_;
  WaitingSession session_;
  std::string log_;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_SUPPORT_FULL_SERVICE_H_
