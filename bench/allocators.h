#ifndef TANDEM_BENCH_ALLOCATORS_H_
#define TANDEM_BENCH_ALLOCATORS_H_

#include <string>
#include <vector>

namespace tandem::bench {

// General allocators beside glibc's: tcmalloc, jemalloc, mimalloc and oneTBB's
// scalable_malloc. They are loaded at run time, each for its own benchmarks
// only. So nothing else depends on them, and a build does not need them.

// Starts the program again, with the same arguments, if it has too little room
// for the thread-local variables of libraries that are loaded later. jemalloc
// needs more than the default leaves, and glibc reads the figure from the
// environment only at the start. Must be called first.
void MakeRoomForAllocators(char** argv);

// Registers the installed ones. For each of the others, `missing` gets a line
// that says where it comes from.
void RegisterAllocators(std::vector<std::string>& missing);

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_ALLOCATORS_H_
