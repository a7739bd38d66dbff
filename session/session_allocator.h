#ifndef TANDEM_SESSION_SESSION_ALLOCATOR_H_
#define TANDEM_SESSION_SESSION_ALLOCATOR_H_

#if __cplusplus < 202002L
#error "Tandem needs C++20: compile with -std=c++20"
#endif

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/pool/platform.h"
#include "tandem/pool/session_door.h"
#include "tandem/pool/snapshot.h"
#include "tandem/pool/types.h"
#include "tandem/session/wait_class.h"
#include "tandem/session/wait_counters.h"
#include "tandem/session/waiter_queue.h"
#include "tandem/session/waker.h"

namespace tandem {

// The result of an allocation.
enum class [[nodiscard]] Allocation{
    kGranted,     // the buffers are in the session
    kExhausted,   // not available, and the caller passed no waker
    kWaiting,     // subscribed: the waker will be called
    kOverloaded,  // not available, and too many sessions wait already (S7)
};

struct SessionOptions {
  // Sessions that may wait at once: 1 to 1,048,575 (kMaxWaiting). Complete
  // waits are not subject to it, because each holds a buffer that others wait
  // for.
  uint32_t max_waiters = 4096;
  // How often later allocations of classes with a smaller rank (except
  // complete) may overtake a waiting class before they must wait behind it: 1
  // to 1,000,000. Each operation in progress at that moment may add one.
  uint32_t max_overtakes = 64;
  // Classes in addition to complete, pair and receive: up to five.
  std::vector<WaitClass> classes = {};
};

// The waits of one class (P8).
struct WaitClassSnapshot {
  std::string name;
  uint64_t waiting = 0;     // now, approximate
  uint64_t waits = 0;       // subscribed, since creation
  uint64_t grants = 0;      // served
  uint64_t cancels = 0;     // cancelled
  uint64_t wait_nanos = 0;  // sum over served waits
  // Bucket i counts waits below 2^i microseconds; the last bucket is unbounded.
  std::array<uint64_t, kWaitBuckets> buckets = {};
};

struct SessionSnapshot {
  PoolSnapshot pool;
  std::vector<WaitClassSnapshot> classes;  // in order of rank
};

// The session layer of one pool: the classes and the waiting sessions. Sessions
// (SessionBuffers) allocate through it.
//
// Threads:  all functions except Create and the destructor: any thread.
// Memory:   allocated at creation: 136 bytes for each buffer of the pool and
//           for each of max_waiters, 2 KiB for each core, and 34 KiB.
// Lifetime: at most one for a pool at a time. The pool must outlive it, and it
//           must outlive its sessions; the destructor aborts if sessions wait.
//           No thread may use the pool during creation or destruction. A
//           thread's exit counts as use.
class SessionAllocator {
 public:
  // FailedPrecondition if the pool already has a session layer. InvalidArgument
  // names the option, its value and the allowed range. One such error is a
  // class whose need + keep exceeds the pool's capacity, because it would wait
  // forever; this includes receive, which needs 1 and keeps the reserve, and
  // pair, which needs 2. ResourceExhausted if there is no memory. Nothing
  // throws.
  static absl::StatusOr<std::unique_ptr<SessionAllocator>> Create(
      BufferPool* pool, const SessionOptions& options = {}) noexcept;

  ~SessionAllocator();
  SessionAllocator(const SessionAllocator&) = delete;
  SessionAllocator& operator=(const SessionAllocator&) = delete;

  BufferPool& pool() { return door_.pool(); }
  const BufferPool& pool() const { return door_.pool(); }

  // The built-in classes.
  ClassId complete() const { return complete_; }
  ClassId pair() const { return pair_; }
  ClassId receive() const { return receive_; }
  // Returns the class with this name. NotFound lists the existing names.
  absl::StatusOr<ClassId> FindClass(std::string_view name) const;

  // Takes one buffer without a session, in a class that needs one; null if none
  // is available now. BufferPool::Release takes it back. As with
  // AllocateBufferAs, pair aborts, and complete is for callers that hold a
  // buffer that others wait for.
  [[nodiscard]] std::byte* Acquire(ClassId id) noexcept;

  // Sessions that wait now; never less than the real number. One load.
  uint32_t waiting() const { return door_.waits().waiting(); }

  SessionSnapshot Snapshot() const;

 private:
  friend class SessionBuffers;
  friend class SpareBuffers;

  using Queue = WaiterQueue<StdPlatform>;
  using TicketWord = Queue::TicketWord;

  // A built-in or declared class.
  struct RankedClass {
    std::string name;
    int rank;
    Queue::ClassRule rule;
  };

  SessionAllocator(BufferPool* pool, const SessionOptions& options,
                   std::vector<RankedClass> classes);

  // Throws bad_alloc if there is no memory.
  static absl::StatusOr<std::unique_ptr<SessionAllocator>> CreateOrThrow(
      BufferPool* pool, const SessionOptions& options);
  // Returns the built-in and declared classes in order of rank, or an error.
  static absl::StatusOr<std::vector<RankedClass>> RankClasses(
      const BufferPool& pool, const SessionOptions& options);

  static Allocation AllocationOf(Queue::Joined joined) {
    switch (joined) {
      case Queue::Joined::kTaken:
        return Allocation::kGranted;
      case Queue::Joined::kWaiting:
        return Allocation::kWaiting;
      case Queue::Joined::kOverloaded:
        break;
    }
    return Allocation::kOverloaded;
  }

  // Aborts if `id` is not a class, or is a class that needs two buffers.
  void CheckNeedsOne(ClassId id) const;

  // Takes a class's need into `out`, all or nothing.
  bool Take(ClassId id, std::span<std::byte*> out) {
    return door_.Take(out, queue_.TermsOf(id));
  }

  // As Take; if the need cannot be met, sets `ticket` and then waits.
  Allocation TakeOrWait(ClassId id, std::span<std::byte*> out, Waker waker,
                        TicketWord& ticket);

  // Takes all of `out` for SpareBuffers under the terms of a receive, but only
  // if no session waits, enough buffers are free, and no cache must be
  // searched.
  bool TakeSpares(std::span<std::byte*> out) noexcept;

  static std::vector<Queue::ClassRule> RulesOf(
      const std::vector<RankedClass>& classes);
  ClassId IdOfRank(int rank) const;

  BufferPool::SessionDoor door_;
  const std::vector<RankedClass> classes_;  // in order of rank
  const ClassId complete_;
  const ClassId pair_;
  const ClassId receive_;
  std::vector<Queue::Records::Record> records_;
  std::vector<Queue::Records::Link> links_;
  std::vector<Queue::Records::Spare> spares_;  // one for each core
  std::vector<CoreWaits<StdPlatform>> counts_;
  Queue queue_;
};

}  // namespace tandem

#endif  // TANDEM_SESSION_SESSION_ALLOCATOR_H_
