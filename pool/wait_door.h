#ifndef TANDEM_POOL_WAIT_DOOR_H_
#define TANDEM_POOL_WAIT_DOOR_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/depot/central_pool.h"
#include "tandem/pool/depot/waiter_service.h"
#include "tandem/pool/lock_free_pool.h"
#include "tandem/pool/types.h"

namespace tandem {

// The interface of the pool for a queue of waiting sessions: a count in the
// ledger, buffers for the first in the queue, and one number that stands for
// them.
//
//   an allocation            Shortage ── Take fails ──▶ TryBecomeWait ┐
//   one behind waiters       MustWait ──▶ TryJoinWait ────────────────┤ waits
//   a serving thread         TakeForWaiter ─▶ granted: EndWait        │
//                                          └▶ it was over: GiveUp     │
//   a leaving session        EndWait ◀────────────────────────────────┘
//
// Each wait must be ended exactly once. While there is a wait, there is
// pressure and no buffer lies in a cache: the first of the waits began after a
// sweep of all caches, and pressure has been on since. So a session that joins
// a wait need not search the caches (section 7 of docs/design.md).
//
// Threads: any, signal handlers included. Progress: lock-free.
template <class Platform>
class WaitDoor {
 public:
  using Core = LockFreePool<Platform>;
  using Cache = typename Core::Cache;
  using Shortage = typename Core::Shortage;

  explicit WaitDoor(Core& core) : core_(core) {}

  // The service that the pool calls about waiting sessions; null for none. Must
  // not be called while operations run.
  void SetWaiterService(WaiterService* waiter_service) {
    core_.central().SetWaiterService(waiter_service);
  }
  bool HasWaiterService() const { return core_.central().HasWaiterService(); }

  // Sessions that wait now, or more, never fewer: one load.
  uint32_t waiting() const { return core_.central().ledger().Load().waiting(); }

  // True if no session waits, no allocation is short, and n buffers lie free
  // outside the caches: one load.
  bool HasToSpare(uint32_t n) const {
    return !core_.central().ledger().Load().Pressed(n);
  }

  // True if a buffer is left that no operation has reserved: one load.
  bool HasFree() const {
    return core_.central().ledger().Load().available() != 0;
  }

  // True if a session waits that goes before an allocation of this class.
  bool MustWait(ClassId id) const { return core_.central().MustWait(id); }

  // Counts the caller as waiting, if any session waits and fewer than `limit`
  // do. If none waits, use Shortage::TryBecomeWait.
  [[nodiscard]] bool TryJoinWait(uint32_t limit) {
    return core_.central().ledger().TryJoinWait(limit);
  }

  // Ends one wait: it has been granted, or its session has left.
  void EndWait() { core_.central().ledger().EndWait(); }

  // For a Shortage, which raises pressure, takes by all means, and can become a
  // wait.
  Core& core() { return core_; }

  // Takes out.size() buffers for a waiting session, if that many and `keep`
  // more are free.
  [[nodiscard]] bool TakeForWaiter(std::span<std::byte*> out, uint32_t keep) {
    return core_.central().TakeForWaiter(out, keep);
  }
  // Gives up buffers whose waiting session no longer wants them.
  void GiveUp(std::span<std::byte* const> buffers) {
    core_.central().Publish(buffers);
  }

  // Pack makes one number of one or two buffers; it is valid until their owner
  // gives either away. Unpack turns it back, for the receiver of the number;
  // out.size() must be the same.
  BufferIndex Pack(std::span<std::byte* const> buffers) {
    if (buffers.size() == 2) {
      core_.central().central().Chain(buffers[0], buffers[1]);
    }
    return core_.central().map().IndexOf(buffers[0]);
  }
  void Unpack(BufferIndex number, std::span<std::byte*> out) const {
    out[0] = core_.central().map().Address(number);
    if (out.size() == 2) out[1] = core_.central().central().ChainedTo(out[0]);
  }

  // How many shards the depot has.
  size_t cores() const { return core_.central().central().cores().size(); }

 private:
  Core& core_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_WAIT_DOOR_H_
