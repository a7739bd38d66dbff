#include "tandem/session/blocking_wait.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdint>

#include "tandem/pool/platform.h"
#include "tandem/session/deadline_list.h"
#include "tandem/session/waiter_record.h"

namespace tandem {
namespace {

using Word = SleepWord<StdPlatform>;

// How often a thread lets others run before it sleeps. All turns together cost
// about as much as one sleep and its wake-up. They save these where buffers
// come back within that time.
constexpr int kTurns = 8;

// The half of a wait's word that changes when the wait ends (WaiterState).
uint32_t* LowHalf(Word& word) {
  constexpr int kAt = std::endian::native == std::endian::little ? 0 : 1;
  return reinterpret_cast<uint32_t*>(&word.state) + kAt;
}

void WakeSleeper(void* context) noexcept {
  Word& word = *static_cast<Word*>(context);
  if (!word.MaySleep()) return;
  const int saved_errno = errno;
  syscall(SYS_futex, LowHalf(word), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr,
          nullptr, 0);
  errno = saved_errno;
}

}  // namespace

Waker BlockingWaker() {
  return {.wake = WakeSleeper, .context = nullptr, .on_cancel = true};
}

WaitStatus BlockUntilServed(SessionBuffers& session,
                            std::chrono::steady_clock::time_point deadline) {
  const bool forever = deadline == std::chrono::steady_clock::time_point::max();
  const timespec until = ToTimespec(deadline);
  int turns = session.WaitMayEndSoon(kTurns) ? kTurns : 0;
  for (;;) {
    // Read the word before the state of the wait: if the word has changed since
    // then, the kernel does not let the thread sleep.
    Word* const word = session.sleep_word();
    const auto seen =
        word == nullptr ? 0 : static_cast<uint32_t>(word->state.load());
    const WaitStatus status = session.FinishWait();
    if (status != WaitStatus::kWaiting) return status;
    if (std::chrono::steady_clock::now() >= deadline) {
      // Cancelled or granted, the next iteration finds out how the wait ended.
      session.CancelWait();
      continue;
    }
    if (turns > 0) {
      --turns;
      sched_yield();
      continue;
    }
    word->AnnounceSleeper();
    syscall(SYS_futex, LowHalf(*word), FUTEX_WAIT_BITSET_PRIVATE, seen,
            forever ? nullptr : &until, nullptr, FUTEX_BITSET_MATCH_ANY);
  }
}

}  // namespace tandem
