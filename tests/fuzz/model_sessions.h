#ifndef TANDEM_TESTS_FUZZ_MODEL_SESSIONS_H_
#define TANDEM_TESTS_FUZZ_MODEL_SESSIONS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/spec/sequential_pool.h"

namespace tandem {

// The actions of a session's waker.
enum class WakerKind {
  kNone,     // the session does not wait
  kSilent,   // no function: nobody is told
  kTells,    // is noted
  kReturns,  // is noted, and gives back what the session holds empty
};

// The buffers and waits of sessions, and the result of each operation, by the
// specification of the pool. An operation that ends serves waiters at once.
class ModelSessions {
 public:
  struct SideState {
    bool has_buffer = false;
    size_t bytes = 0;  // in its ring,
    uint8_t next = 0;  // of which the first is this, the next one more
  };
  struct Counts {
    uint64_t waits = 0;
    uint64_t cancels = 0;
  };
  // "No session": a raw operation.
  static constexpr size_t kNobody = SIZE_MAX;

  // `rules` must outlive this object.
  ModelSessions(const SequentialPool::Rules& rules, size_t pair, size_t count)
      : spec_(rules),
        pair_(pair),
        sessions_(count),
        counts_(rules.classes.size()) {}

  // Says whose operation comes next, and with which waker. Must come before the
  // real operation, because its wakers ask.
  void Begin(size_t session, WakerKind waker = WakerKind::kNone);
  // Whether the waker of `session` gives back what the session holds. It does
  // not within an operation of its own.
  bool ReturnsWhenWoken(size_t session) const {
    return sessions_[session].waker == WakerKind::kReturns &&
           session != acting_;
  }

  // Raw operations.
  bool Acquire(size_t n) {
    return n == 0 || spec_.Take(SequentialPool::kRaw, static_cast<uint32_t>(n),
                                /*keep=*/0);
  }
  void Release(size_t n) {
    spec_.Return(static_cast<uint32_t>(n));
    ServeAll();
  }

  // Operations of the session that was named to Begin.
  Allocation Receive(size_t id, Side side);
  Allocation Pair();
  void ReleaseBuffers() { Release(DropEmpty(Acting())); }
  WaitStatus Finish();
  bool Cancel();
  // Ends the session, and begins a new one with its name.
  void End();

  SideState& side(size_t session, Side side) {
    return sessions_[session].sides[static_cast<size_t>(side)];
  }
  // The sessions that have been woken since the last call, in order.
  std::vector<size_t> TakeWakes() { return std::exchange(wakes_, {}); }

  const SequentialPool& pool() const { return spec_; }
  const Counts& counts(size_t id) const { return counts_[id]; }

 private:
  struct Session {
    std::array<SideState, 2> sides;
    WaitStatus wait = WaitStatus::kNone;
    uint8_t awaited = 0;  // the sides that the wait will fill
    size_t waits_as = 0;  // in which class
    WakerKind waker = WakerKind::kNone;
  };

  Session& Acting() { return sessions_[acting_]; }
  // True if the acting session waits. Ends a wait that is over.
  bool StillWaiting();
  bool Take(size_t id, uint8_t sides);
  Allocation TakeOrWait(size_t id, uint8_t sides);
  void ServeAll();

  // Sides without a buffer, as a set: bit i is side i.
  static uint8_t Missing(const Session& session);
  static void Install(Session& session, uint8_t sides);
  // Gives up the buffers that hold no data. Returns how many.
  static size_t DropEmpty(Session& session);

  SequentialPool spec_;
  const size_t pair_;
  std::vector<Session> sessions_;
  std::vector<Counts> counts_;
  size_t acting_ = kNobody;
  size_t subscriber_ = kNobody;  // whose waker is not called
  std::vector<size_t> wakes_;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_FUZZ_MODEL_SESSIONS_H_
