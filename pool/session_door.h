#ifndef TANDEM_POOL_SESSION_DOOR_H_
#define TANDEM_POOL_SESSION_DOOR_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/buffer_pool.h"
#include "tandem/pool/depot/waiter_service.h"
#include "tandem/pool/misuse_check.h"
#include "tandem/pool/platform.h"
#include "tandem/pool/wait_door.h"

namespace tandem {

// All that a session layer asks of a pool: two classes, and a WaiterService
// through which the pool asks back (waiter_service.h). An allocation goes down
// once, by Take or TakeCheaply and what WaitDoor has for those who may wait; a
// grant comes up once, by WaitDoor::TakeForWaiter. What buffers are then handed
// out belongs to a session, and comes back by TakeBack.
//
// Threads:  any, as the pool. Nothing throws.
// Cost:     none of its own: everything is inlined into the caller or is the
//           pool's own function.
// Lifetime: the pool's.
class BufferPool::SessionDoor {
 public:
  using Waits = WaitDoor<StdPlatform>;
  using Cache = Waits::Cache;

  explicit SessionDoor(BufferPool& pool) : pool_(pool), waits_(pool.core_) {}

  BufferPool& pool() const { return pool_; }
  // Who waits, with whose help: for the queue of waiters.
  Waits& waits() { return waits_; }
  const Waits& waits() const { return waits_; }
  // The calling thread's cache, for `waits`; null to go past it.
  Cache* cache() { return pool_.ThisThreadCache(); }

  // --- Taking. All or none; what is taken has to be handed out.

  // As LockFreePool::Take, and as LockFreePool::TakeCheaply.
  [[nodiscard]] bool Take(std::span<std::byte*> out, AllocationTerms claim) {
    return pool_.Take(out, claim);
  }
  [[nodiscard]] bool TakeCheaply(std::span<std::byte*> out,
                                 AllocationTerms claim) {
    return pool_.TakeCheaply(out, claim);
  }

  // --- Handing out, and taking back.

  void HandOut(std::span<std::byte* const> buffers, Holder to) {
    pool_.HandOut(buffers, to, __builtin_return_address(0));
  }
  void TakeBack(std::span<std::byte* const> buffers) {
    pool_.misuse_check_.MarkIdle(buffers, Holder::kSession);
    pool_.TakeBack(buffers, Holder::kSession, __builtin_return_address(0));
  }
  // A buffer passes between a session and a user. Aborts if it is none of the
  // pool's or, where there is a misuse check, not in the hands of `from`.
  void Pass(std::byte* buffer, Holder from, Holder to) {
    pool_.misuse_check_.Pass(buffer, from, to);
  }

  // --- The fast path of both, inlined: through the calling thread's cache.

  // Takes and hands out to a session; false, and nothing done, if the cache
  // does not serve. What a cache holds anyone may take who keeps no more than
  // the reserve.
  [[nodiscard, gnu::always_inline]] bool HandOutFast(
      std::span<std::byte*> out) {
    if (!pool_.core_.TakeBiased(pool_.FastCache(), out, kAnyBuffer)) {
      return false;
    }
    pool_.misuse_check_.MarkTaken(out, Holder::kSession);
    return true;
  }
  // Takes back from a session, whatever way that goes.
  template <size_t kCount>
  [[gnu::always_inline]] void TakeBackFast(
      std::span<std::byte* const, kCount> buffers) {
    pool_.misuse_check_.MarkIdle(buffers, Holder::kSession);
    if (!pool_.core_.GiveBiased(pool_.FastCache(), buffers)) [[unlikely]] {
      // By value, so that the caller's array need not be in memory.
      TakeBackSlow(buffers.front(), kCount == 2 ? buffers.back() : nullptr);
    }
  }

 private:
  [[gnu::noinline]] void TakeBackSlow(std::byte* first, std::byte* second) {
    const std::array<std::byte*, 2> buffers = {first, second};
    pool_.TakeBack(std::span(buffers).first(second == nullptr ? 1 : 2),
                   Holder::kSession, __builtin_return_address(0));
  }

  BufferPool& pool_;
  Waits waits_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_SESSION_DOOR_H_
