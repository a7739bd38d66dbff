#ifndef TANDEM_TESTS_FUZZ_POOL_OPERATIONS_H_
#define TANDEM_TESTS_FUZZ_POOL_OPERATIONS_H_

#include <cstdint>
#include <span>
#include <string>

namespace tandem {

// Makes a pool and runs operations on it, all of which `input` encodes: raw
// acquisitions and releases, sessions that receive, pair, wait, are served,
// leave and go, Trim, and all that on four threads in turn, each with a cache
// of its own, which may end. One operation at a time, so that SequentialPool
// says exactly what each comes to (P3), who is woken in which order (S4, S8),
// and what a snapshot counts.
//
// Returns the history up to the first thing that was not as said; empty if
// there is none. Any bytes are a valid input.
std::string RunOperations(std::span<const uint8_t> input);

}  // namespace tandem

#endif  // TANDEM_TESTS_FUZZ_POOL_OPERATIONS_H_
