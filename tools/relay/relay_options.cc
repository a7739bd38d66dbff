#include "tandem/tools/relay/relay_options.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "tandem/pool/types.h"

namespace tandem {
namespace {

absl::Status CheckRange(absl::string_view flag, uint64_t value, uint64_t min,
                        uint64_t max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, " is ", value, "; allowed: ", min, " to ", max));
}

absl::Status CheckTime(absl::string_view flag, absl::Duration value) {
  if (value > absl::ZeroDuration()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--", flag, " is ",
                                                 absl::FormatDuration(value),
                                                 "; allowed: more than 0"));
}

}  // namespace

absl::Status Validate(const RelayOptions& options) {
  absl::Status status;
  status.Update(CheckRange("threads", options.threads, 1, 256));
  status.Update(CheckRange("reserve", options.reserve, 1, kMaxCapacity - 1));
  status.Update(CheckRange("buffers", options.buffers,
                           uint64_t{options.reserve} + 1, kMaxCapacity));
  status.Update(CheckRange("buffer-size", options.buffer_size, 64, 1u << 30));
  if (options.buffer_size % 64 != 0) {
    status.Update(absl::InvalidArgumentError(
        absl::StrCat("--buffer-size is ", options.buffer_size,
                     "; allowed: multiples of 64")));
  }
  status.Update(
      CheckRange("max-waiters", options.max_waiters, 1, (1u << 20) - 1));
  status.Update(CheckTime("idle-timeout", options.idle_timeout));
  status.Update(CheckTime("connect-timeout", options.connect_timeout));
  status.Update(CheckTime("drain-timeout", options.drain_timeout));
  return status;
}

}  // namespace tandem
