// Moments of rest: all workers meet and end their operations, and one of them
// checks that the records agree with the pool.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tandem/pool/buffer.h"
#include "tandem/pool/snapshot.h"
#include "tandem/tools/stress/worker.h"

namespace tandem::stress {
namespace {

// Sessions that the single active worker receives for.
constexpr uint32_t kProbes = 4;

// Records the order of wake-ups on one thread.
struct Order {
  std::string woken;
};
struct Note {
  Order* order;
  char name;
};
void NoteWake(void* context) noexcept {
  const Note& note = *static_cast<Note*>(context);
  note.order->woken += note.name;
}

}  // namespace

void Worker::Rest() {
  Meeting& meeting = *world_.meeting;
  // A thread that sleeps for buffers must not wait for the resting threads.
  meeting.Meet([this] {
    for (auto& session : world_.sessions) {
      if (!session->parks) session->buffers->CancelWait();
    }
  });
  for (size_t i = number_; i < world_.sessions.size();
       i += world_.options.threads) {
    StressSession& session = *world_.sessions[i];
    if (!session.parks || !session.buffers->CancelWait()) continue;
    Tally::Count(tally().cancels);
    AdoptCancelled(session);
  }
  meeting.Meet();
  CollectArrivals();
  RenewSessions();
  if (number_ == 0) {
    for (auto& mailbox : world_.mailboxes) {
      std::byte* const buffer = mailbox.exchange(nullptr);
      if (buffer != nullptr) ReleaseRaw(buffer);
    }
  }
  meeting.Meet();
  if (number_ == 0) {
    CheckBooks();
    ProbeAlone();
    CheckBooks();
    world_.round_ops = 0;
    ++world_.rounds;
    world_.finished = world_.stop.load();
  }
  meeting.Meet();
}

void Worker::RenewSessions() {
  const bool all = world_.rounds % 3 == 2;
  for (StressSession* session : owned_) {
    if (all || decisions_.OneIn(4)) UnbookAll(*session);
    if (decisions_.OneIn(8)) {
      UnbookAll(*session);
      session->buffers.emplace(*world_.allocator);
    }
    UnbookEmpty(*session);
    session->buffers->ReleaseBuffers();
  }
}

void Worker::CheckBooks() {
  for (auto& session : world_.sessions) {
    if (!session->owned) {
      Violated("every wait ends (S4, S5)",
               absl::StrCat("session ", session->id, " is lost"));
    }
    if (session->wakes != session->wakes_due) {
      Violated("a waker is called once per granted wait (S4, S5)",
               absl::StrCat("session ", session->id, " was woken ",
                            session->wakes.load(), " times, not ",
                            session->wakes_due.load()));
    }
  }
  const SessionSnapshot s = world_.allocator->Snapshot();
  const uint32_t held = world_.table->held();
  if (s.pool.available + s.pool.cached + held != s.pool.capacity) {
    Violated("available + cached + held is the capacity (P1)",
             absl::StrCat(s.pool.available, " + ", s.pool.cached, " + ", held,
                          " is not ", s.pool.capacity));
  }
  if (s.pool.waiting != 0 || s.pool.shortages != 0) {
    Violated("at rest nobody waits or is short (S5, P3)",
             absl::StrCat(s.pool.waiting, " wait, ", s.pool.shortages,
                          " are short"));
  }
  for (const WaitClassSnapshot& c : s.classes) {
    if (c.waiting == 0 && c.waits == c.grants + c.cancels) continue;
    Violated("each wait is granted or cancelled (S5)",
             absl::StrCat("class ", c.name, ": ", c.waits, " waits, ", c.grants,
                          " grants, ", c.cancels, " cancels, ", c.waiting,
                          " waiting"));
  }
}

// While all other workers rest, whatever their caches hold: all buffers are
// available, receives leave the reserve, and one more buffer is not available.
void Worker::ProbeAlone() {
  BufferPool& pool = *world_.pool;
  const uint32_t reserve = pool.reserve();
  const uint32_t idle = pool.capacity() - world_.table->held();
  const uint32_t rest = std::min(idle, reserve + kProbes);
  std::vector<std::byte*> raw(idle - rest);
  if (!pool.AcquireMany(raw)) {
    Violated("what is idle can be had (P3)",
             absl::StrCat("AcquireMany of ", raw.size(), " failed with ", idle,
                          " idle"));
  }
  std::deque<SessionBuffers> probes;
  uint32_t received = 0;
  for (uint32_t i = 0; i <= kProbes; ++i) {
    SessionBuffers& probe = probes.emplace_back(*world_.allocator);
    received +=
        probe.AllocateReceiveBuffer(Side::kRequest) == Allocation::kGranted;
  }
  const uint32_t expected = rest - std::min(rest, reserve);
  if (received != expected) {
    Violated(
        "receive takes all but the reserve (S1)",
        absl::StrCat(received, " were received of ", rest, ", not ", expected));
  }
  while (std::byte* const buffer = pool.Acquire()) raw.push_back(buffer);
  if (raw.size() + received != idle) {
    Violated("what is idle can be had (P3)",
             absl::StrCat(raw.size() + received, " were had of ", idle));
  }
  if (idle >= 2 * kProbes + 4 + reserve) {
    ProbeOrder(probes[0], raw);
    raw.clear();
  }
  pool.ReleaseMany(raw);
}

// The pool is exhausted: `holder` holds one buffer and `raw` nearly all others.
void Worker::ProbeOrder(SessionBuffers& holder,
                        const std::vector<std::byte*>& raw) {
  Order order;
  std::array<Note, 5> notes;
  std::deque<SessionBuffers> waiters;
  const auto subscribe = [&](SessionBuffers& session, char name, bool pair) {
    Note& note = notes[name - 'a'];
    note = {&order, name};
    const Waker waker{NoteWake, &note};
    const Allocation result =
        pair ? session.AllocateBuffers(waker)
             : session.AllocateReceiveBuffer(Side::kRequest, waker);
    if (result != Allocation::kWaiting) {
      Violated("an allocation that can't be met waits (S4)",
               absl::StrCat(std::string(1, name), " got ",
                            static_cast<int>(result)));
    }
  };
  holder.ring(Side::kRequest).Commit(1);
  for (const char name : {'b', 'c', 'd', 'e'}) {
    subscribe(waiters.emplace_back(*world_.allocator), name, name < 'd');
  }
  subscribe(holder, 'a', true);
  for (std::byte* const buffer : raw) world_.pool->Release(buffer);
  if (order.woken != "abcde") {
    Violated("complete, pair, receive; first come, first served (S4, S8)",
             absl::StrCat("a, b, c, d, e were woken as ", order.woken));
  }
}

}  // namespace tandem::stress
