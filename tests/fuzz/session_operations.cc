// The operations of a session in an input, and those of its waker.

#include <cstddef>
#include <memory>
#include <string_view>

#include "absl/log/check.h"
#include "absl/strings/str_cat.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/fuzz/model_sessions.h"
#include "tandem/tests/fuzz/operation_run.h"

namespace tandem {
namespace {

std::string_view NameOf(Allocation result) {
  constexpr std::string_view kNames[] = {"granted", "exhausted", "waiting",
                                         "overloaded"};
  return kNames[static_cast<size_t>(result)];
}

}  // namespace

size_t OperationRun::ChooseSession(std::string_view operation) {
  const size_t i = in_.Below(kSessions);
  absl::StrAppend(&history_, operation, " ", i);
  return i;
}

Side OperationRun::ChooseSide() {
  const auto side = static_cast<Side>(in_.Below(2));
  absl::StrAppend(&history_, side == Side::kRequest ? " request" : " response");
  return side;
}

bool OperationRun::BeginWait(size_t session, Waker& waker) {
  constexpr std::string_view kNames[] = {"", ", silently", ", or wait",
                                         ", or wait and return"};
  const uint32_t kind = in_.Below(4);
  absl::StrAppend(&history_, kNames[kind]);
  const auto waker_kind = static_cast<WakerKind>(kind);
  model_.Begin(session, waker_kind);
  waker = waker_kind == WakerKind::kSilent ? Waker{}
                                           : Waker{Wake, &contexts_[session]};
  return waker_kind != WakerKind::kNone;
}

void OperationRun::Wake(void* context) noexcept {
  const auto& [run, session] = *static_cast<Context*>(context);
  run->wakes_.push_back(session);
  if (run->model_.ReturnsWhenWoken(session)) {
    const WaitStatus status = run->sessions_[session]->FinishWait();
    run->Expect("status", static_cast<int>(status),
                static_cast<int>(WaitStatus::kGranted));
    run->sessions_[session]->ReleaseBuffers();
  }
}

void OperationRun::ExpectResult(Allocation result, Allocation expected) {
  absl::StrAppend(&history_, ": ", NameOf(result));
  Expect("result", NameOf(result), NameOf(expected));
}

void OperationRun::Receive() { Receive(allocator_->receive(), "receive"); }

void OperationRun::ReceiveDeclared() {
  const auto id = allocator_->FindClass("declared");
  if (id.ok()) Receive(*id, "allocate as declared");
}

void OperationRun::Receive(ClassId id, std::string_view name) {
  const size_t i = ChooseSession(name);
  const Side side = ChooseSide();
  Waker waker;
  const bool waits = BeginWait(i, waker);
  auto result = Allocation::kExhausted;
  On([&] {
    result = waits ? sessions_[i]->AllocateBufferAs(id, side, waker)
                   : sessions_[i]->AllocateBufferAs(id, side);
  });
  ExpectResult(result, model_.Receive(static_cast<size_t>(id), side));
}

void OperationRun::Pair() {
  const size_t i = ChooseSession("pair");
  Waker waker;
  const bool waits = BeginWait(i, waker);
  auto result = Allocation::kExhausted;
  On([&] {
    result = waits ? sessions_[i]->AllocateBuffers(waker)
                   : sessions_[i]->AllocateBuffers();
  });
  ExpectResult(result, model_.Pair());
}

void OperationRun::Fill() {
  const size_t i = ChooseSession("fill");
  const Side side = ChooseSide();
  const size_t n = 1 + in_.Below(64);
  absl::StrAppend(&history_, " with ", n);
  ModelSessions::SideState& state = model_.side(i, side);
  const RingBuffer ring = sessions_[i]->ring(side);
  for (size_t done = 0; done < n && ring.space() > 0; ++done) {
    const auto byte = static_cast<std::byte>(state.next + state.bytes++);
    CHECK_EQ(ring.Write({&byte, 1}), 1u);
  }
}

void OperationRun::Consume() {
  const size_t i = ChooseSession("consume");
  const Side side = ChooseSide();
  const size_t n = 1 + in_.Below(64);
  absl::StrAppend(&history_, " up to ", n);
  ModelSessions::SideState& state = model_.side(i, side);
  for (size_t done = 0; done < n && state.bytes > 0; ++done, --state.bytes) {
    std::byte byte{};
    CHECK_EQ(sessions_[i]->ring(side).Read({&byte, 1}), 1u);
    Expect("byte", static_cast<int>(byte), int{state.next++});
  }
}

void OperationRun::ReleaseSession() {
  const size_t i = ChooseSession("release buffers of");
  model_.Begin(i);
  On([&] { sessions_[i]->ReleaseBuffers(); });
  model_.ReleaseBuffers();
}

void OperationRun::Finish() {
  const size_t i = ChooseSession("finish wait of");
  model_.Begin(i);
  auto status = WaitStatus::kNone;
  On([&] { status = sessions_[i]->FinishWait(); });
  Expect("status", static_cast<int>(status), static_cast<int>(model_.Finish()));
}

void OperationRun::Cancel() {
  const size_t i = ChooseSession("cancel wait of");
  model_.Begin(i);
  bool cancelled = false;
  On([&] { cancelled = sessions_[i]->CancelWait(); });
  Expect("cancelled", cancelled, model_.Cancel());
}

void OperationRun::EndSession() {
  const size_t i = ChooseSession("end session");
  model_.Begin(i);
  On([&] {
    sessions_[i] = nullptr;
    sessions_[i] = std::make_unique<SessionBuffers>(*allocator_);
  });
  model_.End();
}

}  // namespace tandem
