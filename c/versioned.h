#ifndef TANDEM_C_VERSIONED_H_
#define TANDEM_C_VERSIONED_H_

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tandem/pool/no_throw.h"

// Structures that begin with their own size, and statuses in the form of C.

namespace tandem::c {

// No structure will ever be larger than this: a larger size was never set.
inline constexpr size_t kMaxSize = 4096;

// Reads the caller's options of type `type` as this library's Options. Fields
// that the caller does not know are 0.
template <class Options>
absl::StatusOr<Options> ReadOptions(const char* type, const Options* options) {
  Options known = {};
  if (options == nullptr) return known;
  const size_t size = options->size;
  if (size < sizeof(size) || size > kMaxSize) {
    return absl::InvalidArgumentError(
        absl::StrCat(type, ".size is ", size, "; allowed: sizeof(", type, ")"));
  }
  std::memcpy(&known, options, std::min(size, sizeof(known)));
  const auto* const bytes = reinterpret_cast<const char*>(options);
  for (size_t i = sizeof(known); i < size; ++i) {
    if (bytes[i] == 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("byte ", i, " of ", type, " is ", int{bytes[i]},
                     "; allowed: 0, as this library does not know it"));
  }
  return known;
}

// Fills as much of a structure as the caller knows, according to its size
// field. Returns 0, or EINVAL if the size is invalid.
template <class Result>
int WriteResult(Result known, Result* out) {
  if (out->size < sizeof(known.size)) return EINVAL;
  known.size = out->size;
  std::memcpy(out, &known, std::min(known.size, sizeof(known)));
  return 0;
}

inline int ErrnoOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kInvalidArgument:
      return EINVAL;
    case absl::StatusCode::kResourceExhausted:
      return ENOMEM;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kPermissionDenied:
      return EPERM;
    case absl::StatusCode::kNotFound:
      return ENOENT;
    case absl::StatusCode::kUnavailable:
      return EAGAIN;
    case absl::StatusCode::kUnimplemented:
      return ENOSYS;
    default:
      return EIO;
  }
}

// Returns the errno of a status and writes its message, with C's names in place
// of C++'s.
inline int Report(const absl::Status& status, char* message,
                  size_t message_size) {
  if (!status.ok() && message_size != 0) {
    const std::string text = absl::StrReplaceAll(
        status.message(),
        {{"PoolOptions.debug.", "tandem_pool_options."},
         {"PoolOptions.", "tandem_pool_options."},
         {"SessionOptions.", "tandem_allocator_options."},
         {"TrimmerOptions.every", "tandem_trimmer_options.every_ms"},
         {"pressure_trigger is -1", "on_pressure is false"},
         {"classes.size()", "class_count"},
         {"kAuto", "TANDEM_BIAS_AUTO"},
         {"kBiased", "TANDEM_BIAS_BIASED"},
         {"kShared", "TANDEM_BIAS_SHARED"},
         {"kExplicit", "TANDEM_HUGE_PAGES_EXPLICIT"},
         {"kBind", "TANDEM_NUMA_BIND"}});
    const size_t length = std::min(text.size(), message_size - 1);
    std::memcpy(message, text.data(), length);
    message[length] = '\0';
  }
  return ErrnoOf(status);
}

// Runs `create`, which returns an errno and may use operator new. ENOMEM, with
// an empty message, if there is no memory for it (E1).
template <class Create>
int OrNoMemory(char* message, size_t message_size, Create create) noexcept {
  int result = 0;
  if (HasMemoryFor([&] { result = create(); })) return result;
  if (message_size != 0) *message = '\0';
  return ENOMEM;
}

}  // namespace tandem::c

#endif  // TANDEM_C_VERSIONED_H_
