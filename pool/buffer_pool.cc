#include "tandem/pool/buffer_pool.h"

#include <sys/sysinfo.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "tandem/pool/depot/ledger.h"
#include "tandem/pool/die.h"
#include "tandem/pool/no_throw.h"
#include "tandem/pool/section/rseq_section.h"

namespace tandem {
namespace {

// The number of buffers that Trim has in its hands at once.
constexpr size_t kTrimBatch = 64;

// The most buffers in a cache with debug.cold_first, as an allocation has all
// of them in its hands at once.
constexpr uint32_t kMostColdFirst = 128;

uint32_t ShardCount(const PoolOptions& options) {
  return options.core_pools.value_or(std::clamp(get_nprocs_conf(), 1, 4'096));
}

// If cache_size is unset, caches adapt: all together hold at most half of what
// is not reserve.
CacheRules RulesOf(const PoolOptions& options) {
  if (options.debug.no_cache) return {.most = 0, .total = 0, .adaptive = false};
  const uint32_t most =
      options.debug.cold_first ? kMostColdFirst : kMaxCacheSize;
  if (options.cache_size) {
    return {.most = std::min(*options.cache_size, most),
            .total = 0,
            .adaptive = false};
  }
  const uint32_t total = (options.capacity - ReserveOf(options)) / 2;
  return {.most = std::min(total, most), .total = total, .adaptive = true};
}

// True if the options change the results of allocations.
bool InjectsFaults(const DebugOptions& debug) {
  return debug.fail_one_in != 0 || debug.cold_first;
}

}  // namespace

absl::StatusOr<std::unique_ptr<BufferPool>> BufferPool::Create(
    const PoolOptions& options) noexcept {
  return WithoutThrowing<absl::StatusOr<std::unique_ptr<BufferPool>>>(
      "tandem: no memory for what a pool keeps beside its buffers",
      [&] { return CreateOrThrow(options); });
}

absl::StatusOr<std::unique_ptr<BufferPool>> BufferPool::CreateOrThrow(
    const PoolOptions& options) {
  if (absl::Status valid = Validate(options); !valid.ok()) return valid;
  const bool biased = options.bias != Bias::kShared &&
                      !InjectsFaults(options.debug) && RseqSection::Available();
  if (options.bias == Bias::kBiased && !biased) {
    return absl::FailedPreconditionError(
        "PoolOptions.bias is kBiased, but this system, or the way it runs this "
        "program, has no restartable sequences (rseq) or refuses membarrier, "
        "or the environment variable TANDEM_BIAS is \"shared\"; allowed here: "
        "kAuto, kShared");
  }
  absl::StatusOr<Region> region = Region::Create(options);
  if (!region.ok()) return std::move(region).status();
  absl::StatusOr<MisuseCheck> guard = MisuseCheck::Create(options, *region);
  if (!guard.ok()) return std::move(guard).status();
  absl::StatusOr<Tables> tables = Tables::Create(options);
  if (!tables.ok()) return std::move(tables).status();
  std::unique_ptr<BufferPool> pool(new BufferPool(options, *std::move(region),
                                                  *std::move(guard),
                                                  *std::move(tables), biased));
  const std::optional<ThreadSlot> pass = ThreadBinder::AddPool(
      &pool->core_,
      !pool->injects_faults_ && !pool->misuse_check_.has_extras());
  if (!pass) {
    return absl::ResourceExhaustedError(
        "tandem: no pthread key is left, or no memory for handlers of fork");
  }
  pool->pass_ = *pass;
  return pool;
}

absl::StatusOr<BufferPool::Tables> BufferPool::Tables::Create(
    const PoolOptions& options) {
  const size_t cache_count =
      RulesOf(options).most == 0 ? 0 : options.max_threads;
  auto links = MappedArray<Core::Link>::Create(options.capacity);
  if (!links.ok()) return std::move(links).status();
  auto magazines = MappedArray<Core::Box>::Create(
      Depot<StdPlatform>::MagazinesFor(options.capacity));
  if (!magazines.ok()) return std::move(magazines).status();
  auto caches = MappedArray<Cache>::Create(cache_count);
  if (!caches.ok()) return std::move(caches).status();
  // If one barrier serves all caches, visiting all costs little more.
  const size_t hint_words =
      cache_count <= kSweepPiece
          ? 0
          : (cache_count + Core::Registry::kHintsPerWord - 1) /
                Core::Registry::kHintsPerWord;
  return Tables{
      .links = *std::move(links),
      .magazines = *std::move(magazines),
      .caches = *std::move(caches),
      .cores = std::vector<DepotShard<StdPlatform>>(ShardCount(options)),
      .hints = std::vector<Core::Registry::MaybeFilledBits>(hint_words)};
}

BufferPool::Core::Layout BufferPool::Tables::Layout(const PoolOptions& options,
                                                    const BufferMap& map,
                                                    bool biased) {
  return {.map = map,
          .links = links.get(),
          .magazines = magazines.get(),
          .cores = cores,
          .caches = caches.get(),
          .hints = hints,
          .reserve = ReserveOf(options),
          .rules = RulesOf(options),
          .biased = biased};
}

BufferPool::BufferPool(const PoolOptions& options, Region region,
                       MisuseCheck guard, Tables tables, bool biased)
    : debug_(options.debug),
      injects_faults_(InjectsFaults(debug_)),
      stays_(options.pinned        ? "pinned"
             : options.lock_memory ? "lock_memory"
                                   : nullptr),
      region_(std::move(region)),
      misuse_check_(std::move(guard)),
      tables_(std::move(tables)),
      core_(tables_.Layout(options, map(), biased)) {
  misuse_check_.OnCreate(region_);
}

BufferPool::~BufferPool() {
  ThreadBinder::RemovePool(pass_);
  const uint32_t in_use = Snapshot().in_use;
  if (in_use != 0) {
    Message("tandem: pool \"", name(), "\" is destroyed while ", in_use,
            " of its ", capacity(), " buffers have not been released")
        .Write();
  }
  misuse_check_.OnDestroy(region_);
}

void BufferPool::HandOutWithExtras(std::span<std::byte* const> buffers,
                                   Holder to, const void* caller) {
  for (std::byte* const buffer : buffers)
    misuse_check_.OnTake(buffer, to, caller);
}

void BufferPool::TakeBack(std::span<std::byte* const> buffers, Holder from,
                          const void* caller) {
  if (misuse_check_.has_extras()) {
    for (std::byte* const buffer : buffers)
      misuse_check_.OnGive(buffer, from, caller);
  }
  core_.Give(ThisThreadCache(), buffers);
}

void BufferPool::GiveSlow(std::span<std::byte* const> buffers,
                          const void* caller) {
  if (misuse_check_.has_extras())
    return TakeBack(buffers, Holder::kUser, caller);
  core_.GiveSlow(ThisThreadCache(), buffers);
}

std::byte* BufferPool::AcquireSlow() noexcept {
  std::byte* buffer;
  if (!TakeSlow({&buffer, 1}, kAnyBuffer)) return nullptr;
  HandOut({&buffer, 1}, Holder::kUser, __builtin_return_address(0));
  return buffer;
}

bool BufferPool::AcquireManySlow(std::span<std::byte*> out) noexcept {
  if (out.empty()) return true;
  if (out.size() <= kMaxCacheSize) {
    if (!TakeSlow(out, kAnyBuffer)) return false;
  } else {
    if (out.size() > capacity()) return false;
    Cache* const cache = ThisThreadCache();
    if (injects_faults_ && !InjectFaults(cache)) return false;
    if (!core_.Reserve(cache, static_cast<uint32_t>(out.size()), kAnyBuffer)) {
      return false;
    }
    core_.central().Collect(out, cache == nullptr ? nullptr : &cache->spares);
  }
  HandOut(out, Holder::kUser, __builtin_return_address(0));
  return true;
}

void BufferPool::GiveSlow(std::byte* buffer) noexcept {
  GiveSlow({&buffer, 1}, __builtin_return_address(0));
}
void BufferPool::GiveSlow(std::byte* first, std::byte* second) noexcept {
  GiveSlow(std::array{first, second}, __builtin_return_address(0));
}

void BufferPool::GiveSlow(std::span<std::byte* const> buffers) noexcept {
  GiveSlow(buffers, __builtin_return_address(0));
}

void BufferPool::ReleaseInPieces(std::span<std::byte* const> buffers) noexcept {
  while (!buffers.empty()) {
    const auto piece =
        buffers.first(std::min(buffers.size(), size_t{kMaxCacheSize}));
    misuse_check_.MarkManyIdle(piece);
    GiveSlow(piece, __builtin_return_address(0));
    buffers = buffers.subspan(piece.size());
  }
}

bool BufferPool::InjectFaults(Cache* cache) {
  if (debug_.fail_one_in != 0) {
    // splitmix64 of a count: there is no state that two threads could tear.
    injected_.Add(1);
    uint64_t z = injected_.Get() * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    if ((z ^ z >> 31) % debug_.fail_one_in == 0) return false;
  }
  if (debug_.cold_first && cache != nullptr) {
    // The oldest goes to the top.
    std::array<std::byte*, kMostColdFirst> buffers;
    const uint32_t count = cache->PopUpTo(buffers);
    if (count != 0) {
      std::rotate(buffers.begin(), buffers.begin() + 1,
                  buffers.begin() + count);
      core_.Give(cache, {buffers.data(), count});
    }
  }
  return true;
}

absl::Status BufferPool::AttachThread() noexcept {
  if (tables_.caches.get().empty() || ThisThreadCache() != nullptr) {
    return absl::OkStatus();
  }
  return WithoutThrowing<absl::Status>("no memory for a message", [&] {
    return absl::ResourceExhaustedError(absl::StrCat(
        "pool \"", name(), "\" has no cache for this thread: no memory, or ",
        "PoolOptions.max_threads, ", tables_.caches.get().size(),
        ", have one"));
  });
}

absl::StatusOr<size_t> BufferPool::Trim() noexcept {
  return WithoutThrowing<absl::StatusOr<size_t>>(
      "tandem: no memory for a message of Trim",
      [this] { return TrimOrThrow(); });
}

absl::StatusOr<size_t> BufferPool::TrimOrThrow() {
  if (stays_ != nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        "tandem: the memory of pool \"", name(), "\" stays (PoolOptions.",
        stays_, " is true); Trim is refused"));
  }
  // relaxed: the thread's own. Trim does not bind the thread.
  Cache* const own = thread_caches[pass_.slot].load(std::memory_order::relaxed);
  if (core_.EmptyIdleCaches(own)) {
    const timespec pause = {.tv_sec = 0, .tv_nsec = Core::kIdleNanos};
    nanosleep(&pause, nullptr);
    core_.EmptyIdleCaches(own);
  }
  size_t bytes = 0;
  std::array<std::byte*, kTrimBatch> batch;
  // In a busy pool buffers keep arriving; after capacity() buffers each has had
  // its turn.
  for (size_t done = 0; done < capacity();) {
    const size_t count = core_.central().TakeWarm(batch);
    if (count == 0) break;
    done += count;
    for (size_t i = 0; i < count; ++i) {
      bytes += region_.Discard(batch[i]);
      misuse_check_.OnDiscard(batch[i]);
    }
    core_.central().PublishCold({batch.data(), count});
  }
  return bytes;
}

PoolSnapshot BufferPool::Snapshot() const noexcept {
  PoolSnapshot snapshot;
  const CentralPool<StdPlatform>& central = core_.central();
  const auto caches = core_.caches();
  // No later step needs memory.
  const bool has_memory = HasMemoryFor([&] {
    snapshot.cores.reserve(central.central().cores().size());
    snapshot.threads.reserve(caches.size());
  });
  const LedgerView ledger = central.ledger().Load();
  snapshot.capacity = capacity();
  snapshot.reserve = central.reserve();
  snapshot.cache_limit = core_.budget().rules().most;
  snapshot.cache_budget = core_.budget().rules().total;
  snapshot.cache_granted = core_.budget().granted();
  snapshot.available = ledger.available();
  snapshot.waiting = ledger.waiting();
  snapshot.shortages = ledger.shortages();
  snapshot.pressed = ledger.Pressed(central.reserve());
  snapshot.biased = core_.biased();
  snapshot.barriers = core_.barriers().barriers.Get();
  snapshot.refusals = core_.barriers().refusals.Get();
  const auto core_of = [&](const DepotShard<StdPlatform>& core) {
    return PoolSnapshot::Core{
        .buffers = central.central().Count(core),
        .changes = core.magazines.changes() + core.loose.changes()};
  };
  for (const auto& core : central.central().cores()) {
    if (has_memory) snapshot.cores.push_back(core_of(core));
  }
  snapshot.cold = {.buffers = central.central().CountCold(),
                   .changes = central.central().cold_changes()};
  snapshot.magazines = central.central().magazines_used();
  snapshot.loose_batches = central.central().lots_without_magazine();
  for (const Cache& cache : caches) {
    const auto& counters = cache.counters;
    snapshot.cached += cache.size();
    if (!has_memory) continue;
    snapshot.threads.push_back({
        .owned = cache.ownership.owner() != kNoThread,
        .cached = cache.size(),
        .limit = cache.limit(),
        .refills = counters.refills.Get(),
        .refilled = counters.refilled.Get(),
        .flushes = counters.flushes.Get(),
        .flushed = counters.flushed.Get(),
        .bypasses = counters.bypasses.Get(),
        .retreats = counters.retreats.Get(),
        .steals = counters.steals.Get(),
        .reclaims = counters.reclaims.Get(),
        .shortages = counters.shortages.Get(),
        .failures = counters.failures.Get(),
        .biased = cache.biased(),
        .biases = counters.biases.Get(),
        .revocations = counters.revocations.Get(),
    });
  }
  const uint32_t idle = snapshot.available + snapshot.cached;
  snapshot.in_use = snapshot.capacity - std::min(snapshot.capacity, idle);
  return snapshot;
}

}  // namespace tandem
