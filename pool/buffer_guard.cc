#include "tandem/pool/buffer_guard.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "absl/log/log.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#if defined(__SANITIZE_ADDRESS__)
#define TANDEM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TANDEM_ASAN 1
#endif
#endif
#ifdef TANDEM_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace tandem {
namespace {

#ifdef TANDEM_ASAN
constexpr bool kPoisons = true;
void Poison(const void* start, size_t size) {
  __asan_poison_memory_region(start, size);
}
void Unpoison(const void* start, size_t size) {
  __asan_unpoison_memory_region(start, size);
}
#else
constexpr bool kPoisons = false;
void Poison(const void*, size_t) {}
void Unpoison(const void*, size_t) {}
#endif

// What idle buffers and canaries are filled with: the buffer's own, so that a
// copy of another one's is noticed as well.
std::byte PatternOf(BufferIndex index) {
  return std::byte(0xA5 ^ (static_cast<uint32_t>(index) & 0x3F));
}

// Position of the first byte that is not `pattern`; size() if all are.
size_t FirstOther(std::span<const std::byte> bytes, std::byte pattern) {
  return std::find_if(bytes.begin(), bytes.end(),
                      [&](std::byte b) { return b != pattern; }) -
         bytes.begin();
}

}  // namespace

absl::StatusOr<BufferGuard> BufferGuard::Create(const PoolOptions& options) {
  if (!options.detect_misuse && !options.debug.strict_misuse &&
      !options.debug.record_caller && !options.debug.integrity &&
      !options.debug.canaries) {
    return BufferGuard(options, Mapping());
  }
  absl::StatusOr<Mapping> states =
      Mapping::Create(sizeof(State) * options.capacity);
  if (!states.ok()) return std::move(states).status();
  return BufferGuard(options, *std::move(states));
}

BufferGuard::BufferGuard(const PoolOptions& options, Mapping states)
    : pool_name_(options.name),
      states_mapping_(std::move(states)),
      states_(reinterpret_cast<State*>(states_mapping_.bytes().data())),
      checks_(kPoisons || options.zero_on_release ||
                      options.debug.strict_misuse ||
                      options.debug.record_caller || options.debug.integrity ||
                      options.debug.canaries
                  ? Checks::kExtras
              : states_ != nullptr ? Checks::kPlain
                                   : Checks::kNone),
      strict_(options.debug.strict_misuse),
      zero_on_release_(options.zero_on_release),
      record_caller_(options.debug.record_caller),
      integrity_(options.debug.integrity),
      canaries_(options.debug.canaries) {}

void BufferGuard::OnTakeExtras(const Region& region, BufferIndex index,
                               const void* caller) {
  if (states_ != nullptr) MarkTaken(region, index);
  std::byte* const buffer = region.Address(index);
  Unpoison(buffer, region.buffer_size());
  if (record_caller_) {
    StateOf(index).caller =
        caller != nullptr ? caller : __builtin_return_address(0);
  }
  const std::byte pattern = PatternOf(index);
  if (canaries_) {
    std::byte* const canary = buffer + region.buffer_size();
    Unpoison(canary, kCanaryBytes);
    std::memset(canary, static_cast<int>(pattern), kCanaryBytes);
    Poison(canary, kCanaryBytes);
  }
  // A buffer that was never released before has no pattern yet.
  if (integrity_ && StateOf(index).filled) {
    const size_t at = FirstOther({buffer, region.buffer_size()}, pattern);
    if (at != region.buffer_size()) {
      Die(region, index,
          absl::StrCat("written at byte ", at, " after its release").c_str());
    }
  }
}

void BufferGuard::OnGiveExtras(const Region& region, BufferIndex index,
                               const void* caller) {
  if (strict_) {
    if (std::atomic_ref(StateOf(index).taken).exchange(0) == 0) {
      Die(region, index, "released twice");
    }
  } else if (states_ != nullptr) {
    MarkIdle(region, index);
  }
  std::byte* const buffer = region.Address(index);
  const std::byte pattern = PatternOf(index);
  if (canaries_) {
    std::byte* const canary = buffer + region.buffer_size();
    Unpoison(canary, kCanaryBytes);
    const size_t at = FirstOther({canary, kCanaryBytes}, pattern);
    if (at != kCanaryBytes) {
      Die(region, index,
          absl::StrCat("written ", at, " bytes past its end").c_str());
    }
  }
  if (record_caller_) {
    StateOf(index).caller =
        caller != nullptr ? caller : __builtin_return_address(0);
  }
  if (integrity_) {
    std::memset(buffer, static_cast<int>(pattern), region.buffer_size());
    StateOf(index).filled = true;
  } else if (zero_on_release_) {
    std::memset(buffer, 0, region.buffer_size());
  }
  Poison(buffer, region.buffer_size());
}

void BufferGuard::OnCreate(const Region& region) {
  Poison(region.bytes().data(), region.bytes().size());
}

void BufferGuard::OnDestroy(const Region& region) {
  Unpoison(region.bytes().data(), region.bytes().size());
}

void BufferGuard::DieOfForeignPointer(const Region& region,
                                      const void* pointer) const {
  const std::span<const std::byte> bytes = region.bytes();
  const bool inside =
      pointer >= bytes.data() && pointer < bytes.data() + bytes.size();
  LOG(FATAL) << "tandem: pool \"" << pool_name_ << "\": " << pointer
             << (inside ? " is inside the pool, but is not the start of a "
                          "buffer (misaligned)"
                        : " is not a buffer of this pool (foreign)")
             << "; its memory is " << static_cast<const void*>(bytes.data())
             << " to " << static_cast<const void*>(bytes.data() + bytes.size());
}

void BufferGuard::Die(const Region& region, BufferIndex index,
                      const char* what) const {
  const void* const caller = record_caller_ ? StateOf(index).caller : nullptr;
  LOG(FATAL) << "tandem: pool \"" << pool_name_ << "\": buffer "
             << static_cast<const void*>(region.Address(index)) << " (number "
             << static_cast<uint32_t>(index) << ") was " << what
             << (record_caller_
                     ? absl::StrFormat("; last taken or released by %p", caller)
                     : "");
}

}  // namespace tandem
