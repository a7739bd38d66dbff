#ifndef TANDEM_BENCH_PLOT_H_
#define TANDEM_BENCH_PLOT_H_

#include <ostream>

#include "tandem/bench/summary.h"

namespace tandem::bench {

// Draws, as SVG: the time of an operation by the number of threads, for Tandem
// and its peers, with a panel for each of some scenarios; and the ratios of
// DPDK's loop, with a cell for each bulk and keep. What was not measured is
// left out.
void WritePlot(const Summary& summary, std::ostream& out);

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_PLOT_H_
