#ifndef TANDEM_POOL_DEPOT_H_
#define TANDEM_POOL_DEPOT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/buffer_map.h"
#include "tandem/pool/core_pools.h"
#include "tandem/pool/ledger.h"
#include "tandem/pool/types.h"
#include "tandem/pool/waitlist.h"

namespace tandem {

// What an allocation may take.
struct Claim {
  uint32_t keep;  // buffers that must remain after it
  Rank rank;      // its turn among those who wait
};

// The buffers that are in no cache and in nobody's hands, with the ledger that
// counts those of them that nobody has reserved, and those who wait for them.
//
// Ledger before lists: who publishes pushes first and credits after; who takes
// reserves first and collects after. Who credits offers to serve who waits.
//
// Threads: any, signal handlers included. Progress: lock-free.
template <class Platform>
class Depot {
 public:
  using Link = typename CorePools<Platform>::Link;
  using Box = typename CorePools<Platform>::Box;
  using Spares = typename CorePools<Platform>::Spares;

  // All must outlive the depot, as CorePools says. All buffers are free.
  Depot(const BufferMap& map, std::span<CorePool<Platform>> cores,
        std::span<Link> links, std::span<Box> magazines, uint32_t reserve)
      : reserve_(reserve),
        map_(map),
        core_pools_(map, cores, links, magazines) {
    ledger_.Credit(map.capacity());
  }

  // Whom to ask about waiters, null for nobody. Not while operations run.
  void SetWaitlist(Waitlist* waitlist) { waitlist_ = waitlist; }
  bool HasWaitlist() const { return waitlist_ != nullptr; }

  // Onto the caller's core pool, counted, and on to who waits. Requires a
  // non-empty span. `spares`, here and below, are those of the calling thread's
  // cache, or null.
  [[gnu::noinline]] void Publish(std::span<std::byte* const> buffers,
                                 Spares* spares = nullptr) {
    core_pools_.Push(core_pools_.CurrentCore(), buffers, spares);
    CreditAndServe(Size(buffers));
  }
  void PublishCold(std::span<std::byte* const> buffers) {
    core_pools_.PushCold(buffers);
    CreditAndServe(Size(buffers));
  }

  // Reserves n buffers that are free without touching the reserve, if there are
  // as many and it is `claim`'s turn, and what `surplus(view, most)` wants in
  // addition, at most `most`. Returns how many in all, 0 if none.
  template <class Surplus>
  [[nodiscard]] uint32_t ReserveFree(uint32_t n, Claim claim, Surplus surplus) {
    const uint32_t keep = std::max(claim.keep, reserve_);
    LedgerView view = ledger_.Load();
    uint32_t count;
    do {
      if (view.available() < n + keep) return 0;
      if (view.waiting() != 0 && waitlist_->MustWait(claim.rank)) return 0;
      count = n + surplus(view, view.available() - n - keep);
    } while (!ledger_.TryReserve(view, count));
    if (view.waiting() != 0) waitlist_->Overtook(claim.rank);
    return count;
  }
  [[nodiscard]] bool ReserveFree(uint32_t n, Claim claim) {
    return ReserveFree(n, claim, [](LedgerView, uint32_t) { return 0u; }) != 0;
  }

  // The same for who has raised a shortage and emptied every cache: this is the
  // last look, and may dig into the reserve.
  [[nodiscard]] bool ReserveSwept(uint32_t n, Claim claim) {
    bool served = false;
    LedgerView view = ledger_.Load();
    for (;;) {
      if (view.waiting() != 0 && waitlist_->MustWait(claim.rank)) {
        // What is left may be owed to somebody whom nobody is serving: a
        // releaser may have stopped between its credit and its call.
        if (served) return false;
        served = true;
        waitlist_->Serve();
        view = ledger_.Load();
        continue;
      }
      if (view.available() < n + claim.keep) return false;
      if (ledger_.TryReserve(view, n)) break;
    }
    if (view.waiting() != 0) waitlist_->Overtook(claim.rank);
    return true;
  }

  // Gives up a reservation of which nothing has been collected.
  void CancelReservation(uint32_t count) { CreditAndServe(count); }

  // True if somebody waits who goes before an allocation of this rank.
  bool MustWait(Rank rank) const {
    return ledger_.Load().waiting() != 0 && waitlist_->MustWait(rank);
  }

  // Fetches buffers that have been reserved, in as many pieces as the caller
  // likes.
  void Collect(std::span<std::byte*> out, Spares* spares = nullptr) {
    core_pools_.Collect(core_pools_.CurrentCore(), out, spares);
  }

  // Takes out.size() buffers for who waits already: all caches are empty,
  // unless somebody else has served that waiter meanwhile; then they must come
  // back.
  [[nodiscard]] bool TakeForWaiter(std::span<std::byte*> out, uint32_t keep) {
    LedgerView view = ledger_.Load();
    do {
      if (view.available() < Size(out) + keep) return false;
    } while (!ledger_.TryReserve(view, Size(out)));
    Collect(out, nullptr);
    return true;
  }

  // Takes up to out.size() idle buffers whose memory may be in use, none that
  // anyone needs now: for giving memory back. PublishCold returns them.
  [[nodiscard]] size_t TakeWarm(std::span<std::byte*> out) {
    LedgerView view = ledger_.Load();
    uint32_t count;
    do {
      if (view.Pressed(reserve_)) return 0;
      count = std::min(Size(out), view.available() - reserve_);
      if (count == 0) return 0;
    } while (!ledger_.TryReserve(view, count));
    const size_t warm = core_pools_.PopWarm(core_pools_.CurrentCore(),
                                            out.first(count), nullptr);
    if (warm < count) CreditAndServe(count - static_cast<uint32_t>(warm));
    return warm;
  }

  // Somebody is short of buffers: caches are bypassed, and not biased anew.
  bool Pressed() const { return ledger_.Load().Pressed(reserve_); }

  uint32_t reserve() const { return reserve_; }
  const BufferMap& map() const { return map_; }
  Ledger<Platform>& ledger() { return ledger_; }
  const Ledger<Platform>& ledger() const { return ledger_; }
  CorePools<Platform>& core_pools() { return core_pools_; }
  const CorePools<Platform>& core_pools() const { return core_pools_; }

 private:
  static uint32_t Size(std::span<std::byte* const> buffers) {
    return static_cast<uint32_t>(buffers.size());
  }

  void CreditAndServe(uint32_t count) {
    if (ledger_.Credit(count).waiting() != 0) waitlist_->Serve();
  }

  const uint32_t reserve_;
  const BufferMap& map_;
  Waitlist* waitlist_ = nullptr;
  Ledger<Platform> ledger_;
  CorePools<Platform> core_pools_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_DEPOT_H_
