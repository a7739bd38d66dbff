#ifndef TANDEM_TESTS_FUZZ_POOL_OPERATIONS_H_
#define TANDEM_TESTS_FUZZ_POOL_OPERATIONS_H_

#include <cstdint>
#include <span>
#include <string>

namespace tandem {

// Creates a pool and runs operations on it, all encoded by `input`: raw
// acquisitions and releases; sessions that receive, take pairs, wait, are
// served, cancel and end; Trim. Four threads do this in turn, each with a cache
// of its own; a thread may end. One operation runs at a time, so SequentialPool
// gives the exact result of each (P3), the order of wake-ups (S4, S8), and the
// counts of a snapshot.
//
// Returns the history up to the first difference; empty if there is none. Any
// bytes are a valid input.
std::string RunOperations(std::span<const uint8_t> input);

}  // namespace tandem

#endif  // TANDEM_TESTS_FUZZ_POOL_OPERATIONS_H_
