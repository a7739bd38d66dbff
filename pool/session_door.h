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

// The interface of the pool for session layers: two classes, and a
// WaiterService that the pool calls back (waiter_service.h). An allocation
// enters the pool once, by Take or TakeCheaply, or by WaitDoor's functions if
// it may wait; a grant comes back once, by WaitDoor::TakeForWaiter. Buffers
// that are then handed out belong to a session, and come back by TakeBack.
//
// Threads:  any, as for the pool. Nothing throws.
// Cost:     none of its own: every function is inlined into the caller or is
//           the pool's own function.
// Lifetime: that of the pool.
class BufferPool::SessionDoor {
 public:
  using Waits = WaitDoor<StdPlatform>;
  using Cache = Waits::Cache;

  explicit SessionDoor(BufferPool& pool) : pool_(pool), waits_(pool.core_) {}

  BufferPool& pool() const { return pool_; }
  // For the queue of waiting sessions.
  Waits& waits() { return waits_; }
  const Waits& waits() const { return waits_; }
  // The calling thread's cache, for `waits`; null if the thread must go past
  // it.
  Cache* cache() { return pool_.ThisThreadCache(); }

  // --- Taking: all or none. The caller must hand out what it takes.

  // As LockFreePool::Take and LockFreePool::TakeCheaply.
  [[nodiscard]] bool Take(std::span<std::byte*> out, AllocationTerms terms) {
    return pool_.Take(out, terms);
  }
  [[nodiscard]] bool TakeCheaply(std::span<std::byte*> out,
                                 AllocationTerms terms) {
    return pool_.TakeCheaply(out, terms);
  }

  // --- Handing out, and taking back.

  void HandOut(std::span<std::byte* const> buffers, Holder to) {
    pool_.HandOut(buffers, to, __builtin_return_address(0));
  }
  void TakeBack(std::span<std::byte* const> buffers) {
    pool_.misuse_check_.MarkIdle(buffers, Holder::kSession);
    pool_.TakeBack(buffers, Holder::kSession, __builtin_return_address(0));
  }
  // Passes a buffer between a session and a user. Aborts if it is not a buffer
  // of the pool or, if there is a misuse check, is not in the hands of `from`.
  void Pass(std::byte* buffer, Holder from, Holder to) {
    pool_.misuse_check_.Pass(buffer, from, to);
  }
  // The kernel uses a buffer from Lend to Return: see MisuseCheck.
  void Lend(std::byte* buffer) { pool_.misuse_check_.Lend(buffer); }
  void Return(std::byte* buffer) { pool_.misuse_check_.Return(buffer); }

  // --- The fast path of both, inlined: through the calling thread's cache. A
  // session keeps the pool's address beside its buffers, and needs no door.

  // Takes buffers and hands them out to a session; false, with no effect, if
  // the cache cannot serve. Every allocation that keeps no more than the
  // reserve may take what a cache holds.
  [[nodiscard, gnu::always_inline]] static bool HandOutFast(
      BufferPool& pool, std::span<std::byte*> out) {
    if (!pool.core_.TakeBiased(pool.FastCache(), out, kAnyBuffer)) {
      return false;
    }
    pool.misuse_check_.MarkTaken(out, Holder::kSession);
    return true;
  }
  // Takes back from a session, by the fast path or the slow one.
  template <size_t kCount>
  [[gnu::always_inline]] static void TakeBackFast(
      BufferPool& pool, std::span<std::byte* const, kCount> buffers) {
    pool.misuse_check_.MarkIdle(buffers, Holder::kSession);
    if (!pool.core_.GiveBiased(pool.FastCache(), buffers)) [[unlikely]] {
      // By value, so that the caller's array can stay in registers.
      TakeBackSlow(pool, buffers.front(),
                   kCount == 2 ? buffers.back() : nullptr);
    }
  }

 private:
  [[gnu::noinline]] static void TakeBackSlow(BufferPool& pool, std::byte* first,
                                             std::byte* second) {
    const std::array<std::byte*, 2> buffers = {first, second};
    pool.TakeBack(std::span(buffers).first(second == nullptr ? 1 : 2),
                  Holder::kSession, __builtin_return_address(0));
  }

  BufferPool& pool_;
  Waits waits_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_SESSION_DOOR_H_
