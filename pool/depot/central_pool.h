#ifndef TANDEM_POOL_DEPOT_CENTRAL_POOL_H_
#define TANDEM_POOL_DEPOT_CENTRAL_POOL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/buffer_map.h"
#include "tandem/pool/depot/depot.h"
#include "tandem/pool/depot/ledger.h"
#include "tandem/pool/depot/waiter_service.h"
#include "tandem/pool/types.h"

namespace tandem {

// The terms of an allocation.
struct AllocationTerms {
  uint32_t keep;     // buffers that must remain afterwards
  ClassId class_id;  // its turn among waiting sessions
};

// The buffers that are in no cache and in nobody's hands; the ledger, which
// counts those of them that are not reserved; and the sessions that wait for
// them.
//
// The order of ledger and depot: a releasing thread pushes the buffers first
// and credits them after; an allocating thread reserves first and collects
// after. A thread that credits buffers then serves waiting sessions.
//
// Threads: any, signal handlers included. Progress: lock-free.
template <class Platform>
class CentralPool {
 public:
  using Link = typename Depot<Platform>::Link;
  using Box = typename Depot<Platform>::Box;
  using Spares = typename Depot<Platform>::Spares;

  // All must outlive this object, as Depot says. All buffers are free.
  CentralPool(const BufferMap& map, std::span<DepotShard<Platform>> cores,
              std::span<Link> links, std::span<Box> magazines, uint32_t reserve)
      : reserve_(reserve), map_(map), depot_(map, cores, links, magazines) {
    ledger_.Credit(map.capacity());
  }

  // The service to ask about waiting sessions; null for none. Must not be
  // called while operations run.
  void SetWaiterService(WaiterService* waiter_service) {
    waiter_service_ = waiter_service;
  }
  bool HasWaiterService() const { return waiter_service_ != nullptr; }

  // Pushes the buffers on the depot shard of the caller's core, credits them,
  // and serves waiting sessions. Requires a non-empty span. `spares`, here and
  // below, are those of the calling thread's cache, or null.
  [[gnu::noinline]] void Publish(std::span<std::byte* const> buffers,
                                 Spares* spares = nullptr) {
    depot_.Push(depot_.CurrentCore(), buffers, spares);
    CreditAndServe(Size(buffers));
  }
  void PublishCold(std::span<std::byte* const> buffers) {
    depot_.PushCold(buffers);
    CreditAndServe(Size(buffers));
  }

  // Reserves n free buffers without touching the reserve, if there are enough
  // and no waiting session goes before this allocation; and as many more as
  // `surplus(view, most)` wants, at most `most`. Returns the sum, 0 if none.
  template <class Surplus>
  [[nodiscard]] uint32_t ReserveFree(uint32_t n, AllocationTerms terms,
                                     Surplus surplus) {
    const uint32_t keep = std::max(terms.keep, reserve_);
    LedgerView view = ledger_.Load();
    uint32_t count;
    do {
      if (view.available() < n + keep) return 0;
      if (view.waiting() != 0 && waiter_service_->MustWait(terms.class_id))
        return 0;
      count = n + surplus(view, view.available() - n - keep);
    } while (!ledger_.TryReserve(view, count));
    if (view.waiting() != 0) waiter_service_->Overtook(terms.class_id);
    return count;
  }
  [[nodiscard]] bool ReserveFree(uint32_t n, AllocationTerms terms) {
    return ReserveFree(n, terms, [](LedgerView, uint32_t) { return 0u; }) != 0;
  }

  // The same for a caller that has raised a shortage and emptied every cache:
  // this is its last look, and may dig into the reserve.
  [[nodiscard]] bool ReserveSwept(uint32_t n, AllocationTerms terms) {
    bool served = false;
    LedgerView view = ledger_.Load();
    for (;;) {
      if (view.waiting() != 0 && waiter_service_->MustWait(terms.class_id)) {
        // What is left may be owed to a waiting session that no thread is
        // serving: a releasing thread may have stopped between its credit and
        // its call of Serve.
        if (served) return false;
        served = true;
        waiter_service_->Serve();
        view = ledger_.Load();
        continue;
      }
      if (view.available() < n + terms.keep) return false;
      if (ledger_.TryReserve(view, n)) break;
    }
    if (view.waiting() != 0) waiter_service_->Overtook(terms.class_id);
    return true;
  }

  // Gives up a reservation of which nothing has been collected.
  void CancelReservation(uint32_t count) { CreditAndServe(count); }

  // True if a session waits that goes before an allocation of this class.
  bool MustWait(ClassId id) const {
    return ledger_.Load().waiting() != 0 && waiter_service_->MustWait(id);
  }

  // Fetches buffers that have been reserved, in one call or in several.
  void Collect(std::span<std::byte*> out, Spares* spares = nullptr) {
    depot_.Collect(depot_.CurrentCore(), out, spares);
  }

  // Takes out.size() buffers for a session that waits already. All caches are
  // empty, unless another thread has served that session meanwhile; then the
  // caller must return the buffers.
  [[nodiscard]] bool TakeForWaiter(std::span<std::byte*> out, uint32_t keep) {
    LedgerView view = ledger_.Load();
    do {
      if (view.available() < Size(out) + keep) return false;
    } while (!ledger_.TryReserve(view, Size(out)));
    Collect(out, nullptr);
    return true;
  }

  // Takes up to out.size() idle buffers whose memory may be in use, none of
  // them needed now: for giving memory back. PublishCold returns them.
  [[nodiscard]] size_t TakeWarm(std::span<std::byte*> out) {
    LedgerView view = ledger_.Load();
    uint32_t count;
    do {
      if (view.Pressed(reserve_)) return 0;
      count = std::min(Size(out), view.available() - reserve_);
      if (count == 0) return 0;
    } while (!ledger_.TryReserve(view, count));
    const size_t warm =
        depot_.PopWarm(depot_.CurrentCore(), out.first(count), nullptr);
    if (warm < count) CreditAndServe(count - static_cast<uint32_t>(warm));
    return warm;
  }

  // An allocation is short, a session waits, or the reserve is touched: threads
  // bypass the caches, and no cache becomes biased.
  bool Pressed() const { return ledger_.Load().Pressed(reserve_); }

  uint32_t reserve() const { return reserve_; }
  const BufferMap& map() const { return map_; }
  Ledger<Platform>& ledger() { return ledger_; }
  const Ledger<Platform>& ledger() const { return ledger_; }
  Depot<Platform>& central() { return depot_; }
  const Depot<Platform>& central() const { return depot_; }

 private:
  static uint32_t Size(std::span<std::byte* const> buffers) {
    return static_cast<uint32_t>(buffers.size());
  }

  void CreditAndServe(uint32_t count) {
    if (ledger_.Credit(count).waiting() != 0) waiter_service_->Serve();
  }

  const uint32_t reserve_;
  const BufferMap& map_;
  WaiterService* waiter_service_ = nullptr;
  Ledger<Platform> ledger_;
  Depot<Platform> depot_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_DEPOT_CENTRAL_POOL_H_
