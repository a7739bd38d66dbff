#ifndef TANDEM_POOL_DEPOT_WAITER_SERVICE_H_
#define TANDEM_POOL_DEPOT_WAITER_SERVICE_H_

#include "tandem/pool/types.h"

namespace tandem {

// What the pool asks about the sessions that wait for its buffers; the session
// layer implements it. Called only while the ledger counts waiters, so never on
// the fast path. Every function is lock-free and async-signal-safe.
class WaiterService {
 public:
  // True if an allocation of this class that starts now must wait its turn.
  virtual bool MustWait(ClassId id) = 0;

  // An allocation of this class has succeeded while sessions waited.
  virtual void Overtook(ClassId id) = 0;

  // Serves waiters in order until the ledger runs out. A thread that credits
  // buffers while the ledger counts waiters must call this afterwards.
  virtual void Serve() = 0;

 protected:
  ~WaiterService() = default;
};

}  // namespace tandem

#endif  // TANDEM_POOL_DEPOT_WAITER_SERVICE_H_
