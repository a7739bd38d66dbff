// P2, P3: owners that use their caches at full speed, and go back to bias as
// soon as they can, against thieves that take the bias of all of them
// without pause.
//
//   bazel run -c opt //tests/pool:seizure_stress -- --seconds=60
//
// Uses internals: LockFreePool as in production, except that owners go back to
// bias at once. Otherwise there would be a thousand times fewer seizures.
//
// Checks all the time that a buffer has one holder, and at the end that none
// is missing and that the ledger is correct. Exit code 1 if one of these does
// not hold.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <thread>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/str_format.h"
#include "tandem/pool/buffer_map.h"
#include "tandem/pool/cache/bias_policy.h"
#include "tandem/pool/cache/thread_cache.h"
#include "tandem/pool/depot/depot.h"
#include "tandem/pool/lock_free_pool.h"
#include "tandem/pool/platform.h"
#include "tandem/pool/section/rseq_section.h"
#include "tandem/pool/types.h"

ABSL_FLAG(uint32_t, seconds, 60, "how long");
ABSL_FLAG(uint32_t, owners, 2, "threads that use their caches");
ABSL_FLAG(uint32_t, thieves, 1, "threads that take the bias of all caches");

namespace tandem {
namespace {

using Core = LockFreePool<StdPlatform>;

constexpr uint32_t kCacheLimit = 16;
// Rounds after which a thread yields to the one that it waits for.
constexpr uint32_t kPatience = 300;
constexpr AllocationTerms kTerms{.keep = 0, .class_id = ClassId{0xFF}};

// A buffer contains the name of its holder, 0 for none. It is accessed by loads
// and stores, so that owners are not slowed down. Two holders notice each other
// when they write, or when they look again.
struct alignas(kCacheLine) Slot {
  std::atomic<uint32_t> holder{0};
};

void Change(std::span<std::byte* const> buffers, uint32_t from, uint32_t to) {
  for (std::byte* const buffer : buffers) {
    // relaxed: the hand-over of the buffer orders this too.
    auto& holder = reinterpret_cast<Slot*>(buffer)->holder;
    const uint32_t was = holder.load(std::memory_order::relaxed);
    if (was != from) {
      absl::FPrintF(stderr, "VIOLATED: a buffer is %d's, not %d's\n", was,
                    from);
      std::_Exit(1);
    }
    holder.store(to, std::memory_order::relaxed);
  }
}

class Stress {
 public:
  Stress(uint32_t owners, uint32_t thieves)
      : owners_(owners),
        thieves_(thieves),
        // Plenty of buffers: only thieves make pressure.
        capacity_(2 * kCacheLimit * (owners + thieves)),
        slots_(capacity_),
        map_(reinterpret_cast<std::byte*>(slots_.data()), sizeof(Slot),
             capacity_, "stress"),
        links_(capacity_),
        magazines_(Depot<StdPlatform>::MagazinesFor(capacity_)),
        cores_(2),
        caches_(owners + thieves),
        core_({.map = map_,
               .links = links_,
               .magazines = magazines_,
               .cores = cores_,
               .caches = caches_,
               .hints = {},
               .reserve = 2,
               .rules = {.most = kCacheLimit, .total = 0, .adaptive = false},
               .biased = can_bias_}) {}

  void Run(uint32_t seconds) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < owners_ + thieves_; ++i) {
      threads.emplace_back(
          [this, i] { i < owners_ ? Own(i + 1) : Steal(i + 1); });
    }
    for (uint32_t second = 1; second <= seconds; ++second) {
      std::this_thread::sleep_until(start + std::chrono::seconds(second));
      if (second % 10 == 0) Print(second);
    }
    stop_ = true;
    for (std::thread& thread : threads) thread.join();
    Print(seconds);
    CheckConservation();
  }

 private:
  struct Totals {
    uint64_t operations = 0;
    uint64_t revocations = 0;
    uint64_t biases = 0;
    uint64_t steals = 0;
    uint64_t retreats = 0;
  };

  void Own(uint32_t name) {
    Core::Cache& cache = *core_.ClaimCache(ThreadToken{name});
    uint32_t since_bias = 0;
    uint64_t operations = 0;
    while (!stop_.load(std::memory_order::relaxed)) {
      Use<1>(cache, name);
      Use<2>(cache, name);
      Use<1>(cache, name);
      Use<8>(cache, name);
      operations += 2 * (1 + 2 + 1 + 8);
      if (!cache.biased()) {
        Hurry(cache.policy);
        since_bias = 0;
      } else if (++since_bias % kPatience == 0) {
        std::this_thread::yield();  // The thief may have no core.
      }
    }
    operations_.fetch_add(operations, std::memory_order::relaxed);
    core_.ReturnCacheOf(ThreadToken{name});
  }

  // As in BufferPool: the number is a constant, so each has a section of
  // its own.
  template <size_t kCount>
  [[gnu::always_inline]] void Use(Core::Cache& cache, uint32_t name) {
    std::array<std::byte*, kCount> buffers;
    if (!core_.TakeBiased(&cache, buffers, kTerms) &&
        !core_.Take(&cache, buffers, kTerms)) {
      return;
    }
    Change(buffers, 0, name);
    Change(buffers, name, 0);
    if (!core_.GiveBiased(&cache, buffers)) core_.Give(&cache, buffers);
  }

  // Makes the bias come back with the next quiet operation.
  static void Hurry(BiasPolicy& policy) {
    policy = BiasPolicy();
    BiasPolicy one_ahead;
    while (!one_ahead.OnQuietOperation()) policy.OnQuietOperation();
  }

  // Asks for all buffers when it sees a biased cache. It gets them only if no
  // owner holds a buffer, which shows only after all caches have been emptied.
  void Steal(uint32_t name) {
    Core::Cache& cache = *core_.ClaimCache(ThreadToken{name});
    std::vector<std::byte*> all(capacity_);
    while (!stop_.load(std::memory_order::relaxed)) {
      // Sometimes even if no cache is biased.
      for (uint32_t looks = 1; !AnyBiased(); ++looks) {
        if (looks == kPatience) std::this_thread::yield();
        if (looks == 2 * kPatience) break;
      }
      if (!core_.Reserve(&cache, capacity_, kTerms)) continue;
      core_.central().Collect(all);
      Change(all, 0, name);
      Change(all, name, 0);
      core_.central().Publish(all);
    }
    core_.ReturnCacheOf(ThreadToken{name});
  }

  bool AnyBiased() const {
    return !can_bias_ || stop_ ||
           std::ranges::any_of(core_.caches(), [](const Core::Cache& cache) {
             return cache.biased();
           });
  }

  void Print(uint32_t seconds) const {
    Totals totals;
    // relaxed: a statistic.
    totals.operations = operations_.load(std::memory_order::relaxed);
    for (const auto& cache : core_.caches()) {
      totals.revocations += cache.counters.revocations.Get();
      totals.biases += cache.counters.biases.Get();
      totals.steals += cache.counters.steals.Get();
      totals.retreats += cache.counters.retreats.Get();
    }
    absl::PrintF(
        "%5d s  buffers in and out %d  biases %d  seizures %d  barriers %d  "
        "refusals %d  steals %d  retreats %d\n",
        seconds, totals.operations, totals.biases, totals.revocations,
        core_.barriers().barriers.Get(), core_.barriers().refusals.Get(),
        totals.steals, totals.retreats);
    std::fflush(stdout);
  }

  void CheckConservation() {
    const uint32_t available = core_.central().ledger().Load().available();
    if (available != capacity_) {
      absl::FPrintF(stderr, "VIOLATED: %d of %d buffers are there\n", available,
                    capacity_);
      std::_Exit(1);
    }
    std::vector<std::byte*> all(capacity_);
    if (!core_.Reserve(nullptr, capacity_, kTerms)) std::_Exit(1);
    core_.central().Collect(all);
    Change(all, 0, 1);
  }

  const bool can_bias_ = RseqSection::Available();
  const uint32_t owners_;
  const uint32_t thieves_;
  const uint32_t capacity_;
  std::vector<Slot> slots_;
  const BufferMap map_;
  std::vector<Core::Link> links_;
  std::vector<Core::Box> magazines_;
  std::vector<DepotShard<StdPlatform>> cores_;
  std::vector<Core::Cache> caches_;
  Core core_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> operations_{0};  // of owners that have finished
};

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  absl::PrintF("caches are %s\n",
               tandem::RseqSection::Available() ? "biased" : "shared");
  tandem::Stress(absl::GetFlag(FLAGS_owners), absl::GetFlag(FLAGS_thieves))
      .Run(absl::GetFlag(FLAGS_seconds));
  absl::PrintF("OK: every buffer had one holder, and none is missing\n");
  return 0;
}
