#ifndef TANDEM_POOL_DEPOT_LEDGER_H_
#define TANDEM_POOL_DEPOT_LEDGER_H_

#include <cstdint>

#include "tandem/pool/types.h"

namespace tandem {

// One reading of the ledger: who is short of buffers, and how many are left.
struct LedgerView {
  // Buffers that nobody has reserved, in no thread's cache.
  uint32_t available() const { return word & kIndexMask; }
  // Sessions that wait or are about to. Never less than really wait; more for
  // as long as somebody who serves or cancels a waiter is between two steps.
  uint32_t waiting() const { return (word >> kWaitingShift) & kCountMask; }
  // Allocations about to fail, to wait or to dig into the reserve.
  uint32_t shortages() const { return word >> kShortagesShift; }

  // Pressure: caches are bypassed, and what lies in them is wanted.
  bool Pressed(uint32_t reserve) const {
    return word >> kWaitingShift != 0 || available() < reserve;
  }

  static constexpr int kWaitingShift = kIndexBits;
  static constexpr int kShortagesShift = kIndexBits + 20;
  static constexpr uint32_t kCountMask = (1u << 20) - 1;

  uint64_t word = 0;
};

// Most sessions that can wait at once, and most threads that can be short.
inline constexpr uint32_t kMaxWaiting = LedgerView::kCountMask;

// The shared word that counts unreserved buffers, and with them everything that
// decides whether one may be taken: {shortages 20, waiting 20, available 24}.
//
// Because it is one word, "no buffer is left" and "nobody waits" are seen at
// the same moment, a reservation is refused if a waiter came meanwhile, and all
// reservations, waits and releases of a pool have one order.
//
// The rule that makes reservations mean something: who releases pushes the
// buffers on a core pool first and credits them after; who takes reserves
// first and collects after. So the core pools always hold at least `available`
// buffers plus those that are reserved and not collected yet.
//
// Threads:  any, signal handlers included. Progress: lock-free.
// Orders:   seq_cst throughout (the default): the word is one side of every
//           store-then-load argument of the pool (see ThreadCache), and no
//           operation on it is on the fast path but Load.
template <class Platform>
class Ledger {
 public:
  Ledger() : word_(0) {}

  LedgerView Load() const { return {word_.load()}; }

  // Takes n buffers off if the ledger still reads `view`; else renews `view`.
  // Requires n <= view.available().
  [[nodiscard]] bool TryReserve(LedgerView& view, uint32_t n) {
    return word_.compare_exchange_weak(view.word, view.word - n);
  }

  // Counts n buffers that have been pushed. Returns the new reading, from
  // which the caller learns whether to serve waiters.
  LedgerView Credit(uint32_t n) { return {word_.fetch_add(n) + n}; }

  // Returns the reading before.
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

  // Counts one more who waits, if anyone does, unless `limit` do.
  [[nodiscard]] bool TryJoinWait(uint32_t limit) {
    LedgerView view = Load();
    do {
      if (view.waiting() == 0 || view.waiting() >= limit) return false;
    } while (!word_.compare_exchange_weak(view.word, view.word + kOneWaiting));
    return true;
  }

  // To be called after a waiter has been served or has left, once for each.
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
