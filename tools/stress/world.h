#ifndef TANDEM_TOOLS_STRESS_WORLD_H_
#define TANDEM_TOOLS_STRESS_WORLD_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/pool/options.h"
#include "tandem/session/event_notifier.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tools/stress/invariants.h"

namespace tandem::stress {

struct Options {
  int seconds;
  uint32_t threads;
  uint32_t capacity;
  std::optional<Bias> bias;  // unset: the seed decides
  uint64_t seed;
};

// A stream of decisions: splitmix64.
class Decisions {
 public:
  explicit Decisions(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
  }
  // 0 to n - 1.
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(Next() % n); }
  bool OneIn(uint32_t n) { return Below(n) == 0; }

 private:
  uint64_t state_;
};

struct Inbox;
struct World;

// A session under stress. It belongs to one worker at a time. While a parked
// session waits, it belongs to no worker: its waker sends it to an inbox, and a
// worker that cancels its wait keeps it. So the checks detect a wait that ends
// twice, or never.
struct StressSession : EventNotifier::Node {
  StressSession(World& all, SessionAllocator& allocator, uint32_t number)
      : world(all),
        buffers(std::in_place, allocator),
        id(number),
        parks(number % 2 == 0) {}

  OwnerTag tag() const { return OwnerTag{id + 1}; }

  World& world;
  std::optional<SessionBuffers> buffers;
  const uint32_t id;
  const bool parks;                 // else its owner keeps it while it waits
  std::array<bool, 2> booked = {};  // sides in the ownership table
  uint32_t waits = 0;
  bool migrates = false;    // moves to another worker without a wait
  Inbox* target = nullptr;  // where its wake-up sends it
  StressSession* next = nullptr;
  std::atomic<bool> owned{true};
  // Wake-ups that came, and wake-ups that were due.
  std::atomic<uint32_t> wakes{0};
  std::atomic<uint32_t> wakes_due{0};
};

// Sessions on their way to a worker. Put: any thread, lock-free.
struct alignas(64) Inbox {
  void Put(StressSession& session) {
    session.next = top.load(std::memory_order::relaxed);
    while (!top.compare_exchange_weak(session.next, &session,
                                      std::memory_order::release,
                                      std::memory_order::relaxed)) {
    }
  }
  StressSession* TakeAll() {
    return top.exchange(nullptr, std::memory_order::acquire);
  }

  std::atomic<StressSession*> top{nullptr};
  std::unique_ptr<EventNotifier> notifier;
  // Belongs to the dispatching worker.
  std::vector<StressSession*>* arrived = nullptr;
};

// One worker's counts, written only by that worker.
struct alignas(64) Tally {
  std::atomic<uint64_t> ops{0};
  std::atomic<uint64_t> allocations{0};
  std::atomic<uint64_t> waits{0};
  std::atomic<uint64_t> overloads{0};
  std::atomic<uint64_t> grants{0};
  std::atomic<uint64_t> cancels{0};
  std::atomic<uint64_t> fifo_checks{0};
  std::atomic<uint64_t> births{0};

  static void Count(std::atomic<uint64_t>& counter, uint64_t n = 1) {
    counter.store(counter.load(std::memory_order::relaxed) + n,
                  std::memory_order::relaxed);
  }
};

// A meeting of all workers. The last one to arrive lets all continue.
class Meeting {
 public:
  explicit Meeting(uint32_t size) : size_(size) {}
  // Calls `idle` repeatedly, until all workers are here.
  void Meet(const std::function<void()>& idle);
  void Meet() {
    Meet([] {});
  }

 private:
  const uint32_t size_;
  std::atomic<uint32_t> arrived_{0};
  std::atomic<uint32_t> generation_{0};
};

// The state that workers share.
struct World {
  // Returns the error of the resource that is not available.
  static absl::StatusOr<std::unique_ptr<World>> Create(const Options& options);

  // True when the operations of this round are done.
  bool RoundOver() const {
    return stop.load(std::memory_order::relaxed) ||
           round_ops.load(std::memory_order::relaxed) >= kRoundOps;
  }

  // Whether sessions hold little at the moment: pressure varies, so that caches
  // fill and are emptied again.
  bool Calm() const {
    constexpr uint64_t kSpell = 4096;
    return round_ops.load(std::memory_order::relaxed) / kSpell % 2 != 0;
  }

  // Operations of all workers between two moments of rest.
  static constexpr uint64_t kRoundOps = 200'000;
  // Buffers that change hands between threads: at most a quarter of the pool,
  // because they stay there until the next rest.
  static constexpr uint32_t kMailboxes = 16;
  uint32_t mailboxes_in_use() const {
    return std::min(kMailboxes, options.capacity / 4);
  }

  Options options;
  std::unique_ptr<BufferPool> pool;
  std::unique_ptr<SessionAllocator> allocator;
  ClassId urgent;  // declared: before pairs; keeps no buffer
  ClassId bulk;    // declared: after pairs, keeps more than receive
  std::unique_ptr<OwnershipTable> table;
  std::vector<std::unique_ptr<StressSession>> sessions;
  std::vector<Inbox> inboxes;  // one for each worker
  std::vector<Tally> tallies;
  std::array<std::atomic<std::byte*>, kMailboxes> mailboxes = {};
  std::optional<Meeting> meeting;

  std::atomic<bool> stop{false};      // a request to end
  std::atomic<bool> finished{false};  // decided at a moment of rest
  std::atomic<uint64_t> round_ops{0};
  std::atomic<uint64_t> rounds{0};
};

}  // namespace tandem::stress

#endif  // TANDEM_TOOLS_STRESS_WORLD_H_
