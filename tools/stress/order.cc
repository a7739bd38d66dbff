// The order of service, as one worker can observe it: a wait that it has seen
// begin goes before its later requests.

#include <cstdint>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tandem/tools/stress/worker.h"

namespace tandem::stress {

void Worker::CheckFifo() {
  std::vector<StressSession*> idle;
  for (StressSession* session : owned_) {
    if (session->parks || session->booked[0] || session->booked[1]) continue;
    idle.push_back(session);
    if (idle.size() == 3) break;
  }
  if (idle.size() < 3) return;
  const auto request = Request(decisions_.Below(4));
  const Side side = Side::kRequest;
  const auto subscribe = [&](StressSession& session) {
    const Allocation result = Ask(session, request, side, Waker{});
    if (result == Allocation::kWaiting) Tally::Count(tally().waits);
    AfterAttempt(session, request, result);
    return result == Allocation::kWaiting;
  };
  const auto waits = [](StressSession& session) {
    return session.buffers->FinishWait() == WaitStatus::kWaiting;
  };
  if (subscribe(*idle[0])) {
    const bool second = subscribe(*idle[1]);
    for (uint32_t looks = decisions_.Below(30); looks > 0; --looks) {
      if (Ask(*idle[2], request, side) == Allocation::kGranted) {
        if (waits(*idle[0])) {
          Violated("no later allocation of a class overtakes a waiter (S4)",
                   absl::StrCat("request ", static_cast<int>(request)));
        }
        break;
      }
      if (second && !waits(*idle[1])) {
        if (idle[1]->buffers->has_buffer(side) && waits(*idle[0])) {
          Violated("first come, first served within a class (S4)",
                   absl::StrCat("request ", static_cast<int>(request)));
        }
        break;
      }
      std::this_thread::yield();
    }
    Tally::Count(tally().fifo_checks);
  }
  for (StressSession* session : idle) {
    if (session->buffers->CancelWait()) Tally::Count(tally().cancels);
    session->buffers->FinishWait();
    Book(*session);
  }
}

}  // namespace tandem::stress
