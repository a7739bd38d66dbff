#include "tandem/tests/fuzz/pool_operations.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/log/check.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/fuzz/byte_reader.h"
#include "tandem/tests/fuzz/model_sessions.h"
#include "tandem/tests/fuzz/pool_setup.h"
#include "tandem/tests/pool/testing.h"
#include "tandem/tests/spec/sequential_pool.h"

namespace tandem {
namespace {

constexpr size_t kSessions = 8;
constexpr size_t kCompanions = 3;
constexpr size_t kMaxOperations = 400;
// Most that ReleaseMany gives back at a time.
constexpr size_t kPiece = 128;

// The threads beside the calling one, which stay from one input to the next.
Companion& CompanionAt(size_t i, bool end) {
  static auto& companions =
      *new std::array<std::unique_ptr<Companion>, kCompanions>;
  if (end) companions[i] = nullptr;
  if (companions[i] == nullptr) companions[i] = std::make_unique<Companion>();
  return *companions[i];
}

std::string_view NameOf(Allocation result) {
  constexpr std::string_view kNames[] = {"granted", "exhausted", "waiting",
                                         "overloaded"};
  return kNames[static_cast<size_t>(result)];
}

class OperationRun {
 public:
  explicit OperationRun(std::span<const uint8_t> input)
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
  ~OperationRun() { EndAll(); }

  std::string Run() {
    for (size_t i = 0; i < kMaxOperations && Ok() && !in_.done(); ++i) {
      absl::StrAppend(&history_, "\n  [", thread_, "] ");
      model_.Begin(ModelSessions::kNobody);
      (this->*in_.OneOf(kOperations))();
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

 private:
  using Operation = void (OperationRun::*)();

  struct Context {
    OperationRun* run;
    size_t session;
  };

  static std::unique_ptr<SessionAllocator> NewAllocator(
      BufferPool& pool, const SessionOptions& options) {
    auto allocator = SessionAllocator::Create(&pool, options);
    CHECK_OK(allocator.status());
    return *std::move(allocator);
  }

  bool Ok() const { return failure_.empty(); }
  template <class T>
  void Expect(std::string_view what, const T& real, const T& expected) {
    if (real == expected || !Ok()) return;
    failure_ = absl::StrCat(what, " is ", real, ", should be ", expected);
  }

  // Does `work` on the current thread.
  void On(std::function<void()> work) {
    if (thread_ == 0) {
      work();
    } else {
      CompanionAt(thread_ - 1, false).Run(std::move(work));
    }
  }

  void EndAll() {
    model_.Begin(ModelSessions::kNobody);
    for (auto& session : sessions_) session = nullptr;
    pool_->ReleaseMany(std::exchange(held_, {}));
  }

  // -- Raw operations, and threads.

  void AcquireOne() { AcquireMany(1); }
  void AcquireTwo() { AcquireMany(2); }
  void AcquireSome() { AcquireMany(in_.Below(12)); }
  void AcquireALot() { AcquireMany(in_.Next() * size_t{2}); }
  void AcquireMany(size_t n) {
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

  void ReleaseOne() { ReleaseMany(1); }
  void ReleaseTwo() { ReleaseMany(2); }
  void ReleaseSome() { ReleaseMany(in_.Below(12)); }
  void ReleaseALot() { ReleaseMany(in_.Next() * size_t{2}); }
  void ReleaseMany(size_t n) {
    n = std::min(n, held_.size());
    absl::StrAppend(&history_, "release ", n);
    // The first or the last that were taken.
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

  void Trim() {
    absl::StrAppend(&history_, "trim");
    On([&] { CHECK_OK(pool_->Trim().status()); });
  }

  void Hop() {
    thread_ = in_.Below(kCompanions + 1);
    absl::StrAppend(&history_, "go on on thread ", thread_);
  }

  void EndThread() {
    const size_t i = in_.Below(kCompanions);
    absl::StrAppend(&history_, "thread ", i + 1, " ends");
    CompanionAt(i, true);
  }

  // -- Operations of a session.

  size_t ChooseSession(std::string_view operation) {
    const size_t i = in_.Below(kSessions);
    absl::StrAppend(&history_, operation, " ", i);
    return i;
  }
  Side ChooseSide() {
    const auto side = static_cast<Side>(in_.Below(2));
    absl::StrAppend(&history_,
                    side == Side::kRequest ? " request" : " response");
    return side;
  }

  // Begins an operation that may wait. True if it does: then with `waker`.
  bool BeginWait(size_t session, Waker& waker) {
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

  static void Wake(void* context) noexcept {
    const auto& [run, session] = *static_cast<Context*>(context);
    run->wakes_.push_back(session);
    if (run->model_.ReturnsWhenWoken(session)) {
      const WaitStatus status = run->sessions_[session]->FinishWait();
      run->Expect("status", static_cast<int>(status),
                  static_cast<int>(WaitStatus::kGranted));
      run->sessions_[session]->ReleaseBuffers();
    }
  }

  void ExpectResult(Allocation result, Allocation expected) {
    absl::StrAppend(&history_, ": ", NameOf(result));
    Expect("result", NameOf(result), NameOf(expected));
  }

  void Receive() { Receive(allocator_->receive(), "receive"); }
  void ReceiveDeclared() {
    const auto id = allocator_->FindClass("declared");
    if (id.ok()) Receive(*id, "allocate as declared");
  }
  void Receive(ClassId id, std::string_view name) {
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

  void Pair() {
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

  void Fill() {
    const size_t i = ChooseSession("fill");
    const Side side = ChooseSide();
    const size_t n = 1 + in_.Below(64);
    absl::StrAppend(&history_, " with ", n);
    ModelSessions::SideState& state = model_.side(i, side);
    RingBuffer& ring = sessions_[i]->ring(side);
    for (size_t done = 0; done < n && ring.space() > 0; ++done) {
      const auto byte = static_cast<std::byte>(state.next + state.bytes++);
      CHECK_EQ(ring.Write({&byte, 1}), 1u);
    }
  }

  void Consume() {
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

  void ReleaseSession() {
    const size_t i = ChooseSession("release buffers of");
    model_.Begin(i);
    On([&] { sessions_[i]->ReleaseBuffers(); });
    model_.ReleaseBuffers();
  }

  void Finish() {
    const size_t i = ChooseSession("finish wait of");
    model_.Begin(i);
    auto status = WaitStatus::kNone;
    On([&] { status = sessions_[i]->FinishWait(); });
    Expect("status", static_cast<int>(status),
           static_cast<int>(model_.Finish()));
  }

  void Cancel() {
    const size_t i = ChooseSession("cancel wait of");
    model_.Begin(i);
    bool cancelled = false;
    On([&] { cancelled = sessions_[i]->CancelWait(); });
    Expect("cancelled", cancelled, model_.Cancel());
  }

  void EndSession() {
    const size_t i = ChooseSession("end session");
    model_.Begin(i);
    On([&] {
      sessions_[i] = nullptr;
      sessions_[i] = std::make_unique<SessionBuffers>(*allocator_);
    });
    model_.End();
  }

  // As often as they stand here.
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

  // -- Comparison.

  void CheckWakes() {
    Expect("sessions woken", absl::StrJoin(std::exchange(wakes_, {}), " "),
           absl::StrJoin(model_.TakeWakes(), " "));
  }

  void CheckSessions() {
    for (size_t i = 0; i < kSessions; ++i) {
      for (const Side side : kSides) {
        const ModelSessions::SideState& state = model_.side(i, side);
        Expect("session has a buffer", sessions_[i]->has_buffer(side),
               state.has_buffer);
        Expect("size of ring", sessions_[i]->ring(side).size(), state.bytes);
      }
    }
  }

  void CheckAtRest() {
    const SessionSnapshot snapshot = allocator_->Snapshot();
    const PoolSnapshot& pool = snapshot.pool;
    const SequentialPool& spec = model_.pool();
    Expect("snapshot.in_use", pool.in_use, pool.capacity - spec.free());
    Expect("snapshot.waiting", size_t{pool.waiting}, spec.waiting());
    Expect("snapshot.shortages", pool.shortages, 0u);
    uint64_t in_core_pools = pool.cold.buffers;
    for (const auto& core : pool.cores) in_core_pools += core.buffers;
    Expect("buffers in core pools", in_core_pools, uint64_t{pool.available});
    Expect("caches hold buffers under pressure",
           pool.pressed && pool.cached != 0, false);
    for (size_t id = 0; id < snapshot.classes.size(); ++id) {
      const WaitClassSnapshot& of_class = snapshot.classes[id];
      const ModelSessions::Counts& counts = model_.counts(id);
      Expect("waiting in a class", size_t{of_class.waiting}, spec.waiting(id));
      Expect("waits of a class", of_class.waits, counts.waits);
      Expect("cancels of a class", of_class.cancels, counts.cancels);
      Expect("grants of a class", of_class.grants,
             counts.waits - counts.cancels - spec.waiting(id));
    }
    CheckDistinct();
  }

  void CheckDistinct() {
    std::vector<bool> seen(pool_->capacity());
    const auto see = [&](BufferIndex index) {
      Expect<bool>("handed out twice", seen[static_cast<size_t>(index)], false);
      seen[static_cast<size_t>(index)] = true;
    };
    for (const std::byte* buffer : held_) see(pool_->IndexOf(buffer));
    for (const auto& session : sessions_) {
      for (const Side side : kSides) {
        if (session->has_buffer(side)) see(session->buffer(side).index());
      }
    }
  }

  ByteReader in_;
  const PoolSetup setup_;
  const SequentialPool::Rules rules_;
  const std::unique_ptr<BufferPool> pool_;
  const std::unique_ptr<SessionAllocator> allocator_;
  ModelSessions model_;
  std::array<std::unique_ptr<SessionBuffers>, kSessions> sessions_;
  std::array<Context, kSessions> contexts_;
  std::vector<std::byte*> held_;
  std::vector<size_t> wakes_;
  size_t thread_ = 0;
  std::string history_;
  std::string failure_;
};

}  // namespace

std::string RunOperations(std::span<const uint8_t> input) {
  return OperationRun(input).Run();
}

}  // namespace tandem
