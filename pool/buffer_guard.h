#ifndef TANDEM_POOL_BUFFER_GUARD_H_
#define TANDEM_POOL_BUFFER_GUARD_H_

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "tandem/pool/options.h"
#include "tandem/pool/region.h"
#include "tandem/pool/types.h"

namespace tandem {

// What a pool checks and does on every way in and out of it: misuse that is
// told (P7), poison, patterns, canaries, callers (P9).
//
// Threads:   OnTake and OnGive by who owns the buffer then; async-signal-safe.
// Cost:      with the misuse check alone a load and a store on a line that no
//            other buffer's owner writes; without it nothing; one branch for
//            everything else together.
// Aborts:    with a message that names the pointer and the pool.
class BufferGuard {
 public:
  static absl::StatusOr<BufferGuard> Create(const PoolOptions& options);

  // The buffer passes to a user. `caller` is who asked for it; null for who
  // calls this, inlined all the way up into the user's own code.
  [[gnu::always_inline]] void OnTake(const Region& region, BufferIndex index,
                                     const void* caller = nullptr) {
    if (checks_ == Checks::kPlain) [[likely]] {
      MarkTaken(region, index);
    } else if (checks_ != Checks::kNone) {
      OnTakeExtras(region, index, caller);
    }
  }

  // The buffer comes back.
  [[gnu::always_inline]] void OnGive(const Region& region, BufferIndex index,
                                     const void* caller = nullptr) {
    if (checks_ == Checks::kPlain) [[likely]] {
      MarkIdle(region, index);
    } else if (checks_ != Checks::kNone) {
      OnGiveExtras(region, index, caller);
    }
  }

  // The buffer's memory has been given back to the system.
  void OnDiscard(BufferIndex index) {
    if (states_ != nullptr) StateOf(index).filled = false;
  }

  // Called once the pool exists, all buffers idle; and before it goes, after
  // which the memory is ordinary again.
  void OnCreate(const Region& region);
  void OnDestroy(const Region& region);

  [[noreturn]] void DieOfForeignPointer(const Region& region,
                                        const void* pointer) const;

 private:
  struct alignas(kCacheLine) State {
    uint32_t taken;
    bool filled;         // with the pattern of DebugOptions::integrity
    const void* caller;  // who last took or released it
  };

  // What an operation has to do, in one word for one look.
  enum class Checks : uint8_t { kNone, kPlain, kExtras };

  BufferGuard(const PoolOptions& options, Mapping states);

  State& StateOf(BufferIndex index) const {
    return states_[static_cast<uint32_t>(index)];
  }

  void MarkTaken(const Region& region, BufferIndex index) {
    // relaxed, as in MarkIdle: whoever hands the buffer on publishes this too.
    const std::atomic_ref<uint32_t> taken(StateOf(index).taken);
    if (taken.load(std::memory_order::relaxed) != 0) [[unlikely]] {
      Die(region, index, "handed out twice: two releases raced");
    }
    taken.store(1, std::memory_order::relaxed);
  }

  void MarkIdle(const Region& region, BufferIndex index) {
    const std::atomic_ref<uint32_t> taken(StateOf(index).taken);
    if (taken.load(std::memory_order::relaxed) == 0) [[unlikely]] {
      Die(region, index, "released twice");
    }
    taken.store(0, std::memory_order::relaxed);
  }

  [[gnu::noinline]] void OnTakeExtras(const Region& region, BufferIndex index,
                                      const void* caller);
  [[gnu::noinline]] void OnGiveExtras(const Region& region, BufferIndex index,
                                      const void* caller);
  [[noreturn]] void Die(const Region& region, BufferIndex index,
                        const char* what) const;

  std::string pool_name_;
  Mapping states_mapping_;
  State* states_;  // by index; null: no misuse check, no caller
  Checks checks_;  // kPlain: that for double release alone
  bool strict_;
  bool zero_on_release_;
  bool record_caller_;
  bool integrity_;
  bool canaries_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_BUFFER_GUARD_H_
