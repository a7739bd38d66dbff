#ifndef TANDEM_TOOLS_STRESS_INVARIANTS_H_
#define TANDEM_TOOLS_STRESS_INVARIANTS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "tandem/pool/buffer_pool.h"
#include "tandem/pool/types.h"

namespace tandem::stress {

// The holder of a buffer, as far as the stress program knows: 0 for none.
enum class OwnerTag : uint32_t {};
inline constexpr OwnerTag kNobody{0};

// Ends the process with exit code 1, after printing which invariant is broken,
// how, and the pool's state.
[[noreturn]] void Violated(std::string_view invariant, std::string_view what);

// The pool that Violated and the watchdog describe. Null for none.
void DescribeOnFailure(const BufferPool* pool);

// Prints the pool's state in a few readable lines.
void PrintSnapshot(const BufferPool& pool);

// A second record of the holder of each buffer, kept by the holders, and of
// what they write into the buffers. It must always agree with the pool.
//
// Threads: any. All accesses are relaxed: this record must not order what the
//          pool itself must order, or ThreadSanitizer would miss errors.
class OwnershipTable {
 public:
  explicit OwnershipTable(BufferPool& pool);

  // `owner` has just got the buffer: no other owner may have it. Writes a
  // pattern over the whole buffer, or over both its ends.
  void Take(std::byte* buffer, OwnerTag owner, bool whole);

  // The owner is about to give the buffer back: everything that was written
  // into it must still be there.
  void Give(std::byte* buffer, OwnerTag owner);

  // As Give, but returns the owner: for buffers that change hands between
  // threads.
  OwnerTag OwnerOf(const std::byte* buffer) const;

  // The owner still holds the buffer, unchanged.
  void Check(std::byte* buffer, OwnerTag owner) const;

  // Buffers that have a holder. Never more than the real number: counted after
  // they are taken and before they are given back.
  uint32_t held() const { return held_.load(std::memory_order::relaxed); }

 private:
  struct Entry {
    std::atomic<uint32_t> owner{0};
    std::atomic<uint32_t> words{0};  // written at the buffer's start
  };

  Entry& EntryOf(const std::byte* buffer) const;
  std::span<uint64_t> WordsOf(std::byte* buffer) const;
  static uint64_t Pattern(OwnerTag owner, BufferIndex index);

  BufferPool& pool_;
  mutable std::vector<Entry> entries_;
  std::atomic<uint32_t> held_{0};
};

}  // namespace tandem::stress

#endif  // TANDEM_TOOLS_STRESS_INVARIANTS_H_
