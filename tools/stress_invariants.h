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

// Who holds a buffer, as far as the program under stress knows: 0 for nobody.
enum class OwnerTag : uint32_t {};
inline constexpr OwnerTag kNobody{0};

// Ends the process with exit code 1, after saying which invariant is broken,
// how, and what the pool looks like.
[[noreturn]] void Violated(std::string_view invariant, std::string_view what);

// The pool that Violated and the watchdog describe. Null for none.
void DescribeOnFailure(const BufferPool* pool);

// The pool's state in a few lines, for people.
void PrintSnapshot(const BufferPool& pool);

// A second book on who holds which buffer, kept by those who hold them, and
// what they write into the buffers. It must always agree with the pool.
//
// Threads: any. All accesses are relaxed: the book must not order what the
// pool itself ought to order, or ThreadSanitizer would see less.
class OwnershipTable {
 public:
  explicit OwnershipTable(BufferPool& pool);

  // `owner` has just got the buffer: nobody else may have it. Writes a pattern
  // over all of it, or over both its ends.
  void Take(std::byte* buffer, OwnerTag owner, bool whole);

  // The owner is about to give the buffer back: all that was written into it
  // must still be there.
  void Give(std::byte* buffer, OwnerTag owner);

  // As Give, but says who the owner was: for buffers that change hands between
  // threads.
  OwnerTag OwnerOf(const std::byte* buffer) const;

  // The owner still holds the buffer, untouched.
  void Check(std::byte* buffer, OwnerTag owner) const;

  // Buffers in somebody's hands. Never more than there really are: counted
  // after they are taken and before they are given back.
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
