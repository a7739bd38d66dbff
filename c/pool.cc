#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "tandem/c/conversions.h"
#include "tandem/c/tandem.h"
#include "tandem/c/versioned.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/pool/die.h"
#include "tandem/pool/options.h"
#include "tandem/pool/snapshot.h"
#include "tandem/pool/trimmer.h"
#include "tandem/pool/types.h"

using tandem::BufferIndex;
using tandem::BufferPool;
using tandem::PoolOptions;
using tandem::PoolSnapshot;
using tandem::Trimmer;
using tandem::TrimmerOptions;
using tandem::c::Of;
using tandem::c::OrNoMemory;
using tandem::c::ReadOptions;
using tandem::c::Report;
using tandem::c::WriteResult;

namespace {

constexpr const char* kType = "tandem_pool_options";

// For a number whose default is not 0.
template <class Number>
void Set(Number& option, uint32_t number) {
  if (number == TANDEM_NONE) {
    option = 0;
  } else if (number != 0) {
    option = number;
  }
}

absl::Status CheckEnum(const char* option, uint32_t value, uint32_t last) {
  if (value <= last) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      kType, ".", option, " is ", value, "; allowed: 0 to ", last));
}

absl::Status CheckReserved(const char* type, std::span<const bool> reserved) {
  for (size_t i = 0; i < reserved.size(); ++i) {
    if (!reserved[i]) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(type, ".reserved[", i, "] is true; allowed: false"));
  }
  return absl::OkStatus();
}

absl::StatusOr<PoolOptions> OptionsOf(const tandem_pool_options* given) {
  const absl::StatusOr<tandem_pool_options> read = ReadOptions(kType, given);
  if (!read.ok()) return read.status();
  absl::Status status;
  status.Update(CheckEnum("bias", read->bias, TANDEM_BIAS_SHARED));
  status.Update(
      CheckEnum("huge_pages", read->huge_pages, TANDEM_HUGE_PAGES_EXPLICIT));
  status.Update(CheckEnum("numa_policy", read->numa_policy, TANDEM_NUMA_BIND));
  status.Update(CheckEnum("numa_node", read->numa_node, 1'023));
  status.Update(CheckReserved(kType, read->reserved));
  if (!status.ok()) return status;

  PoolOptions options;
  if (read->name != nullptr) options.name = read->name;
  if (read->buffer_size != 0) options.buffer_size = read->buffer_size;
  Set(options.capacity, read->capacity);
  Set(options.reserve, read->reserve);
  Set(options.cache_size, read->cache_size);
  Set(options.max_threads, read->max_threads);
  Set(options.core_pools, read->core_pools);
  options.bias = static_cast<tandem::Bias>(read->bias);
  options.huge_pages = static_cast<tandem::HugePages>(read->huge_pages);
  options.numa_policy = static_cast<tandem::NumaPolicy>(read->numa_policy);
  options.numa_node = static_cast<int>(read->numa_node);
  options.prefault = read->prefault;
  options.pinned = read->pinned;
  options.lock_memory = read->lock_memory;
  options.exclude_from_core_dumps = read->exclude_from_core_dumps;
  options.zero_on_release = read->zero_on_release;
  options.detect_misuse = !read->no_misuse_check;
  options.debug = {.fail_one_in = read->fail_one_in,
                   .no_cache = read->no_cache,
                   .cold_first = read->cold_first,
                   .integrity = read->integrity,
                   .canaries = read->canaries,
                   .guard_pages = read->guard_pages,
                   .record_caller = read->record_caller,
                   .strict_misuse = read->strict_misuse};
  return options;
}

// Opens the trigger, which the result owns, if the options ask for it.
absl::StatusOr<TrimmerOptions> OptionsOf(const tandem_trimmer_options* given) {
  constexpr const char* kTrimmer = "tandem_trimmer_options";
  const absl::StatusOr<tandem_trimmer_options> read =
      ReadOptions(kTrimmer, given);
  if (!read.ok()) return read.status();
  absl::Status status = CheckReserved(kTrimmer, read->reserved);
  if (!status.ok()) return status;
  TrimmerOptions options{.every = std::chrono::milliseconds(read->every_ms)};
  if (read->on_pressure) {
    const absl::StatusOr<int> trigger = tandem::OpenPressureTrigger(
        read->pressure_file != nullptr ? read->pressure_file : "");
    if (!trigger.ok()) return trigger.status();
    options.pressure_trigger = *trigger;
  }
  return options;
}

Trimmer& Of(tandem_trimmer* trimmer) {
  return *reinterpret_cast<Trimmer*>(trimmer);
}
const Trimmer& Of(const tandem_trimmer* trimmer) {
  return *reinterpret_cast<const Trimmer*>(trimmer);
}

// The enumerations have the same order.
static_assert(static_cast<int>(tandem::Bias::kBiased) == TANDEM_BIAS_BIASED);
static_assert(static_cast<int>(tandem::Bias::kShared) == TANDEM_BIAS_SHARED);
static_assert(static_cast<int>(tandem::HugePages::kTransparent) ==
              TANDEM_HUGE_PAGES_TRANSPARENT);
static_assert(static_cast<int>(tandem::HugePages::kExplicit) ==
              TANDEM_HUGE_PAGES_EXPLICIT);
static_assert(static_cast<int>(tandem::NumaPolicy::kInterleave) ==
              TANDEM_NUMA_INTERLEAVE);
static_assert(static_cast<int>(tandem::NumaPolicy::kBind) == TANDEM_NUMA_BIND);

// Arrays of buffers are the same in both languages except for the element type.
std::span<std::byte*> SpanOf(void** buffers, size_t count) {
  return {reinterpret_cast<std::byte**>(buffers), count};
}
std::span<std::byte* const> SpanOf(void* const* buffers, size_t count) {
  return {reinterpret_cast<std::byte* const*>(buffers), count};
}

}  // namespace

tandem_abort_handler tandem_set_abort_handler(
    tandem_abort_handler handler) noexcept {
  return tandem::SetAbortHandler(handler);
}

int tandem_pool_create(tandem_pool** pool, const tandem_pool_options* options,
                       char* message, size_t message_size) noexcept {
  return OrNoMemory(message, message_size, [&] {
    const absl::StatusOr<PoolOptions> known = OptionsOf(options);
    if (!known.ok()) return Report(known.status(), message, message_size);
    absl::StatusOr<std::unique_ptr<BufferPool>> created =
        BufferPool::Create(*known);
    if (created.ok()) {
      *pool = reinterpret_cast<tandem_pool*>(created->release());
    }
    return Report(created.status(), message, message_size);
  });
}

void tandem_pool_destroy(tandem_pool* pool) noexcept {
  if (pool != nullptr) delete &Of(pool);
}

const char* tandem_pool_name(const tandem_pool* pool) noexcept {
  return Of(pool).name().c_str();
}
size_t tandem_buffer_size(const tandem_pool* pool) noexcept {
  return Of(pool).buffer_size();
}
uint32_t tandem_capacity(const tandem_pool* pool) noexcept {
  return Of(pool).capacity();
}
uint32_t tandem_reserve(const tandem_pool* pool) noexcept {
  return Of(pool).reserve();
}

void* tandem_acquire(tandem_pool* pool) noexcept { return Of(pool).Acquire(); }

bool tandem_acquire_many(tandem_pool* pool, void** out, size_t count) noexcept {
  return Of(pool).AcquireMany(SpanOf(out, count));
}

void tandem_release(tandem_pool* pool, void* buffer) noexcept {
  Of(pool).Release(static_cast<std::byte*>(buffer));
}

void tandem_release_many(tandem_pool* pool, void* const* buffers,
                         size_t count) noexcept {
  Of(pool).ReleaseMany(SpanOf(buffers, count));
}

int tandem_thread_attach(tandem_pool* pool) noexcept {
  return Report(Of(pool).AttachThread(), nullptr, 0);
}

tandem_region tandem_pool_region(const tandem_pool* pool) noexcept {
  const std::span<std::byte> region = Of(pool).region();
  return {.base = region.data(),
          .bytes = region.size(),
          .stride = Of(pool).stride()};
}

uint32_t tandem_index_of(const tandem_pool* pool, const void* buffer) noexcept {
  return static_cast<uint32_t>(
      Of(pool).IndexOf(static_cast<const std::byte*>(buffer)));
}

void* tandem_address_of(const tandem_pool* pool, uint32_t index) noexcept {
  return Of(pool).AddressOf(BufferIndex{index});
}

size_t tandem_pool_piece_count(const tandem_pool* pool) noexcept {
  return Of(pool).piece_count();
}

iovec tandem_pool_piece(const tandem_pool* pool, size_t i) noexcept {
  const std::span<std::byte> piece = Of(pool).piece(i);
  return {.iov_base = piece.data(), .iov_len = piece.size()};
}

size_t tandem_piece_of(const tandem_pool* pool, uint32_t index) noexcept {
  return Of(pool).PieceOf(BufferIndex{index});
}

int tandem_trim(tandem_pool* pool, size_t* bytes) noexcept {
  const absl::StatusOr<size_t> trimmed = Of(pool).Trim();
  if (trimmed.ok() && bytes != nullptr) *bytes = *trimmed;
  return Report(trimmed.status(), nullptr, 0);
}

int tandem_trimmer_create(tandem_trimmer** trimmer, tandem_pool* pool,
                          const tandem_trimmer_options* options, char* message,
                          size_t message_size) noexcept {
  return OrNoMemory(message, message_size, [&] {
    const absl::StatusOr<TrimmerOptions> known = OptionsOf(options);
    if (!known.ok()) return Report(known.status(), message, message_size);
    absl::StatusOr<std::unique_ptr<Trimmer>> created =
        Trimmer::Create(&Of(pool), *known);
    if (created.ok()) {
      *trimmer = reinterpret_cast<tandem_trimmer*>(created->release());
    }
    return Report(created.status(), message, message_size);
  });
}

void tandem_trimmer_destroy(tandem_trimmer* trimmer) noexcept {
  if (trimmer != nullptr) delete &Of(trimmer);
}

uint64_t tandem_trimmer_trims(const tandem_trimmer* trimmer) noexcept {
  return Of(trimmer).trims();
}
uint64_t tandem_trimmer_bytes(const tandem_trimmer* trimmer) noexcept {
  return Of(trimmer).bytes();
}

int tandem_pool_snapshot(const tandem_pool* pool,
                         tandem_snapshot* out) noexcept {
  const PoolSnapshot snapshot = Of(pool).Snapshot();
  tandem_snapshot known = {};
  known.capacity = snapshot.capacity;
  known.reserve = snapshot.reserve;
  known.available = snapshot.available;
  known.cached = snapshot.cached;
  known.in_use = snapshot.in_use;
  known.waiting = snapshot.waiting;
  known.cache_limit = snapshot.cache_limit;
  known.pressed = snapshot.pressed ? 1 : 0;
  known.biased = snapshot.biased ? 1 : 0;
  known.barriers = snapshot.barriers;
  for (const PoolSnapshot::Thread& thread : snapshot.threads) {
    known.threads += thread.owned ? 1 : 0;
    known.refills += thread.refills;
    known.flushes += thread.flushes;
    known.steals += thread.steals;
    known.shortages += thread.shortages;
    known.failures += thread.failures;
  }
  return WriteResult(known, out);
}
