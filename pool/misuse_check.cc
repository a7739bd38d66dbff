#include "tandem/pool/misuse_check.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "absl/status/statusor.h"
#include "tandem/pool/die.h"

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

// The fill pattern of idle buffers and canaries. It depends on the buffer, so
// that a copy of a neighbor's pattern is noticed as well.
std::byte PatternOf(BufferIndex index) {
  return std::byte(0xA5 ^ (static_cast<uint32_t>(index) & 0x3F));
}

// The position of the first byte that is not `pattern`; size() if all are.
size_t FirstOther(std::span<const std::byte> bytes, std::byte pattern) {
  return std::find_if(bytes.begin(), bytes.end(),
                      [&](std::byte b) { return b != pattern; }) -
         bytes.begin();
}

}  // namespace

absl::StatusOr<MisuseCheck> MisuseCheck::Create(const PoolOptions& options,
                                                const Region& region) {
  if (!options.detect_misuse && !options.debug.strict_misuse &&
      !options.debug.record_caller && !options.debug.integrity &&
      !options.debug.canaries) {
    return MisuseCheck(options, region, Mapping());
  }
  // One more, as the first buffer need not begin with a unit.
  const BufferMap& map = region.map();
  const size_t count =
      map.stride() * map.capacity() / std::bit_floor(map.stride()) + 1;
  absl::StatusOr<Mapping> states =
      Mapping::Create(sizeof(State) * std::bit_ceil(count));
  if (!states.ok()) return std::move(states).status();
  return MisuseCheck(options, region, *std::move(states));
}

MisuseCheck::MisuseCheck(const PoolOptions& options, const Region& region,
                         Mapping states)
    : finder_{.mask = std::bit_floor(states.bytes().size()) - sizeof(State),
              .shift = static_cast<int>(std::bit_width(region.map().stride())) -
                       static_cast<int>(std::bit_width(sizeof(State)))},
      has_extras_(kPoisons || options.zero_on_release ||
                  options.debug.strict_misuse || options.debug.record_caller ||
                  options.debug.integrity || options.debug.canaries),
      states_(states.bytes().data()),
      fast_states_(has_extras_ ? nullptr : states_),
      strict_(options.debug.strict_misuse),
      zero_on_release_(options.zero_on_release),
      record_caller_(options.debug.record_caller),
      integrity_(options.debug.integrity),
      canaries_(options.debug.canaries),
      buffer_size_(region.buffer_size()),
      map_(region.map()),
      states_mapping_(std::move(states)) {}

void MisuseCheck::MarkEachTaken(std::span<std::byte* const> buffers) {
  MarkTaken(buffers);
}
void MisuseCheck::MarkEachIdle(std::span<std::byte* const> buffers) {
  MarkIdle(buffers);
}

void MisuseCheck::OnTake(std::byte* buffer, Holder to, const void* caller) {
  if (states_ != nullptr) {
    State& state = StateOf(buffer);
    // relaxed, as in MarkTaken.
    const std::atomic_ref holder(state.holder);
    if (holder.load(std::memory_order::relaxed) != kIdle) {
      DieOf(buffer, Message("handed out twice: two releases raced"));
    }
    holder.store(InHands(buffer, to), std::memory_order::relaxed);
    if (record_caller_) state.caller = caller;
  }
  Unpoison(buffer, buffer_size_);
  const std::byte pattern = PatternOf(map_.IndexOf(buffer));
  if (canaries_) {
    std::byte* const canary = buffer + buffer_size_;
    Unpoison(canary, kCanaryBytes);
    std::memset(canary, static_cast<int>(pattern), kCanaryBytes);
    Poison(canary, kCanaryBytes);
  }
  // A buffer that has never been released has no pattern yet.
  if (integrity_ && StateOf(buffer).filled) {
    const size_t at = FirstOther({buffer, buffer_size_}, pattern);
    if (at != buffer_size_) {
      DieOf(buffer, Message("written at byte ", at, " after its release"));
    }
  }
}

void MisuseCheck::OnGive(std::byte* buffer, Holder from, const void* caller) {
  const std::byte pattern = PatternOf(map_.IndexOf(buffer));
  if (states_ != nullptr) {
    const std::atomic_ref holder(StateOf(buffer).holder);
    // relaxed, as in MarkIdle.
    const uint64_t seen = strict_ ? holder.exchange(kIdle)
                                  : holder.load(std::memory_order::relaxed);
    if (seen != InHands(buffer, from)) DieOfHands(buffer, seen);
    holder.store(kIdle, std::memory_order::relaxed);
  }
  if (canaries_) {
    std::byte* const canary = buffer + buffer_size_;
    Unpoison(canary, kCanaryBytes);
    const size_t at = FirstOther({canary, kCanaryBytes}, pattern);
    if (at != kCanaryBytes) {
      DieOf(buffer, Message("written ", at, " bytes past its end"));
    }
  }
  if (record_caller_) StateOf(buffer).caller = caller;
  if (integrity_) {
    std::memset(buffer, static_cast<int>(pattern), buffer_size_);
    StateOf(buffer).filled = true;
  } else if (zero_on_release_) {
    std::memset(buffer, 0, buffer_size_);
  }
  Poison(buffer, buffer_size_);
}

void MisuseCheck::Pass(std::byte* buffer, Holder from, Holder to) {
  map_.IndexOf(buffer);
  if (states_ == nullptr) return;
  // relaxed, as in MarkTaken.
  const std::atomic_ref holder(StateOf(buffer).holder);
  const uint64_t seen = holder.load(std::memory_order::relaxed);
  if (seen == kIdle) DieOf(buffer, Message("adopted while nobody has it"));
  if (seen != InHands(buffer, from)) DieOfHands(buffer, seen);
  holder.store(InHands(buffer, to), std::memory_order::relaxed);
}

void MisuseCheck::Lend(std::byte* buffer) {
  map_.IndexOf(buffer);
  if (states_ == nullptr) return;
  // relaxed, as in MarkTaken.
  const std::atomic_ref holder(StateOf(buffer).holder);
  const uint64_t seen = holder.load(std::memory_order::relaxed);
  if (seen == kIdle) DieOf(buffer, Message("lent while nobody has it"));
  if ((seen & kLent) != 0) DieOf(buffer, Message("lent twice"));
  holder.store(seen | kLent, std::memory_order::relaxed);
}

void MisuseCheck::Return(std::byte* buffer) {
  if (states_ == nullptr) return;
  // relaxed, as in MarkTaken.
  const std::atomic_ref holder(StateOf(buffer).holder);
  holder.store(holder.load(std::memory_order::relaxed) & ~kLent,
               std::memory_order::relaxed);
}

void MisuseCheck::OnDiscard(std::byte* buffer) {
  if (integrity_) StateOf(buffer).filled = false;
}

void MisuseCheck::OnCreate(const Region& region) {
  Poison(region.bytes().data(), region.bytes().size());
}

void MisuseCheck::OnDestroy(const Region& region) {
  Unpoison(region.bytes().data(), region.bytes().size());
}

void MisuseCheck::DieOfMisuse(const std::byte* buffer) const {
  map_.IndexOf(buffer);
  // relaxed: only the message depends on it.
  DieOfHands(
      buffer,
      std::atomic_ref(StateOf(buffer).holder).load(std::memory_order::relaxed));
}

void MisuseCheck::DieOfHands(const std::byte* buffer, uint64_t seen) const {
  if (seen == kIdle) {
    DieOf(buffer, Message("released twice"));
  }
  if (seen == (InHands(buffer, Holder::kUser) | kLent) ||
      seen == (InHands(buffer, Holder::kSession) | kLent)) {
    DieOf(buffer, Message("released or adopted while the kernel uses it"));
  }
  if (seen == InHands(buffer, Holder::kSession)) {
    DieOf(buffer, Message("released or adopted while a session holds it"));
  }
  DieOf(buffer, Message("released by a session that does not hold it"));
}

void MisuseCheck::DieOf(const std::byte* buffer, const Message& what) const {
  Message message("tandem: pool \"", map_.pool_name(), "\": buffer ", buffer,
                  " (number ", static_cast<uint32_t>(map_.IndexOf(buffer)),
                  ") was ", what);
  if (record_caller_) {
    message.Append("; last taken or released by ");
    message.Append(StateOf(buffer).caller);
  }
  DieWith(message);
}

}  // namespace tandem
