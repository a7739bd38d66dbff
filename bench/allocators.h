#ifndef TANDEM_BENCH_ALLOCATORS_H_
#define TANDEM_BENCH_ALLOCATORS_H_

#include <string>
#include <vector>

namespace tandem::bench {

// General allocators beside glibc's: tcmalloc, jemalloc and mimalloc. They are
// loaded while the program runs, each for its own benchmarks alone, so nothing
// but these depends on them, and they need not be there to build.

// Starts the program anew, with the same arguments, if it has too little room
// for the thread-local variables of libraries that are loaded later: jemalloc
// wants more than is left by default, and glibc takes the figure from the
// environment, at the start alone. To be called first.
void MakeRoomForAllocators(char** argv);

// Registers those that are installed. For each that is not, `missing` gets a
// line that says where it comes from.
void RegisterAllocators(std::vector<std::string>& missing);

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_ALLOCATORS_H_
