#ifndef TANDEM_BENCH_SCENARIOS_H_
#define TANDEM_BENCH_SCENARIOS_H_

namespace tandem::bench {

// Every scenario with Tandem, and with those it is measured against.
void RegisterTandem();
void RegisterPeers();

// Whether thread caches are used without read-modify-writes here (rseq).
bool TandemIsBiased();

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_SCENARIOS_H_
