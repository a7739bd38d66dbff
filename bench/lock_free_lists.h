#ifndef TANDEM_BENCH_LOCK_FREE_LISTS_H_
#define TANDEM_BENCH_LOCK_FREE_LISTS_H_

#include <string>
#include <vector>

namespace tandem::bench {

// Free lists made of other projects' lock-free containers, which are what a
// user would try first: boost::lockfree::stack and moodycamel::ConcurrentQueue.
// All threads share one container of addresses. It keeps nothing for a thread,
// so no buffer is out of reach; and it checks nothing.

// Registers those that were there when this was built. For each that was not,
// `missing` gets a line that says where it comes from.
void RegisterLockFreeLists(std::vector<std::string>& missing);

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_LOCK_FREE_LISTS_H_
