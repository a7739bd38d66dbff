#ifndef TANDEM_TOOLS_RELAY_STATS_RELAY_STATUS_H_
#define TANDEM_TOOLS_RELAY_STATS_RELAY_STATUS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "tandem/pool/snapshot.h"
#include "tandem/tools/relay/relay_snapshot.h"

namespace tandem {

// What the statistics show: a snapshot, and what it is one of.
struct RelayStatus {
  std::string listen;
  std::string backend;
  uint32_t buffer_size = 0;
  uint32_t max_waiters = 0;
  bool draining = false;
  double uptime = 0;  // seconds, at the snapshot
  RelaySnapshot snapshot;
};

// A number of `Struct`: its name in /metrics (after a prefix, with "_total"
// behind it if it only grows) and in /status.json.
template <class Struct>
struct StatusField {
  std::string_view name;
  bool grows;
  uint64_t Struct::*member;
  std::string_view help;
};

using LoopNumbers = RelayNumbers<uint64_t>;

// All that an event loop counts.
inline constexpr StatusField<LoopNumbers> kLoopFields[] = {
    {"accepted", true, &LoopNumbers::accepted,
     "Connections accepted, refused ones included."},
    {"refused", true, &LoopNumbers::refused,
     "Connections reset because too many sessions wait for buffers."},
    {"finished", true, &LoopNumbers::finished,
     "Sessions that ended, whatever ended them."},
    {"connect_failures", true, &LoopNumbers::connect_failures,
     "Sessions that ended for want of a backend."},
    {"resets", true, &LoopNumbers::resets,
     "Sessions that ended by a peer's reset."},
    {"idle_timeouts", true, &LoopNumbers::idle_timeouts,
     "Sessions that ended by the idle timeout."},
    {"bytes_to_backend", true, &LoopNumbers::bytes_to_backend,
     "Bytes sent to the backend."},
    {"bytes_to_client", true, &LoopNumbers::bytes_to_client,
     "Bytes sent to clients."},
    {"retries", true, &LoopNumbers::retries,
     "Times that a session under way found no place to wait."},
    {"accept_pauses", true, &LoopNumbers::accept_pauses,
     "Pauses in accepting, for want of descriptors or memory."},
    {"kept_buffers", false, &LoopNumbers::kept_buffers,
     "Buffers with data that a slow peer has yet to take."},
};
static_assert(sizeof(kLoopFields) / sizeof(kLoopFields[0]) ==
              sizeof(LoopNumbers) / sizeof(uint64_t));

// What a thread's cache counts, for all threads that had it.
inline constexpr StatusField<PoolSnapshot::Thread> kCacheFields[] = {
    {"takes", true, &PoolSnapshot::Thread::takes,
     "Buffers taken out of the cache."},
    {"gives", true, &PoolSnapshot::Thread::gives,
     "Buffers put into the cache."},
    {"refills", true, &PoolSnapshot::Thread::refills,
     "Batches fetched for the cache."},
    {"flushes", true, &PoolSnapshot::Thread::flushes,
     "Batches returned from the cache."},
    {"bypasses", true, &PoolSnapshot::Thread::bypasses,
     "Releases that went past the cache."},
    {"retreats", true, &PoolSnapshot::Thread::retreats,
     "Times that the owner emptied the cache under pressure."},
    {"steals", true, &PoolSnapshot::Thread::steals,
     "Batches taken out of other threads' caches."},
    {"reclaims", true, &PoolSnapshot::Thread::reclaims,
     "Idle caches whose limit was taken for the pool."},
    {"shortages", true, &PoolSnapshot::Thread::shortages,
     "Allocations that had to search all caches."},
    {"failures", true, &PoolSnapshot::Thread::failures,
     "Allocations that found too few buffers."},
    {"biases", true, &PoolSnapshot::Thread::biases,
     "Times that the cache became biased."},
    {"revocations", true, &PoolSnapshot::Thread::revocations,
     "Times that the owner found the bias taken."},
};

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_STATS_RELAY_STATUS_H_
