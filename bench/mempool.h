#ifndef TANDEM_BENCH_MEMPOOL_H_
#define TANDEM_BENCH_MEMPOOL_H_

#include <string>
#include <vector>

namespace tandem::bench {

// DPDK's rte_mempool, the pool for packets: a cache for each thread in front of
// a lock-free ring, with ordinary pages and no device. It checks nothing, and
// does not find what lies in another thread's cache.

// Registers it. If DPDK was not installed at build time, or does not start
// here, `missing` gets a line that says so.
void RegisterMempool(std::vector<std::string>& missing);

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_MEMPOOL_H_
