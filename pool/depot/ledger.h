#ifndef TANDEM_POOL_DEPOT_LEDGER_H_
#define TANDEM_POOL_DEPOT_LEDGER_H_

#include <cstdint>

#include "tandem/pool/types.h"

namespace tandem {

// One reading of the ledger: the buffers left, and the waits and shortages.
struct LedgerView {
  // Buffers in no thread's cache that no operation has reserved.
  uint32_t available() const { return word & kIndexMask; }
  // Sessions that wait or are about to. Never too low; too high while a thread
  // that serves or cancels a waiter is between two steps.
  uint32_t waiting() const { return (word >> kWaitingShift) & kCountMask; }
  // Allocations about to fail, to wait or to dig into the reserve.
  uint32_t shortages() const { return word >> kShortagesShift; }

  // Pressure: threads bypass the caches, and the buffers in them are wanted.
  bool Pressed(uint32_t reserve) const {
    return word >> kWaitingShift != 0 || available() < reserve;
  }

  static constexpr int kWaitingShift = kIndexBits;
  static constexpr int kShortagesShift = kIndexBits + 20;
  static constexpr uint32_t kCountMask = (1u << 20) - 1;

  uint64_t word = 0;
};

// The most sessions that can wait at once, and threads that can be short.
inline constexpr uint32_t kMaxWaiting = LedgerView::kCountMask;

// The shared word that counts the unreserved buffers, and with them all that
// decides whether one may be taken: {shortages 20, waiting 20, available 24}.
//
// It is one word. So an operation sees "no buffer is left" and "no session
// waits" at the same moment, a reservation fails if a waiter came meanwhile,
// and all reservations, waits and releases of a pool have one order.
//
// The rule that gives reservations their meaning: a releasing thread pushes the
// buffers on a depot shard first and credits them after; an allocating thread
// reserves first and collects after. So the depot always holds at least
// `available` buffers plus those that are reserved and not collected yet.
//
// Threads:  any, signal handlers included. Progress: lock-free.
// Orders:   seq_cst throughout (the default): the word is one side of every
//           store-then-load argument of the pool (see ThreadCache), and of its
//           operations only Load is on the fast path.
template <class Platform>
class Ledger {
 public:
  Ledger() : word_(0) {}

  LedgerView Load() const { return {word_.load()}; }

  // Takes n buffers off if the ledger still reads `view`; otherwise updates
  // `view`. Requires n <= view.available().
  [[nodiscard]] bool TryReserve(LedgerView& view, uint32_t n) {
    return word_.compare_exchange_weak(view.word, view.word - n);
  }

  // Counts n buffers that have been pushed. Returns the new reading, which
  // tells the caller whether to serve waiters.
  LedgerView Credit(uint32_t n) { return {word_.fetch_add(n) + n}; }

  // Returns the old reading.
  LedgerView RaiseShortage() { return {word_.fetch_add(kOneShortage)}; }
  void LowerShortage() { word_.fetch_sub(kOneShortage); }

  // Turns a shortage into a wait, without a gap in the pressure, unless `limit`
  // sessions wait already.
  [[nodiscard]] bool TryBecomeWait(uint32_t limit) {
    LedgerView view = Load();
    do {
      if (view.waiting() >= limit) return false;
    } while (!word_.compare_exchange_weak(
        view.word, view.word - kOneShortage + kOneWaiting));
    return true;
  }

  // Counts one more waiting session, if any waits and fewer than `limit` do.
  [[nodiscard]] bool TryJoinWait(uint32_t limit) {
    LedgerView view = Load();
    do {
      if (view.waiting() == 0 || view.waiting() >= limit) return false;
    } while (!word_.compare_exchange_weak(view.word, view.word + kOneWaiting));
    return true;
  }

  // Must be called once for each waiter, after it has been served or has left.
  void EndWait() { word_.fetch_sub(kOneWaiting); }

 private:
  static constexpr uint64_t kOneWaiting = uint64_t{1}
                                          << LedgerView::kWaitingShift;
  static constexpr uint64_t kOneShortage = uint64_t{1}
                                           << LedgerView::kShortagesShift;

  alignas(kCacheLine) typename Platform::template Atomic<uint64_t> word_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_DEPOT_LEDGER_H_
