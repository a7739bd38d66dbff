#include "tandem/tests/fuzz/model_sessions.h"

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/log/check.h"

namespace tandem {

void ModelSessions::Begin(size_t session, WakerKind waker) {
  acting_ = session;
  // A session that waits already keeps its waker.
  if (session != kNobody && Acting().wait != WaitStatus::kWaiting) {
    Acting().waker = waker;
  }
}

Allocation ModelSessions::Receive(size_t id, Side side) {
  if (StillWaiting()) return Allocation::kWaiting;
  const auto i = static_cast<size_t>(side);
  if (Acting().sides[i].has_buffer) return Allocation::kGranted;
  return TakeOrWait(id, static_cast<uint8_t>(1u << i));
}

Allocation ModelSessions::Pair() {
  if (StillWaiting()) return Allocation::kWaiting;
  Session& session = Acting();
  const uint8_t missing = Missing(session);
  if (missing == 0) return Allocation::kGranted;
  if (missing == 0b11) return TakeOrWait(pair_, missing);
  if (Take(/*complete*/ 0, missing)) return Allocation::kGranted;
  // A session that fails gives back its empty buffer, and only then waits (S2).
  ReleaseBuffers();
  if (session.waker == WakerKind::kNone) return Allocation::kExhausted;
  return TakeOrWait(Missing(session) == 0b11 ? pair_ : 0, Missing(session));
}

WaitStatus ModelSessions::Finish() {
  const WaitStatus status = Acting().wait;
  if (status == WaitStatus::kGranted) Install(Acting(), Acting().awaited);
  if (status != WaitStatus::kWaiting) Acting().wait = WaitStatus::kNone;
  return status;
}

bool ModelSessions::Cancel() {
  Session& session = Acting();
  if (session.wait != WaitStatus::kWaiting) return false;
  CHECK(spec_.Unlink(static_cast<SequentialPool::Waiter>(acting_)));
  session.wait = WaitStatus::kCancelled;
  ++counts_[session.waits_as].cancels;
  ServeAll();
  return true;
}

void ModelSessions::End() {
  Cancel();
  Finish();
  for (SideState& side : Acting().sides) {
    if (std::exchange(side, {}).has_buffer) Release(1);
  }
}

bool ModelSessions::StillWaiting() { return Finish() == WaitStatus::kWaiting; }

bool ModelSessions::Take(size_t id, uint8_t sides) {
  if (!spec_.Take(id)) return false;
  Install(Acting(), sides);
  // It may have made a class due.
  ServeAll();
  return true;
}

Allocation ModelSessions::TakeOrWait(size_t id, uint8_t sides) {
  if (Take(id, sides)) return Allocation::kGranted;
  Session& session = Acting();
  if (session.waker == WakerKind::kNone) return Allocation::kExhausted;
  if (spec_.IsFull(id)) return Allocation::kOverloaded;
  session.awaited = sides;
  session.waits_as = id;
  session.wait = WaitStatus::kWaiting;
  ++counts_[id].waits;
  spec_.Link(id, static_cast<SequentialPool::Waiter>(acting_));
  subscriber_ = acting_;
  ServeAll();
  subscriber_ = kNobody;
  if (session.wait == WaitStatus::kWaiting) return Allocation::kWaiting;
  Finish();
  return Allocation::kGranted;
}

void ModelSessions::ServeAll() {
  while (spec_.Next()) {
    const size_t served = spec_.ServeNext();
    Session& session = sessions_[served];
    session.wait = WaitStatus::kGranted;
    if (served == subscriber_ || session.waker == WakerKind::kSilent) continue;
    wakes_.push_back(served);
    if (ReturnsWhenWoken(served)) {
      Install(session, session.awaited);
      session.wait = WaitStatus::kNone;
      spec_.Return(static_cast<uint32_t>(DropEmpty(session)));
    }
  }
}

uint8_t ModelSessions::Missing(const Session& session) {
  uint8_t missing = 0;
  for (size_t i = 0; i < session.sides.size(); ++i) {
    if (!session.sides[i].has_buffer) missing |= 1u << i;
  }
  return missing;
}

void ModelSessions::Install(Session& session, uint8_t sides) {
  for (size_t i = 0; i < session.sides.size(); ++i) {
    if (sides >> i & 1) session.sides[i] = {.has_buffer = true};
  }
}

size_t ModelSessions::DropEmpty(Session& session) {
  size_t count = 0;
  for (SideState& side : session.sides) {
    if (!side.has_buffer || side.bytes != 0) continue;
    side = {};
    ++count;
  }
  return count;
}

}  // namespace tandem
