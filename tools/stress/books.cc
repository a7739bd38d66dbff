// A worker's records about its sessions, and how sessions reach it.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tandem/tools/stress/worker.h"

namespace tandem::stress {

void Worker::Book(StressSession& session) {
  for (const Side side : kSides) {
    bool& booked = session.booked[size_t(side)];
    if (booked || !session.buffers->has_buffer(side)) continue;
    booked = true;
    world_.table->Take(session.buffers->buffer(side), session.tag(),
                       decisions_.OneIn(8));
    const RingBuffer ring = session.buffers->ring(side);
    if (ring.empty() && decisions_.OneIn(3)) {
      ring.Commit(1 + decisions_.Below(static_cast<uint32_t>(ring.space())));
    }
  }
}

void Worker::UnbookEmpty(StressSession& session) {
  for (const Side side : kSides) {
    bool& booked = session.booked[size_t(side)];
    if (!booked || !session.buffers->ring(side).empty()) continue;
    booked = false;
    world_.table->Give(session.buffers->buffer(side), session.tag());
  }
}

void Worker::UnbookAll(StressSession& session) {
  for (const Side side : kSides) {
    const RingBuffer ring = session.buffers->ring(side);
    ring.Consume(ring.size());
  }
  UnbookEmpty(session);
}

void Worker::ReleaseAll() {
  for (StressSession* session : owned_) {
    UnbookAll(*session);
    session->buffers->ReleaseBuffers();
  }
}

void Worker::AdoptWoken(StressSession& session) {
  if (session.owned.exchange(true, std::memory_order::relaxed)) {
    Violated("either the wake-up wins or the cancel (S5)",
             absl::StrCat("session ", session.id, " was woken while owned"));
  }
  session.wakes_due.fetch_add(1, std::memory_order::relaxed);
  const WaitStatus status = session.buffers->FinishWait();
  if (status == WaitStatus::kGranted) Tally::Count(tally().grants);
  if (status != (std::exchange(session.migrates, false)
                     ? WaitStatus::kNone
                     : WaitStatus::kGranted)) {
    Violated("who is woken has its buffers (S4)",
             absl::StrCat("session ", session.id, " has status ",
                          static_cast<int>(status)));
  }
  Book(session);
  owned_.push_back(&session);
}

void Worker::AdoptCancelled(StressSession& session) {
  if (session.owned.exchange(true, std::memory_order::relaxed)) {
    Violated(
        "either the wake-up wins or the cancel (S5)",
        absl::StrCat("session ", session.id, " was cancelled while owned"));
  }
  if (session.buffers->FinishWait() != WaitStatus::kCancelled) {
    Violated("a cancel that won ends the wait (S5)",
             absl::StrCat("session ", session.id));
  }
  Book(session);
  owned_.push_back(&session);
}

void Worker::CollectArrivals() {
  for (StressSession* session = inbox_.TakeAll(); session != nullptr;) {
    StressSession& arrived = *std::exchange(session, session->next);
    AdoptWoken(arrived);
  }
  inbox_.notifier->Dispatch();
  for (StressSession* session : arrived_) AdoptWoken(*session);
  arrived_.clear();
}

}  // namespace tandem::stress
