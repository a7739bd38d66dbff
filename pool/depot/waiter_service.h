#ifndef TANDEM_POOL_DEPOT_WAITER_SERVICE_H_
#define TANDEM_POOL_DEPOT_WAITER_SERVICE_H_

#include <cstdint>

namespace tandem {

// Who is served first: smaller ranks before larger.
enum class Rank : uint8_t {};

// What the pool must know of those who wait for its buffers, implemented by the
// session layer. Called only while the ledger counts waiters, so never on the
// fast path. Every function is lock-free and async-signal-safe.
class WaiterService {
 public:
  // True if an allocation of this rank that starts now has to wait its turn.
  virtual bool MustWait(Rank rank) = 0;

  // An allocation of this rank has been met while others waited.
  virtual void Overtook(Rank rank) = 0;

  // Hands what the ledger has to who waits, as far as it goes. Whoever credits
  // buffers while the ledger counts waiters calls this after.
  virtual void Serve() = 0;

 protected:
  ~WaiterService() = default;
};

}  // namespace tandem

#endif  // TANDEM_POOL_DEPOT_WAITER_SERVICE_H_
