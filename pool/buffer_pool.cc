#include "tandem/pool/buffer_pool.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "absl/log/log.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "tandem/pool/ledger.h"
#include "tandem/pool/rseq_section.h"

namespace tandem {
namespace {

// Buffers that Trim has in its hands at once.
constexpr size_t kTrimBatch = 64;

uint32_t CorePoolCount(const PoolOptions& options) {
  return options.core_pools.value_or(std::clamp(get_nprocs_conf(), 1, 4'096));
}

uint32_t CacheLimit(const PoolOptions& options) {
  if (options.debug.no_cache) return 0;
  return options.cache_size.value_or(
      std::clamp((options.capacity - options.reserve) / 8, 2u, kMaxCacheSize));
}

// True if allocations are not what they would be otherwise.
bool Tampers(const DebugOptions& debug) {
  return debug.fail_one_in != 0 || debug.cold_first;
}

// Pieces in which spans of pointers become spans of indexes.
constexpr size_t kPiece = kMaxCacheSize;

}  // namespace

absl::StatusOr<std::unique_ptr<BufferPool>> BufferPool::Create(
    const PoolOptions& options) {
  if (absl::Status valid = Validate(options); !valid.ok()) return valid;
  const bool biased = options.bias != Bias::kShared &&
                      !Tampers(options.debug) && RseqSection::Available();
  if (options.bias == Bias::kBiased && !biased) {
    return absl::FailedPreconditionError(
        "PoolOptions.bias is kBiased, but this system, or the way it runs this "
        "program, has no restartable sequences (rseq) or refuses membarrier; "
        "allowed here: kAuto, kShared");
  }
  absl::StatusOr<Region> region = Region::Create(options);
  if (!region.ok()) return std::move(region).status();
  absl::StatusOr<BufferGuard> guard = BufferGuard::Create(options);
  if (!guard.ok()) return std::move(guard).status();
  return std::unique_ptr<BufferPool>(
      new BufferPool(options, *std::move(region), *std::move(guard), biased));
}

BufferPool::Tables::Tables(const PoolOptions& options)
    : links(options.capacity),
      cores(CorePoolCount(options)),
      caches(CacheLimit(options) == 0 ? 0 : options.max_threads) {}

BufferPool::Core::Layout BufferPool::Tables::Layout(const PoolOptions& options,
                                                    bool biased) {
  return {.links = links,
          .cores = cores,
          .caches = caches,
          .reserve = options.reserve,
          .cache_limit = CacheLimit(options),
          .biased = biased};
}

BufferPool::BufferPool(const PoolOptions& options, Region region,
                       BufferGuard guard, bool biased)
    : debug_(options.debug),
      tampers_(Tampers(debug_)),
      pinned_(options.pinned),
      name_(options.name),
      region_(std::move(region)),
      guard_(std::move(guard)),
      tables_(options),
      core_(tables_.Layout(options, biased)),
      pass_(ThreadBinder::AddPool(&core_)) {
  guard_.OnCreate(region_);
}

BufferPool::~BufferPool() {
  ThreadBinder::RemovePool(pass_, &core_);
  const uint32_t in_use = Snapshot().in_use;
  if (in_use != 0) {
    LOG(ERROR) << "tandem: pool \"" << name_ << "\" is destroyed while "
               << in_use << " of its " << capacity()
               << " buffers have not been released";
  }
  guard_.OnDestroy(region_);
}

std::byte* BufferPool::AcquireUnbiased() {
  BufferIndex index;
  if (!Take({&index, 1}, kAnyBuffer)) return nullptr;
  return Adopt(index, __builtin_return_address(0));
}

void BufferPool::GiveUnbiased(BufferIndex index) {
  core_.Give(ThisThreadCache(), {&index, 1});
}
void BufferPool::GiveUnbiased(BufferIndex first, BufferIndex second) {
  core_.Give(ThisThreadCache(), std::array{first, second});
}

bool BufferPool::AcquireMany(std::span<std::byte*> out) {
  const void* const caller = __builtin_return_address(0);
  std::array<BufferIndex, kPiece> indexes;
  if (out.size() <= kPiece) {
    const auto piece = std::span(indexes).first(out.size());
    if (piece.empty()) return true;
    if (!Take(piece, kAnyBuffer)) return false;
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = Adopt(indexes[i], caller);
    }
    return true;
  }
  if (out.size() > capacity()) return false;
  Cache* const cache = ThisThreadCache();
  if (tampers_ && !Tamper(cache)) return false;
  if (!core_.Reserve(cache, static_cast<uint32_t>(out.size()), kAnyBuffer)) {
    return false;
  }
  while (!out.empty()) {
    const auto piece = std::span(indexes).first(std::min(out.size(), kPiece));
    core_.Collect(piece);
    for (size_t i = 0; i < piece.size(); ++i) {
      out[i] = Adopt(piece[i], caller);
    }
    out = out.subspan(piece.size());
  }
  return true;
}

void BufferPool::ReleaseMany(std::span<std::byte* const> buffers) {
  const void* const caller = __builtin_return_address(0);
  std::array<BufferIndex, kPiece> indexes;
  while (!buffers.empty()) {
    const size_t count = std::min(buffers.size(), kPiece);
    for (size_t i = 0; i < count; ++i) {
      indexes[i] = Surrender(buffers[i], caller);
    }
    core_.Give(ThisThreadCache(), {indexes.data(), count});
    buffers = buffers.subspan(count);
  }
}

bool BufferPool::Tamper(Cache* cache) {
  if (debug_.fail_one_in != 0) {
    // splitmix64 of a count: no state that two threads could tear.
    tampered_.Add(1);
    uint64_t z = tampered_.Get() * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    if ((z ^ z >> 31) % debug_.fail_one_in == 0) return false;
  }
  if (debug_.cold_first && cache != nullptr) {
    // What has lain longest goes to the top.
    std::array<BufferIndex, kMaxCacheSize> buffers;
    const uint32_t count = cache->PopUpTo(buffers);
    if (count != 0) {
      std::rotate(buffers.begin(), buffers.begin() + 1,
                  buffers.begin() + count);
      core_.Give(cache, {buffers.data(), count});
    }
  }
  return true;
}

absl::StatusOr<size_t> BufferPool::Trim() {
  if (pinned_) {
    return absl::FailedPreconditionError(absl::StrCat(
        "tandem: pool \"", name_,
        "\" is pinned (PoolOptions.pinned is true); Trim is refused"));
  }
  size_t bytes = 0;
  std::array<BufferIndex, kTrimBatch> batch;
  // In a busy pool buffers keep coming: each has had its turn after capacity().
  for (size_t done = 0; done < capacity();) {
    const size_t count = core_.TakeWarm(batch);
    if (count == 0) break;
    done += count;
    for (size_t i = 0; i < count; ++i) {
      bytes += region_.Discard(batch[i]);
      guard_.OnDiscard(batch[i]);
    }
    core_.PublishCold({batch.data(), count});
  }
  return bytes;
}

PoolSnapshot BufferPool::Snapshot() const {
  PoolSnapshot snapshot;
  const LedgerView ledger = core_.ledger();
  snapshot.capacity = capacity();
  snapshot.reserve = core_.reserve();
  snapshot.cache_limit = core_.cache_limit();
  snapshot.available = ledger.available();
  snapshot.waiting = ledger.waiting();
  snapshot.shortages = ledger.shortages();
  snapshot.pressed = ledger.Pressed(core_.reserve());
  snapshot.biased = core_.biased();
  snapshot.barriers = core_.barriers().barriers.Get();
  snapshot.refusals = core_.barriers().refusals.Get();
  const auto core_of = [](const CorePool<StdPlatform>& core) {
    return PoolSnapshot::Core{.pushed = core.pushed.Get(),
                              .popped = core.popped.Get()};
  };
  for (const auto& core : core_.core_pools().cores()) {
    snapshot.cores.push_back(core_of(core));
  }
  snapshot.cold = core_of(core_.core_pools().cold());
  for (const Cache& cache : core_.caches()) {
    const auto& counters = cache.counters;
    snapshot.cached += cache.size();
    snapshot.threads.push_back({
        .owned = cache.owner() != kNoThread,
        .cached = cache.size(),
        .takes = counters.takes.Get(),
        .gives = counters.gives.Get(),
        .refills = counters.refills.Get(),
        .flushes = counters.flushes.Get(),
        .bypasses = counters.bypasses.Get(),
        .retreats = counters.retreats.Get(),
        .steals = counters.steals.Get(),
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
