#ifndef TANDEM_TESTS_SESSION_FULL_SERVICE_H_
#define TANDEM_TESTS_SESSION_FULL_SERVICE_H_

#include <cstdint>
#include <string>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/session/session_test_util.h"

namespace tandem {

// A service whose buffers are all taken until the test or TearDown gives them
// back, a session that may wait for some, and a log of how waits end.
class FullServiceTest : public ::testing::Test {
 protected:
  explicit FullServiceTest(uint32_t capacity)
      : service_({.capacity = capacity}), session_(service_.sessions()) {
    service_.TakeAllBut(0);
  }
  void TearDown() override { service_.GiveBackAll(); }

  // "A" if the session with the name 'a' was served, otherwise "a!" if too
  // many waited, and "a." if its wait ended without buffers.
  void Note(char name, Allocation result) {
    if (result == Allocation::kGranted) {
      log_ += static_cast<char>(name - 'a' + 'A');
    } else {
      log_ += name;
      log_ += result == Allocation::kOverloaded ? '!' : '.';
    }
  }

  Service service_;
  SessionBuffers session_;
  std::string log_;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_SESSION_FULL_SERVICE_H_
