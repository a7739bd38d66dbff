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

// How an allocation ended.
enum class [[nodiscard]] Allocation{
    kGranted,     // the buffers are in the session
    kExhausted,   // they could not be had, and the caller did not ask to wait
    kWaiting,     // subscribed: the waker will be called
    kOverloaded,  // could not be had, and too many wait already (S7)
};

struct SessionOptions {
  // Sessions that may wait at once: 1 to 1,048,575 (kMaxWaiting). Completes
  // find room beyond it, as each holds a buffer that the others wait for.
  uint32_t max_waiters = 4096;
  // How often waiters of one class may be overtaken by later allocations of
  // classes that go first, complete apart, until those wait behind it: 1 to
  // 1,000,000. Operations under way at that moment may add one each.
  uint32_t max_overtakes = 64;
  // Classes beside complete, pair and receive: up to five.
  std::vector<WaitClass> classes = {};
};

// One class's waits (P8).
struct WaitClassSnapshot {
  std::string name;
  uint64_t waiting = 0;     // now, about
  uint64_t waits = 0;       // since creation: subscribed,
  uint64_t grants = 0;      // served,
  uint64_t cancels = 0;     // left
  uint64_t wait_nanos = 0;  // of those served, in sum
  // Bucket i counts waits below 2^i microseconds; the last is open.
  std::array<uint64_t, kWaitBuckets> buckets = {};
};

struct SessionSnapshot {
  PoolSnapshot pool;
  std::vector<WaitClassSnapshot> classes;  // in order of rank
};

// The session layer of one pool: classes, and everybody who waits. Sessions
// (SessionBuffers) allocate through it.
//
// Threads:  all functions but Create and destruction, any thread.
// Memory:   allocated at creation: 136 bytes for each buffer of the pool and
//           for each of max_waiters, 2 KiB for each core, and 34 KiB.
// Lifetime: one at a time for a pool, which must outlive it; it must outlive
//           its sessions, and aborts if some wait. Nobody uses the pool while
//           it is created or destroyed; a thread that has used the pool does by
//           ending.
class SessionAllocator {
 public:
  // FailedPrecondition if the pool has a session layer. InvalidArgument names
  // the option, its value and what is allowed: among others, a class whose need
  // + keep exceeds the pool's capacity would wait for ever, and that includes
  // receive, which needs 1 and keeps the reserve, and pair, which needs 2.
  // ResourceExhausted if there is no memory; nothing throws.
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
  // Any class, by name. NotFound names those there are.
  absl::StatusOr<ClassId> FindClass(std::string_view name) const;

  // One buffer, without a session, of a class that needs one; null if it can't
  // be had now. BufferPool::Release takes it back. As with AllocateBufferAs,
  // pair aborts, and complete is for who holds a buffer that others wait for.
  [[nodiscard]] std::byte* Acquire(ClassId id) noexcept;

  // Sessions that wait now, never fewer than really do: one load.
  uint32_t waiting() const { return door_.waits().waiting(); }

  SessionSnapshot Snapshot() const;

 private:
  friend class SessionBuffers;
  friend class SpareBuffers;

  using Queue = WaiterQueue<StdPlatform>;
  using TicketWord = Queue::TicketWord;

  // A class, built in or declared.
  struct RankedClass {
    std::string name;
    int rank;
    Queue::ClassRule rule;
  };

  SessionAllocator(BufferPool* pool, const SessionOptions& options,
                   std::vector<RankedClass> classes);

  // bad_alloc if there is no memory.
  static absl::StatusOr<std::unique_ptr<SessionAllocator>> CreateOrThrow(
      BufferPool* pool, const SessionOptions& options);
  // The built-in and the declared classes in order of rank, or what is wrong.
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

  // Aborts if this is no class, or one that needs two.
  void CheckNeedsOne(ClassId id) const;

  // Takes a class's need into `out`, all or none.
  bool Take(ClassId id, std::span<std::byte*> out) {
    return door_.Take(out, queue_.ClaimOf(id));
  }

  // Take; if it can't be met, waits, and sets `ticket` before.
  Allocation TakeOrWait(ClassId id, std::span<std::byte*> out, Waker waker,
                        TicketWord& ticket);

  // Takes all of `out` for SpareBuffers, as a receive does, but only where
  // nobody waits, enough is free, and nothing has to be searched.
  bool TakeSpares(std::span<std::byte*> out) noexcept;

  static std::vector<Queue::ClassRule> RulesOf(
      const std::vector<RankedClass>& classes);
  ClassId IdOfRank(int rank) const;

  // First, and never written: what a session's fast path reads of it.
  BufferPool::SessionDoor door_;
  const std::vector<RankedClass> classes_;  // in order of rank
  const ClassId complete_;
  const ClassId pair_;
  const ClassId receive_;
  std::vector<Queue::Records::Record> records_;
  std::vector<Queue::Records::Link> links_;
  std::vector<Queue::Records::Spare> spares_;  // for each core
  std::vector<CoreWaits<StdPlatform>> counts_;
  Queue queue_;
};

}  // namespace tandem

#endif  // TANDEM_SESSION_SESSION_ALLOCATOR_H_
