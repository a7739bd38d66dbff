#include "tandem/pool/options.h"

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tandem/pool/types.h"

namespace tandem {
namespace {

absl::Status CheckRange(const char* option, uint64_t value, uint64_t min,
                        uint64_t max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "PoolOptions.", option, " is ", value, "; allowed: ", min, " to ", max));
}

}  // namespace

uint32_t ReserveOf(const PoolOptions& options) {
  return options.reserve.value_or(
      options.capacity > 2 ? 2 : options.capacity - (options.capacity != 0));
}

absl::Status Validate(const PoolOptions& options) {
  constexpr uint64_t kMaxBufferSize = uint64_t{1} << 30;
  absl::Status status;
  const char* const wish = std::getenv("TANDEM_BIAS");
  if (wish != nullptr && *wish != '\0' && std::string_view(wish) != "shared") {
    status.Update(absl::InvalidArgumentError(
        absl::StrCat("the environment variable TANDEM_BIAS is \"", wish,
                     "\"; allowed: \"shared\", or unset")));
  }
  status.Update(CheckRange("buffer_size", options.buffer_size, kCacheLine,
                           kMaxBufferSize));
  if (options.buffer_size % kCacheLine != 0) {
    status.Update(absl::InvalidArgumentError(
        absl::StrCat("PoolOptions.buffer_size is ", options.buffer_size,
                     "; allowed: multiples of ", kCacheLine)));
  }
  status.Update(CheckRange("capacity", options.capacity, 1, kMaxCapacity));
  status.Update(CheckRange("reserve", ReserveOf(options), 0, options.capacity));
  if (options.cache_size.has_value()) {
    status.Update(
        CheckRange("cache_size", *options.cache_size, 0, kMaxCacheSize));
  }
  status.Update(CheckRange("max_threads", options.max_threads, 0, 65'536));
  if (options.core_pools.has_value()) {
    status.Update(CheckRange("core_pools", *options.core_pools, 1, 4'096));
  }
  if (options.numa_policy == NumaPolicy::kBind) {
    // A negative node would show as a huge one.
    status.Update(options.numa_node < 0
                      ? absl::InvalidArgumentError(absl::StrCat(
                            "PoolOptions.numa_node is ", options.numa_node,
                            "; allowed: 0 to 1023"))
                      : CheckRange("numa_node", options.numa_node, 0, 1'023));
  }
  if (options.huge_pages == HugePages::kExplicit && options.debug.guard_pages) {
    status.Update(absl::InvalidArgumentError(
        "PoolOptions.debug.guard_pages is true; allowed: false with "
        "huge_pages = kExplicit"));
  }
  if (options.bias == Bias::kBiased &&
      (options.debug.fail_one_in != 0 || options.debug.cold_first)) {
    status.Update(absl::InvalidArgumentError(
        "PoolOptions.bias is kBiased; allowed: kAuto or kShared with "
        "debug.fail_one_in or debug.cold_first"));
  }
  if (options.debug.guard_pages && (options.pinned || options.lock_memory)) {
    status.Update(absl::InvalidArgumentError(
        absl::StrCat("PoolOptions.debug.guard_pages is true; allowed: false "
                     "with ",
                     options.pinned ? "pinned" : "lock_memory")));
  }
  return status;
}

}  // namespace tandem
