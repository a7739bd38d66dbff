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

// The holder of a buffer that has been taken.
enum class Holder : uint8_t {
  kUser,     // the code that has acquired it
  kSession,  // a side of a session (session/session_buffers.h)
};

// What a pool checks and does when a buffer leaves or enters it: reporting
// misuse (P7), poison, patterns, canaries, callers (P9).
//
// The misuse check keeps a word for each buffer. The word names the buffer
// while it is taken, and tells whether a session holds it, and whether the
// kernel uses it. Every pointer, even a foreign or misaligned one, leads to
// some word; a released buffer must be named in its word. A foreign or
// misaligned pointer is not, nor is a buffer that has been released already,
// that a session still holds, or that the kernel still uses. Every word is on a
// line of its own, which only the buffer's owner writes.
//
// Everything else is an extra: a pool with extras has no fast path.
//
// Threads:   the owner of the buffer; async-signal-safe.
// Cost:      of the misuse check: a store for each buffer that is taken, a load
//            and a store for each that is released. Without the check: a test.
// Aborts:    with a message that names the pointer and the pool.
class MisuseCheck {
 public:
  static absl::StatusOr<MisuseCheck> Create(const PoolOptions& options,
                                            const Region& region);

  // True if OnTake and OnGive must be called, instead of MarkTaken and
  // MarkIdle.
  bool has_extras() const { return has_extras_; }

  // Buffers pass to a holder, and come back from it.
  [[gnu::always_inline]] void MarkTaken(std::span<std::byte* const> buffers,
                                        Holder holder = Holder::kUser) {
    std::byte* const states = fast_states_;
    if (states == nullptr) return;
    const Finder finder = finder_;
#pragma GCC unroll 4
    for (std::byte* const buffer : buffers) {
      // relaxed, as in MarkIdle: a thread that hands the buffer on publishes
      // its state, too.
      finder.WordOf(states, buffer)
          .store(InHands(buffer, holder), std::memory_order::relaxed);
    }
  }
  [[gnu::always_inline]] void MarkIdle(std::span<std::byte* const> buffers,
                                       Holder from = Holder::kUser) {
    std::byte* const states = fast_states_;
    if (states == nullptr) return;
    const Finder finder = finder_;
#pragma GCC unroll 4
    for (std::byte* const buffer : buffers) {
      const std::atomic_ref<uint64_t> word = finder.WordOf(states, buffer);
      if (word.load(std::memory_order::relaxed) != InHands(buffer, from))
          [[unlikely]] {
        DieOfMisuse(buffer);
      }
      word.store(kIdle, std::memory_order::relaxed);
    }
  }

  // The same for many at a time.
  [[gnu::always_inline]] void MarkManyTaken(
      std::span<std::byte* const> buffers) {
    if (fast_states_ != nullptr) MarkEachTaken(buffers);
  }
  [[gnu::always_inline]] void MarkManyIdle(
      std::span<std::byte* const> buffers) {
    if (fast_states_ != nullptr) MarkEachIdle(buffers);
  }

  // The same with extras. `caller` is the return address for messages.
  void OnTake(std::byte* buffer, Holder holder, const void* caller);
  void OnGive(std::byte* buffer, Holder from, const void* caller);

  // A buffer passes from one holder to another without being idle in between.
  // It must be a buffer of the pool and, if there is a check, be held by
  // `from`.
  void Pass(std::byte* buffer, Holder from, Holder to);

  // The kernel uses a taken buffer from Lend to Return; meanwhile it cannot be
  // released or passed on. It must be a buffer of the pool and, if there is a
  // check, be taken and not lent already.
  void Lend(std::byte* buffer);
  void Return(std::byte* buffer);

  // The buffer's memory has been given back to the system.
  void OnDiscard(std::byte* buffer);

  // OnCreate: called once the pool exists, with all buffers idle. OnDestroy:
  // called before the pool is destroyed; makes the memory ordinary again.
  void OnCreate(const Region& region);
  void OnDestroy(const Region& region);

 private:
  struct alignas(kCacheLine) State {
    uint64_t holder;     // InHands while it is taken, otherwise kIdle; kLent
    bool filled;         // with the pattern of DebugOptions::integrity
    const void* caller;  // the code that last took or released it
  };
  static constexpr uint64_t kIdle = 0;  // new memory is zero
  // What is added to the address of a taken buffer, so that null is not idle.
  // The one pointer that looks idle, -kTaken, lies in the kernel's half.
  static constexpr uint64_t kTaken = uint64_t{1} << 22;
  // Added to the word while the kernel uses the buffer. No buffer's word has
  // this bit otherwise, as user space addresses are shorter.
  static constexpr uint64_t kLent = uint64_t{1} << 62;

  // Finds a buffer's state. A unit is the largest power of two within a stride,
  // so no two buffers begin in the same unit of the address space. Units are
  // numbered modulo a power of two that is not less than the number of those in
  // which buffers begin.
  struct Finder {
    size_t PlaceOf(const std::byte* pointer) const {
      return (reinterpret_cast<uintptr_t>(pointer) >> shift) & mask;
    }
    std::atomic_ref<uint64_t> WordOf(std::byte* states,
                                     const std::byte* pointer) const {
      return std::atomic_ref(
          reinterpret_cast<State*>(states + PlaceOf(pointer))->holder);
    }

    size_t mask;  // for byte offsets within all states
    int shift;
  };

  // The content of the state's word for this buffer.
  static uint64_t InHands(const std::byte* buffer, Holder holder) {
    return reinterpret_cast<uintptr_t>(buffer) + kTaken +
           (uint64_t{static_cast<uint8_t>(holder)} << 63);
  }

  MisuseCheck(const PoolOptions& options, const Region& region, Mapping states);

  void MarkEachTaken(std::span<std::byte* const> buffers);
  void MarkEachIdle(std::span<std::byte* const> buffers);

  [[noreturn, gnu::cold]] void DieOfMisuse(const std::byte* buffer) const;
  // `seen` is the wrong word that the buffer's state contains.
  [[noreturn, gnu::cold]] void DieOfHands(const std::byte* buffer,
                                          uint64_t seen) const;
  [[noreturn]] void DieOf(const std::byte* buffer, const Message& what) const;

  State& StateOf(const std::byte* buffer) const {
    return *reinterpret_cast<State*>(states_ + finder_.PlaceOf(buffer));
  }

  Finder finder_;
  bool has_extras_;
  std::byte* states_;       // null if there are none
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
