#ifndef TANDEM_BENCH_SCENARIOS_H_
#define TANDEM_BENCH_SCENARIOS_H_

#include "tandem/pool/snapshot.h"

namespace tandem::bench {

// Every scenario with Tandem, and with those it is measured against.
void RegisterTandem();
void RegisterPeers();

// The pool that most scenarios use.
PoolSnapshot TandemNow();

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_SCENARIOS_H_
