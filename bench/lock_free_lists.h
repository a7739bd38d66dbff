#ifndef TANDEM_BENCH_LOCK_FREE_LISTS_H_
#define TANDEM_BENCH_LOCK_FREE_LISTS_H_

#include <string>
#include <vector>

namespace tandem::bench {

// Free lists made of other projects' lock-free containers, which a user would
// try first: boost::lockfree::stack and moodycamel::ConcurrentQueue. All
// threads share one container of addresses. It keeps nothing for a thread, so
// no buffer is out of reach. It checks nothing.

// Registers the containers that were installed at build time. For each of the
// others, `missing` gets a line that says where it comes from.
void RegisterLockFreeLists(std::vector<std::string>& missing);

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_LOCK_FREE_LISTS_H_
