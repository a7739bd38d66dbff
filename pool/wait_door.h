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

// What a queue of waiters asks of the pool: to be counted in the ledger as
// waiting, buffers for who is first, and one word that stands for them.
//
//   an allocation            Shortage ── Take fails ──▶ TryBecomeWait ┐
//   of which others wait     MustWait ──▶ TryJoinWait ────────────────┤ waits
//   who serves               TakeForWaiter ─▶ granted: EndWait        │
//                                          └▶ it was over: GiveUp     │
//   who leaves               EndWait ◀────────────────────────────────┘
//
// Each wait that was begun is ended once. While any is, there is pressure and
// no buffer lies in a cache: whoever began the first of them had emptied all,
// and pressure has been on since. So who joins those that wait already need not
// look there (section 7 of docs/design.md).
//
// Threads: any, signal handlers included. Progress: lock-free.
template <class Platform>
class WaitDoor {
 public:
  using Core = LockFreePool<Platform>;
  using Cache = typename Core::Cache;
  using Shortage = typename Core::Shortage;

  explicit WaitDoor(Core& core) : core_(core) {}

  // Whom the pool asks about those who wait, null for nobody. Not while
  // operations run.
  void SetWaiterService(WaiterService* waiter_service) {
    core_.central().SetWaiterService(waiter_service);
  }
  bool HasWaiterService() const { return core_.central().HasWaiterService(); }

  // Sessions that wait now, never fewer than really do: one load.
  uint32_t waiting() const { return core_.central().ledger().Load().waiting(); }

  // True if nobody waits or is short, and n buffers lie free in no cache: one
  // load.
  bool HasToSpare(uint32_t n) const {
    return !core_.central().ledger().Load().Pressed(n);
  }

  // True if others wait, one of whom goes before an allocation of this rank.
  bool MustWait(Rank rank) const { return core_.central().MustWait(rank); }

  // Counts the caller among those who wait, if any does and fewer than `limit`
  // do. Shortage::TryBecomeWait does so where nobody waits.
  [[nodiscard]] bool TryJoinWait(uint32_t limit) {
    return core_.central().ledger().TryJoinWait(limit);
  }

  // Ends one wait that was begun: it was granted, or has left.
  void EndWait() { core_.central().ledger().EndWait(); }

  // Says that the caller is short of buffers: raises pressure, takes by all
  // means, becomes a wait.
  Core& core() { return core_; }

  // Takes out.size() buffers for who waits, if that many and `keep` are free.
  [[nodiscard]] bool TakeForWaiter(std::span<std::byte*> out, uint32_t keep) {
    return core_.central().TakeForWaiter(out, keep);
  }
  // Gives up buffers whose waiter did not want them any more.
  void GiveUp(std::span<std::byte* const> buffers) {
    core_.central().Publish(buffers);
  }

  // One or two buffers as one number, until their owner gives either away; and
  // back, for who the number was handed to. out.size() as it was.
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

  // How many cores the pool's shared lists are sharded for.
  size_t cores() const { return core_.central().central().cores().size(); }

 private:
  Core& core_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_WAIT_DOOR_H_
