#ifndef TANDEM_METRICS_FIELDS_H_
#define TANDEM_METRICS_FIELDS_H_

#if __cplusplus < 202002L
#error "Tandem needs C++20: compile with -std=c++20"
#endif

#include <cstdint>
#include <string_view>

#include "tandem/pool/snapshot.h"
#include "tandem/session/session_allocator.h"

namespace tandem {

// One number of `Struct`, with the name that every output uses: Prometheus
// (metrics/prometheus.h; with a prefix, and with the suffix "_total" if the
// number only grows), JSON and plain text (metrics/snapshot_text.h).
template <class Struct>
struct Field {
  std::string_view name;
  bool grows;  // grows since creation; else it is a current value
  uint64_t (*of)(const Struct& from);
  std::string_view help;
};

// A field that is a member: Now<&Struct::member>("name", "Help."), or Since for
// a member that only grows.
template <auto member>
struct MemberField {
  template <class Struct, class Value>
  static Struct StructOf(Value Struct::*);
  using Struct = decltype(StructOf(member));
  static constexpr uint64_t Get(const Struct& from) { return from.*member; }
};
template <auto member>
constexpr auto Now(std::string_view name, std::string_view help) {
  using Member = MemberField<member>;
  return Field<typename Member::Struct>{name, false, Member::Get, help};
}
template <auto member>
constexpr auto Since(std::string_view name, std::string_view help) {
  using Member = MemberField<member>;
  return Field<typename Member::Struct>{name, true, Member::Get, help};
}

inline constexpr Field<PoolSnapshot> kPoolFields[] = {
    Now<&PoolSnapshot::capacity>("capacity", "All buffers."),
    Now<&PoolSnapshot::reserve>(
        "reserve", "Buffers that only a pair allocation may take."),
    Now<&PoolSnapshot::available>(
        "available", "Buffers in the shared free lists, not reserved."),
    Now<&PoolSnapshot::cached>("cached", "Buffers in all threads' caches."),
    Now<&PoolSnapshot::in_use>("in_use",
                               "Buffers with users, or on their way."),
    Now<&PoolSnapshot::waiting>("waiting", "Sessions that wait for buffers."),
    Now<&PoolSnapshot::shortages>("short_allocations",
                                  "Allocations that are short of buffers."),
    Now<&PoolSnapshot::pressed>("pressed", "1: thread caches are bypassed."),
    Now<&PoolSnapshot::biased>("biased", "1: thread caches may be biased."),
    Now<&PoolSnapshot::cache_limit>("cache_limit_max",
                                    "Most buffers that one thread may cache."),
    Now<&PoolSnapshot::cache_budget>(
        "cache_budget", "Most buffers that all threads together may cache."),
    Now<&PoolSnapshot::cache_granted>(
        "cache_granted", "What the limits of all caches add up to."),
    Since<&PoolSnapshot::barriers>("barriers",
                                   "System calls made to take bias away."),
    Since<&PoolSnapshot::refusals>("refusals",
                                   "Barriers that the system refused."),
};

// One depot shard.
inline constexpr Field<PoolSnapshot::Core> kCoreFields[] = {
    Now<&PoolSnapshot::Core::buffers>("buffers", "Buffers in a free list."),
    Since<&PoolSnapshot::Core::changes>(
        "changes", "Batches that came to or left a free list."),
};

// One thread cache; growing numbers cover all threads that have owned it.
inline constexpr Field<PoolSnapshot::Thread> kCacheFields[] = {
    Now<&PoolSnapshot::Thread::owned>("owned", "1: a living thread has it."),
    Now<&PoolSnapshot::Thread::cached>("cached", "Buffers in the cache."),
    Now<&PoolSnapshot::Thread::limit>("limit", "Most that it may hold now."),
    Now<&PoolSnapshot::Thread::biased>("biased",
                                       "1: its owner uses it without atomics."),
    Since<&PoolSnapshot::Thread::refills>("refills",
                                          "Batches fetched for the cache."),
    Since<&PoolSnapshot::Thread::refilled>(
        "refilled", "Buffers that refills put into the cache."),
    Since<&PoolSnapshot::Thread::flushes>("flushes",
                                          "Batches returned from the cache."),
    Since<&PoolSnapshot::Thread::flushed>(
        "flushed", "Buffers that flushes took out of the cache."),
    Since<&PoolSnapshot::Thread::bypasses>(
        "bypasses", "Releases that went past the cache."),
    Since<&PoolSnapshot::Thread::retreats>(
        "retreats", "Times that the owner emptied the cache under pressure."),
    Since<&PoolSnapshot::Thread::steals>(
        "steals", "Batches taken out of other threads' caches."),
    Since<&PoolSnapshot::Thread::reclaims>(
        "reclaims", "Idle caches whose limit was taken for the pool."),
    Since<&PoolSnapshot::Thread::shortages>(
        "shortages", "Allocations that had to search all caches."),
    Since<&PoolSnapshot::Thread::failures>(
        "failures", "Allocations that found too few buffers."),
    Since<&PoolSnapshot::Thread::biases>("biases",
                                         "Times that the cache became biased."),
    Since<&PoolSnapshot::Thread::revocations>(
        "revocations", "Times that the owner found the bias taken."),
};

// One wait class; the histogram of wait times and its sum are output
// separately.
inline constexpr Field<WaitClassSnapshot> kClassFields[] = {
    Now<&WaitClassSnapshot::waiting>("waiting",
                                     "Sessions of a class that wait."),
    Since<&WaitClassSnapshot::waits>("waits", "Waits that began."),
    Since<&WaitClassSnapshot::grants>("grants", "Waits that were served."),
    Since<&WaitClassSnapshot::cancels>("cancels",
                                       "Waits that the session left."),
};

}  // namespace tandem

#endif  // TANDEM_METRICS_FIELDS_H_
