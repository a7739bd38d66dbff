#include "tandem/tools/stress/invariants.h"

#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tandem/pool/snapshot.h"

namespace tandem::stress {
namespace {

std::atomic<const BufferPool*> described{nullptr};
std::atomic<bool> violated{false};

// Words written at each end of a buffer that is not filled as a whole.
constexpr uint32_t kEnd = 4;

}  // namespace

void DescribeOnFailure(const BufferPool* pool) { described = pool; }

void PrintSnapshot(const BufferPool& pool) {
  const PoolSnapshot s = pool.Snapshot();
  absl::PrintF(
      "pool: capacity %u reserve %u available %u cached %u in_use %u "
      "waiting %u shortages %u pressed %d\n",
      s.capacity, s.reserve, s.available, s.cached, s.in_use, s.waiting,
      s.shortages, s.pressed);
  for (size_t i = 0; i < s.threads.size(); ++i) {
    const PoolSnapshot::Thread& t = s.threads[i];
    absl::PrintF(
        "cache %u: %s cached %u refills %u of %u flushes %u of %u "
        "bypasses %u retreats %u steals %u shortages %u failures %u\n",
        i, t.owned ? "owned" : "free", t.cached, t.refills, t.refilled,
        t.flushes, t.flushed, t.bypasses, t.retreats, t.steals, t.shortages,
        t.failures);
  }
}

void Violated(std::string_view invariant, std::string_view what) {
  if (violated.exchange(true)) {
    for (;;) pause();  // The first one ends the process.
  }
  absl::PrintF("\nVIOLATED: %s: %s\n", invariant, what);
  if (const BufferPool* pool = described) PrintSnapshot(*pool);
  std::fflush(nullptr);
  _exit(1);
}

OwnershipTable::OwnershipTable(BufferPool& pool)
    : pool_(pool), entries_(pool.capacity()) {}

OwnershipTable::Entry& OwnershipTable::EntryOf(const std::byte* buffer) const {
  return entries_[static_cast<uint32_t>(pool_.IndexOf(buffer))];
}

std::span<uint64_t> OwnershipTable::WordsOf(std::byte* buffer) const {
  return {reinterpret_cast<uint64_t*>(buffer),
          pool_.buffer_size() / sizeof(uint64_t)};
}

uint64_t OwnershipTable::Pattern(OwnerTag owner, BufferIndex index) {
  return uint64_t{static_cast<uint32_t>(owner)} << 32 |
         static_cast<uint32_t>(index);
}

void OwnershipTable::Take(std::byte* buffer, OwnerTag owner, bool whole) {
  Entry& entry = EntryOf(buffer);
  const uint32_t before = entry.owner.exchange(static_cast<uint32_t>(owner),
                                               std::memory_order::relaxed);
  if (before != 0) {
    Violated(
        "one owner per buffer (P3)",
        absl::StrCat("buffer ", pool_.IndexOf(buffer), " was handed to owner ",
                     owner, " while owner ", before, " held it"));
  }
  const uint32_t held = held_.fetch_add(1, std::memory_order::relaxed) + 1;
  if (held > pool_.capacity()) {
    Violated("never more than capacity (P1)",
             absl::StrCat(held, " buffers are in hands"));
  }
  const std::span<uint64_t> words = WordsOf(buffer);
  const uint64_t pattern = Pattern(owner, pool_.IndexOf(buffer));
  const auto size = static_cast<uint32_t>(words.size());
  const uint32_t start = whole ? size : kEnd;
  for (uint64_t& word : words.first(start)) word = pattern;
  for (uint64_t& word : words.last(kEnd)) word = pattern;
  entry.words.store(start, std::memory_order::relaxed);
}

void OwnershipTable::Check(std::byte* buffer, OwnerTag owner) const {
  const Entry& entry = EntryOf(buffer);
  const BufferIndex index = pool_.IndexOf(buffer);
  const uint32_t now = entry.owner.load(std::memory_order::relaxed);
  if (now != static_cast<uint32_t>(owner)) {
    Violated("one owner per buffer (P3)",
             absl::StrCat("buffer ", index, " of owner ", owner, " belongs to ",
                          now));
  }
  const std::span<uint64_t> words = WordsOf(buffer);
  const uint64_t pattern = Pattern(owner, index);
  const auto check = [&](std::span<const uint64_t> part) {
    for (const uint64_t word : part) {
      if (word == pattern) continue;
      Violated("nobody else writes into a buffer (P3)",
               absl::StrFormat("buffer %u of owner %u holds %x, not %x",
                               static_cast<uint32_t>(index),
                               static_cast<uint32_t>(owner), word, pattern));
    }
  };
  check(words.first(entry.words.load(std::memory_order::relaxed)));
  check(words.last(kEnd));
}

void OwnershipTable::Give(std::byte* buffer, OwnerTag owner) {
  Check(buffer, owner);
  held_.fetch_sub(1, std::memory_order::relaxed);
  EntryOf(buffer).owner.store(0, std::memory_order::relaxed);
}

OwnerTag OwnershipTable::OwnerOf(const std::byte* buffer) const {
  return OwnerTag{EntryOf(buffer).owner.load(std::memory_order::relaxed)};
}

}  // namespace tandem::stress
