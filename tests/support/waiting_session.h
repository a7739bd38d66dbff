#ifndef TANDEM_TESTS_SUPPORT_WAITING_SESSION_H_
#define TANDEM_TESTS_SUPPORT_WAITING_SESSION_H_

#include <atomic>
#include <functional>
#include <string>

#include "tandem/session/session_buffers.h"
#include "tandem/tests/support/service.h"

namespace tandem {

// A session with a waker of its own. The waker counts its calls; appends the
// session's letter to a log, if there is one; and then calls `on_wake`, if that
// is set.
class WaitingSession : public SessionBuffers {
 public:
  explicit WaitingSession(Service& service, std::string* log = nullptr,
                          char letter = '?')
      : SessionBuffers(service.sessions()), log_(log), letter_(letter) {}

  // Ask with the waker.
  Allocation Pair() { return AllocateBuffers(waker()); }
  Allocation Receive(Side side = Side::kRequest) {
    return AllocateReceiveBuffer(side, waker());
  }
  Allocation As(ClassId id, Side side = Side::kRequest) {
    return AllocateBufferAs(id, side, waker());
  }

  int wakes() const { return wakes_; }

  std::function<void()> on_wake;

 private:
  Waker waker() { return {Wake, this}; }
  static void Wake(void* context) noexcept {
    auto& self = *static_cast<WaitingSession*>(context);
    const bool is_watched = self.log_ != nullptr || self.on_wake;
    ++self.wakes_;
    // A thread that has seen that may have destroyed the session.
    if (!is_watched) return;
    if (self.log_ != nullptr) *self.log_ += self.letter_;
    if (self.on_wake) self.on_wake();
  }

  std::atomic<int> wakes_{0};
  std::string* const log_;
  const char letter_;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_SUPPORT_WAITING_SESSION_H_
