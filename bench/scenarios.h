#ifndef TANDEM_BENCH_SCENARIOS_H_
#define TANDEM_BENCH_SCENARIOS_H_

#include "tandem/pool/snapshot.h"

namespace tandem::bench {

// Registers every scenario, for Tandem and for its peers.
void RegisterTandem();
void RegisterPeers();

// The pool that most scenarios use.
PoolSnapshot TandemNow();

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_SCENARIOS_H_
