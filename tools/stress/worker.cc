#include "tandem/tools/stress/worker.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tandem/session/blocking_wait.h"

namespace tandem::stress {
namespace {

using std::chrono::microseconds;

// Buffers taken inside a wake-up.
constexpr OwnerTag kWakerTag{0xFFFF'FFFF};

void CountWake(StressSession& session) {
  // acquire, so that this read comes before the count: the owner raises
  // wakes_due as soon as it sees the count.
  const uint32_t due = session.wakes_due.load(std::memory_order::acquire);
  if (session.wakes.fetch_add(1, std::memory_order::relaxed) != due) {
    Violated("a waker is called once per granted wait (S4, S5)",
             absl::StrCat("session ", session.id, " was woken again"));
  }
}

void WakeAttended(void* context) noexcept {
  CountWake(*static_cast<StressSession*>(context));
}

// Sometimes uses the pool within the wake-up: buffers that this releases must
// be served afterwards.
void WakeParked(void* context) noexcept {
  auto& session = *static_cast<StressSession*>(context);
  CountWake(session);
  World& world = session.world;
  if (session.waits % 4 == 0) {
    if (std::byte* const buffer = world.pool->Acquire()) {
      // Several threads may be in wake-ups: the table tells them apart by the
      // buffer's number.
      world.table->Take(buffer, kWakerTag, false);
      world.table->Give(buffer, kWakerTag);
      world.pool->Release(buffer);
    }
  }
  session.target->Put(session);
}

void OnReady(EventNotifier::Node& node) {
  auto& session = static_cast<StressSession&>(node);
  CountWake(session);
  session.target->arrived->push_back(&session);
}

}  // namespace

Worker::Worker(World& world, uint32_t number)
    : world_(world),
      number_(number),
      decisions_(Decisions(world.options.seed + number).Next()),
      inbox_(world.inboxes[number]) {
  inbox_.arrived = &arrived_;
  for (size_t i = number; i < world.sessions.size();
       i += world.options.threads) {
    owned_.push_back(world.sessions[i].get());
    owned_.back()->on_ready = OnReady;
  }
}

void Worker::Live() {
  uint32_t life = 100 + decisions_.Below(20'000);
  while (!world_.finished) {
    if (world_.RoundOver()) {
      Rest();
      continue;
    }
    if (life-- == 0) return;
    Step();
    Tally::Count(tally().ops);
    constexpr uint32_t kReportEvery = 32;
    if (++uncounted_ == kReportEvery) {
      world_.round_ops.fetch_add(std::exchange(uncounted_, 0));
    }
  }
}

void Worker::Step() {
  CollectArrivals();
  const uint32_t choice = decisions_.Below(1000);
  if (owned_.empty() || choice < 100) {
    CancelSomebody();
    if (owned_.empty()) std::this_thread::yield();
    return;
  }
  const size_t at = decisions_.Below(static_cast<uint32_t>(owned_.size()));
  if (choice < (world_.Calm() ? 300 : 550)) {
    std::swap(owned_[at], owned_.back());
    AskAndMayWait(*owned_.back());
  } else if (choice < 850) {
    Release(*owned_[at]);
  } else if (choice < 900) {
    Migrate(at);
  } else if (choice < 980) {
    UseRawBuffers();
  } else if (choice < 985) {
    Burst();
  } else if (choice < 999) {
    CheckFifo();
  } else {
    (void)world_.pool->Trim();
  }
}

Allocation Worker::Ask(StressSession& session, Request request, Side side) {
  Tally::Count(tally().allocations);
  SessionBuffers& buffers = *session.buffers;
  switch (request) {
    case Request::kReceive:
      return buffers.AllocateReceiveBuffer(side);
    case Request::kPair:
      UnbookEmpty(session);  // The call may give those back.
      return buffers.AllocateBuffers();
    case Request::kUrgent:
      return buffers.AllocateBufferAs(world_.urgent, side);
    case Request::kBulk:
      break;
  }
  return buffers.AllocateBufferAs(world_.bulk, side);
}

Allocation Worker::Ask(StressSession& session, Request request, Side side,
                       Waker waker) {
  Tally::Count(tally().allocations);
  SessionBuffers& buffers = *session.buffers;
  switch (request) {
    case Request::kReceive:
      return buffers.AllocateReceiveBuffer(side, waker);
    case Request::kPair:
      UnbookEmpty(session);
      return buffers.AllocateBuffers(waker);
    case Request::kUrgent:
      return buffers.AllocateBufferAs(world_.urgent, side, waker);
    case Request::kBulk:
      break;
  }
  return buffers.AllocateBufferAs(world_.bulk, side, waker);
}

void Worker::AskAndMayWait(StressSession& session) {
  static constexpr Request kMix[] = {
      Request::kPair,    Request::kPair,    Request::kPair,   Request::kReceive,
      Request::kReceive, Request::kReceive, Request::kUrgent, Request::kBulk};
  const Request request = kMix[decisions_.Below(std::size(kMix))];
  const Side side = kSides[decisions_.Below(2)];
  if (decisions_.OneIn(4)) {
    AfterAttempt(session, request, Ask(session, request, side));
  } else if (session.parks) {
    AskAndPark(session, request, side);
  } else {
    AskAndAttend(session, request, side);
  }
}

void Worker::AskAndPark(StressSession& session, Request request, Side side) {
  // After the request, the session may belong to another worker.
  owned_.pop_back();
  session.owned.store(false, std::memory_order::relaxed);
  ++session.waits;
  session.target = &world_.inboxes[decisions_.Below(world_.options.threads)];
  const Waker waker = decisions_.OneIn(2)
                          ? Waker{WakeParked, &session}
                          : session.target->notifier->WakerFor(session);
  const Allocation result = Ask(session, request, side, waker);
  if (result == Allocation::kWaiting) {
    Tally::Count(tally().waits);
    return;
  }
  session.owned.store(true, std::memory_order::relaxed);
  owned_.push_back(&session);
  AfterAttempt(session, request, result);
}

void Worker::AskAndAttend(StressSession& session, Request request, Side side) {
  const uint32_t how = decisions_.Below(4);
  const bool blocks = how < 2;
  const bool counted = how == 2;
  const Waker waker = blocks    ? BlockingWaker()
                      : counted ? Waker{WakeAttended, &session}
                                : Waker{};
  const Allocation result = Ask(session, request, side, waker);
  AfterAttempt(session, request, result);
  if (result != Allocation::kWaiting) return;
  Tally::Count(tally().waits);
  if (blocks) {
    BlockFor(session);
  } else {
    PollFor(session, counted);
  }
}

void Worker::BlockFor(StressSession& session) {
  const auto patience =
      decisions_.OneIn(32) ? microseconds(20'000) : microseconds(500);
  const auto deadline =
      std::chrono::steady_clock::now() + patience * decisions_.Below(100) / 100;
  AfterAttendedWait(session, BlockUntilServed(*session.buffers, deadline));
}

void Worker::PollFor(StressSession& session, bool counted) {
  WaitStatus status = WaitStatus::kWaiting;
  for (uint32_t looks = decisions_.Below(50); looks > 0; --looks) {
    status = session.buffers->FinishWait();
    if (status != WaitStatus::kWaiting) break;
    std::this_thread::yield();
  }
  if (status == WaitStatus::kWaiting) {
    if (session.buffers->CancelWait()) Tally::Count(tally().cancels);
    status = session.buffers->FinishWait();
    if (status == WaitStatus::kWaiting) {
      Violated("a wait that was cancelled is over (S5)",
               absl::StrCat("session ", session.id, " still waits"));
    }
  }
  if (counted && status == WaitStatus::kGranted) {
    // The wait was granted, but its waker call is still on its way.
    const uint32_t due = session.wakes_due.load(std::memory_order::relaxed);
    while (session.wakes.load(std::memory_order::relaxed) == due) {
      std::this_thread::yield();
    }
    session.wakes_due.store(due + 1, std::memory_order::relaxed);
  }
  AfterAttendedWait(session, status);
}

void Worker::AfterAttendedWait(StressSession& session, WaitStatus status) {
  if (status == WaitStatus::kGranted) Tally::Count(tally().grants);
  if (status == WaitStatus::kNone || status == WaitStatus::kWaiting) {
    Violated("a wait is granted or cancelled (S5)",
             absl::StrCat("session ", session.id, " ended with status ",
                          static_cast<int>(status)));
  }
  Book(session);
}

void Worker::AfterAttempt(StressSession& session, Request request,
                          Allocation result) {
  if (result == Allocation::kOverloaded) Tally::Count(tally().overloads);
  const SessionBuffers& buffers = *session.buffers;
  if (request == Request::kPair) {
    const bool granted = result == Allocation::kGranted;
    for (const Side side : kSides) {
      if (granted && !buffers.has_buffer(side)) {
        Violated("a pair is whole (S2)",
                 absl::StrCat("session ", session.id, " has half of one"));
      }
      if (!granted &&
          buffers.has_buffer(side) != session.booked[size_t(side)]) {
        Violated("who fails gives back what is empty and nothing else (S2)",
                 absl::StrCat("session ", session.id));
      }
    }
  }
  if (result != Allocation::kWaiting) Book(session);
}

void Worker::Release(StressSession& session) {
  SessionBuffers& buffers = *session.buffers;
  const bool done = world_.Calm() || decisions_.OneIn(2);
  for (const Side side : kSides) {
    const RingBuffer ring = buffers.ring(side);
    if (done || decisions_.OneIn(2)) ring.Consume(ring.size());
  }
  UnbookEmpty(session);
  buffers.ReleaseBuffers();
  for (const Side side : kSides) {
    if (buffers.has_buffer(side) != session.booked[size_t(side)]) {
      Violated("release keeps what holds data, and nothing else (S3)",
               absl::StrCat("session ", session.id));
    }
  }
}

void Worker::Migrate(size_t at) {
  StressSession& session = *owned_[at];
  owned_[at] = owned_.back();
  owned_.pop_back();
  session.migrates = true;
  session.owned.store(false, std::memory_order::relaxed);
  session.wakes.fetch_add(1, std::memory_order::relaxed);
  world_.inboxes[decisions_.Below(world_.options.threads)].Put(session);
}

void Worker::CancelSomebody() {
  const auto count = static_cast<uint32_t>(world_.sessions.size());
  StressSession& session = *world_.sessions[decisions_.Below(count)];
  if (!session.buffers->CancelWait()) return;
  Tally::Count(tally().cancels);
  if (session.parks) AdoptCancelled(session);
}

}  // namespace tandem::stress
