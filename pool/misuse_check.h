#ifndef TANDEM_POOL_MISUSE_CHECK_H_
#define TANDEM_POOL_MISUSE_CHECK_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "tandem/pool/buffer_map.h"
#include "tandem/pool/die.h"
#include "tandem/pool/options.h"
#include "tandem/pool/region.h"
#include "tandem/pool/types.h"

namespace tandem {

// Whose hands a taken buffer is in.
enum class Holder : uint8_t {
  kUser,     // whoever has acquired it
  kSession,  // a session's side (session/session_buffers.h)
};

// What a pool checks and does on every way in and out of it: misuse that is
// told (P7), poison, patterns, canaries, callers (P9).
//
// The misuse check keeps, for each buffer, a word that names it while somebody
// has it, and tells whether that is a session. Every pointer, foreign and
// misaligned ones included, leads to some word; what is released must be named
// there. A foreign or misaligned pointer is not, nor is one that was released
// before, or that a session still holds. Every word is on a line of its own,
// which only the buffer's owner writes.
//
// Everything else is an extra, for which a pool gives up its fast path.
//
// Threads:   a buffer's owner; async-signal-safe.
// Cost:      of the misuse check: a store for each buffer that is taken, a load
//            and a store for each that is released. Without it: a test.
// Aborts:    with a message that names the pointer and the pool.
class MisuseCheck {
 public:
  static absl::StatusOr<MisuseCheck> Create(const PoolOptions& options,
                                            const Region& region);

  // True if OnTake and OnGive must be called, MarkTaken and MarkIdle not.
  bool has_extras() const { return has_extras_; }

  // Buffers pass to `holder`, and come back from it.
  [[gnu::always_inline]] void MarkTaken(std::span<std::byte* const> buffers,
                                        Holder holder = Holder::kUser) {
    std::byte* const states = fast_states_;
    if (states == nullptr) return;
    const Finder finder = finder_;
#pragma GCC unroll 4
    for (std::byte* const buffer : buffers) {
      const uint64_t key = finder.KeyOf(buffer);
      // relaxed, as below: whoever hands the buffer on publishes this too.
      finder.WordOf(states, key)
          .store(InHands(key, holder), std::memory_order::relaxed);
    }
  }
  [[gnu::always_inline]] void MarkIdle(std::span<std::byte* const> buffers,
                                       Holder from = Holder::kUser) {
    std::byte* const states = fast_states_;
    if (states == nullptr) return;
    const Finder finder = finder_;
#pragma GCC unroll 4
    for (std::byte* const buffer : buffers) {
      const uint64_t key = finder.KeyOf(buffer);
      const std::atomic_ref<uint64_t> word = finder.WordOf(states, key);
      if (word.load(std::memory_order::relaxed) != InHands(key, from))
          [[unlikely]] {
        DieOfMisuse(buffer);
      }
      word.store(kIdle, std::memory_order::relaxed);
    }
  }

  // The same with extras. `caller` is whose doing it is.
  void OnTake(std::byte* buffer, Holder holder, const void* caller);
  void OnGive(std::byte* buffer, Holder from, const void* caller);

  // A buffer passes from one pair of hands to another, without having been
  // idle: it must be one of the pool's and, if there is a check, in `from`.
  void Pass(std::byte* buffer, Holder from, Holder to);

  // The buffer's memory has been given back to the system.
  void OnDiscard(std::byte* buffer);

  // Called once the pool exists, all buffers idle; and before it goes, after
  // which the memory is ordinary again.
  void OnCreate(const Region& region);
  void OnDestroy(const Region& region);

 private:
  struct alignas(kCacheLine) State {
    uint64_t holder;     // InHands while it is taken, kIdle else
    bool filled;         // with the pattern of DebugOptions::integrity
    const void* caller;  // who last took or released it
  };
  static constexpr uint64_t kIdle = 0;  // as memory is at first

  // Finds a buffer's state. A key is the distance from an origin, which is the
  // largest power of two within a stride, a unit, before the first buffer: so
  // no buffer has the key 0, nor has null, and no two are in the same unit.
  // Units are numbered modulo a power of two that is more than there are.
  struct Finder {
    uint64_t KeyOf(const std::byte* pointer) const {
      return reinterpret_cast<uintptr_t>(pointer) - origin;
    }
    size_t PlaceOf(uint64_t key) const { return (key >> shift) & mask; }
    std::atomic_ref<uint64_t> WordOf(std::byte* states, uint64_t key) const {
      return std::atomic_ref(
          reinterpret_cast<State*>(states + PlaceOf(key))->holder);
    }

    uintptr_t origin;
    size_t mask;  // of bytes within all states
    int shift;
  };

  // What a state's word says of the buffer with this key.
  static uint64_t InHands(uint64_t key, Holder holder) {
    return key | uint64_t{static_cast<uint8_t>(holder)} << 63;
  }
  uint64_t InHands(const std::byte* buffer, Holder holder) const {
    return InHands(finder_.KeyOf(buffer), holder);
  }

  MisuseCheck(const PoolOptions& options, const Region& region, Mapping states);

  [[noreturn, gnu::cold]] void DieOfMisuse(const std::byte* buffer) const;
  // `seen` is what the buffer's state says instead of what it should.
  [[noreturn, gnu::cold]] void DieOfHands(const std::byte* buffer,
                                          uint64_t seen) const;
  [[noreturn]] void DieOf(const std::byte* buffer, const Message& what) const;

  State& StateOf(const std::byte* buffer) const {
    return *reinterpret_cast<State*>(states_ +
                                     finder_.PlaceOf(finder_.KeyOf(buffer)));
  }

  Finder finder_;
  bool has_extras_;
  std::byte* states_;       // null: none are kept
  std::byte* fast_states_;  // states_; null if there are extras
  bool strict_;
  bool zero_on_release_;
  bool record_caller_;
  bool integrity_;
  bool canaries_;
  size_t buffer_size_;
  BufferMap map_;
  Mapping states_mapping_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_MISUSE_CHECK_H_
