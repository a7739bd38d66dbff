#include "tandem/tests/fuzz/pool_operations.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/log/check.h"
#include "absl/strings/str_cat.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/fuzz/model_sessions.h"
#include "tandem/tests/fuzz/operation_run.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

constexpr size_t kCompanions = 3;
constexpr size_t kMaxOperations = 400;
// The most that ReleaseMany gives back at a time.
constexpr size_t kPiece = 128;

// The threads beside the calling one, which stay from one input to the next.
Companion& CompanionAt(size_t i, bool end) {
  static auto& companions =
      *new std::array<std::unique_ptr<Companion>, kCompanions>;
  if (end) companions[i] = nullptr;
  if (companions[i] == nullptr) companions[i] = std::make_unique<Companion>();
  return *companions[i];
}

std::unique_ptr<SessionAllocator> NewAllocator(BufferPool& pool,
                                               const SessionOptions& options) {
  auto allocator = SessionAllocator::Create(&pool, options);
  CHECK_OK(allocator.status());
  return *std::move(allocator);
}

}  // namespace

OperationRun::OperationRun(std::span<const uint8_t> input)
    : in_(input),
      setup_(in_),
      rules_(setup_.Rules()),
      pool_(NewPool(setup_.pool)),
      allocator_(NewAllocator(*pool_, setup_.sessions)),
      model_(rules_, static_cast<size_t>(allocator_->pair()), kSessions) {
  for (size_t i = 0; i < kSessions; ++i) {
    contexts_[i] = {this, i};
    sessions_[i] = std::make_unique<SessionBuffers>(*allocator_);
  }
}

std::string OperationRun::Run() {
  for (size_t i = 0; i < kMaxOperations && Ok() && !in_.done(); ++i) {
    absl::StrAppend(&history_, "\n  [", thread_, "] ");
    model_.Begin(ModelSessions::kNobody);
    Step();
    CheckWakes();
    CheckSessions();
    if (i % 8 == 7) CheckAtRest();
  }
  CheckAtRest();
  if (Ok()) {
    absl::StrAppend(&history_, "\n  all ends");
    EndAll();
    Expect("snapshot.in_use", pool_->Snapshot().in_use, 0u);
    Expect("snapshot.waiting", pool_->Snapshot().waiting, 0u);
  }
  if (Ok()) return "";
  return absl::StrCat(setup_.ToString(), history_, "\n  ^ ", failure_,
                      "\nspecification: ", model_.pool().ToString(), "\n");
}

void OperationRun::Step() {
  using Operation = void (OperationRun::*)();
  // Each is chosen as often as it stands here.
  static constexpr Operation kOperations[] = {&OperationRun::AcquireOne,
                                              &OperationRun::AcquireOne,
                                              &OperationRun::AcquireOne,
                                              &OperationRun::AcquireTwo,
                                              &OperationRun::AcquireSome,
                                              &OperationRun::AcquireSome,
                                              &OperationRun::AcquireALot,
                                              &OperationRun::ReleaseOne,
                                              &OperationRun::ReleaseOne,
                                              &OperationRun::ReleaseOne,
                                              &OperationRun::ReleaseTwo,
                                              &OperationRun::ReleaseSome,
                                              &OperationRun::ReleaseSome,
                                              &OperationRun::ReleaseALot,
                                              &OperationRun::Trim,
                                              &OperationRun::Hop,
                                              &OperationRun::Hop,
                                              &OperationRun::Hop,
                                              &OperationRun::EndThread,
                                              &OperationRun::Receive,
                                              &OperationRun::Receive,
                                              &OperationRun::ReceiveDeclared,
                                              &OperationRun::Pair,
                                              &OperationRun::Pair,
                                              &OperationRun::Pair,
                                              &OperationRun::Fill,
                                              &OperationRun::Consume,
                                              &OperationRun::ReleaseSession,
                                              &OperationRun::ReleaseSession,
                                              &OperationRun::Finish,
                                              &OperationRun::Cancel,
                                              &OperationRun::EndSession};
  (this->*in_.OneOf(kOperations))();
}

void OperationRun::On(std::function<void()> work) {
  if (thread_ == 0) {
    work();
  } else {
    CompanionAt(thread_ - 1, false).Run(std::move(work));
  }
}

void OperationRun::EndAll() {
  model_.Begin(ModelSessions::kNobody);
  for (auto& session : sessions_) session = nullptr;
  pool_->ReleaseMany(std::exchange(held_, {}));
}

void OperationRun::AcquireMany(size_t n) {
  absl::StrAppend(&history_, "acquire ", n);
  std::vector<std::byte*> got(n, nullptr);
  bool granted = true;
  On([&] {
    if (n == 1) {
      got[0] = pool_->Acquire();
      granted = got[0] != nullptr;
    } else if (n == 2) {
      granted = pool_->AcquirePair(std::span<std::byte*, 2>(got));
    } else {
      granted = pool_->AcquireMany(got);
    }
  });
  Expect("granted", granted, model_.Acquire(n));
  if (granted) held_.insert(held_.end(), got.begin(), got.end());
}

void OperationRun::ReleaseMany(size_t n) {
  n = std::min(n, held_.size());
  absl::StrAppend(&history_, "release ", n);
  // Takes the first or the last of the taken buffers.
  if (in_.Flag()) {
    std::rotate(held_.begin(), held_.begin() + static_cast<ptrdiff_t>(n),
                held_.end());
  }
  const std::vector<std::byte*> out(held_.end() - static_cast<ptrdiff_t>(n),
                                    held_.end());
  held_.resize(held_.size() - n);
  On([&] {
    if (n == 1) {
      pool_->Release(out[0]);
    } else if (n == 2) {
      pool_->ReleasePair(std::span<std::byte* const, 2>(out));
    } else {
      pool_->ReleaseMany(out);
    }
  });
  for (size_t done = 0; done < n; done += kPiece) {
    model_.Release(std::min(n - done, kPiece));
  }
}

void OperationRun::Trim() {
  absl::StrAppend(&history_, "trim");
  On([&] { CHECK_OK(pool_->Trim().status()); });
}

void OperationRun::Hop() {
  thread_ = in_.Below(kCompanions + 1);
  absl::StrAppend(&history_, "go on on thread ", thread_);
}

void OperationRun::EndThread() {
  const size_t i = in_.Below(kCompanions);
  absl::StrAppend(&history_, "thread ", i + 1, " ends");
  CompanionAt(i, true);
}

std::string RunOperations(std::span<const uint8_t> input) {
  return OperationRun(input).Run();
}

}  // namespace tandem
