#ifndef TANDEM_BENCH_BLOCKED_THREADS_H_
#define TANDEM_BENCH_BLOCKED_THREADS_H_

namespace tandem::bench {

// Measures 8 and 16 threads that share 8 buffers and block until they have a
// pair, and prints a table: what a pair costs, in processor time of the user's
// part and of the kernel's, and in switches between threads. Beside the fair
// list.
void MeasureBlockedThreads();

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_BLOCKED_THREADS_H_
