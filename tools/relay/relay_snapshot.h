#ifndef TANDEM_TOOLS_RELAY_RELAY_SNAPSHOT_H_
#define TANDEM_TOOLS_RELAY_RELAY_SNAPSHOT_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "tandem/session/session_allocator.h"

namespace tandem {

// A statistic that one thread writes and any thread reads: a load and a store,
// no read-modify-write.
class ThreadCounter {
 public:
  // relaxed, all: a statistic, which orders nothing.
  void Add(uint64_t n) {
    value_.store(value_.load(std::memory_order::relaxed) + n,
                 std::memory_order::relaxed);
  }
  void Set(uint64_t n) { value_.store(n, std::memory_order::relaxed); }
  operator uint64_t() const {  // NOLINT: a number that changes
    return value_.load(std::memory_order::relaxed);
  }

 private:
  std::atomic<uint64_t> value_{0};
};

// The statistics of one event loop since its start.
template <class Number>
struct RelayNumbers {
  Number accepted{};          // connections, refused ones included
  Number refused{};           // reset: too many wait for buffers (S7)
  Number finished{};          // sessions that ended, for any reason
  Number connect_failures{};  // of those, without a backend
  Number resets{};            // of those, by a peer's reset
  Number idle_timeouts{};     // of those, by the idle timeout
  Number bytes_to_backend{};
  Number bytes_to_client{};
  Number retries{};        // of running sessions, when too many wait
  Number accept_pauses{};  // without file descriptors or memory
  Number kept_buffers{};   // now: with data that a slow peer has not taken yet

  // Sessions that are open now.
  uint64_t open() const {
    const uint64_t gone = finished + refused;
    return accepted > gone ? accepted - gone : 0;
  }

  // Calls f(number, other's number) for each number.
  template <class Other, class F>
  void ForEach(const Other& other, F f) {
    f(accepted, other.accepted);
    f(refused, other.refused);
    f(finished, other.finished);
    f(connect_failures, other.connect_failures);
    f(resets, other.resets);
    f(idle_timeouts, other.idle_timeouts);
    f(bytes_to_backend, other.bytes_to_backend);
    f(bytes_to_client, other.bytes_to_client);
    f(retries, other.retries);
    f(accept_pauses, other.accept_pauses);
    f(kept_buffers, other.kept_buffers);
  }
};

// Written only by its loop's thread, on its own cache lines.
struct alignas(64) RelayCounters : RelayNumbers<ThreadCounter> {};

// A relay's state in one pass. Each number was true at some moment of the call.
struct RelaySnapshot {
  std::vector<RelayNumbers<uint64_t>> threads;
  RelayNumbers<uint64_t> total;
  // The pool, by core and by thread; and the waits of each class ("complete",
  // "pair" and "receive"): their number, total time, and a histogram.
  SessionSnapshot sessions;
};

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_RELAY_SNAPSHOT_H_
