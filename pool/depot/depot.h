#ifndef TANDEM_POOL_DEPOT_DEPOT_H_
#define TANDEM_POOL_DEPOT_DEPOT_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/buffer_map.h"
#include "tandem/pool/cache/spare_magazines.h"
#include "tandem/pool/counters.h"
#include "tandem/pool/depot/magazine_stack.h"
#include "tandem/pool/depot/tagged_stack.h"
#include "tandem/pool/types.h"

namespace tandem {

// One shard of the depot, on a cache line of its own.
template <class Platform>
struct alignas(kCacheLine) DepotShard {
  MagazineStack<Platform> magazines;
  MagazineStack<Platform> empties;
  TaggedStack<Platform, BufferIndex> loose;
};

// The depot, the shared store: every buffer that is in no cache and in nobody's
// hands. It has a shard for each core. Buffers that are released together stay
// together, in a magazine; a lot of less than half a magazine is loose: its
// buffers are known by number and linked. A thread uses its own core's shard
// first, then the others, then the cold buffers, whose memory has been given
// back to the system, and last the buffers that have never been used, which are
// a range of numbers.
//
// Magazines are taken into use one by one; there are four times as many as hold
// all buffers. A thread keeps a few of the empty magazines that it has emptied;
// the rest go to the shard that they came from. Magazines can run out: a lot
// takes a whole one, however few of its buffers stay in it. Then lots are
// loose.
//
// No buffer that has been credited moves from one place to another unless it
// has been reserved: so a thread with a reservation finds its buffers.
//
// Threads:  any, signal handlers included. Progress: lock-free.
// Cost:     a push or a pop in magazines is one compare-and-swap for any number
//           of buffers, and one more for up to four magazines if the thread has
//           no spare one, or too many. For loose buffers it is one, and a link
//           access for each buffer.
template <class Platform>
class Depot {
 public:
  using Stack = TaggedStack<Platform, BufferIndex>;
  using Link = typename Stack::Link;
  using Box = Magazine<Platform>;
  using Spares = SpareMagazines<Platform>;

  // All must outlive this object, and are zero or default-constructed; `links`
  // has an entry for each buffer. No buffer has been used.
  Depot(const BufferMap& map, std::span<DepotShard<Platform>> cores,
        std::span<Link> links, std::span<Box> magazines)
      : map_(map),
        cores_(cores),
        links_(links),
        magazines_(magazines),
        used_(0),
        magazines_used_(0) {}

  // The number of magazines of a pool: enough for the smallest lots, within
  // what a position can name.
  static constexpr uint32_t MagazinesFor(uint32_t capacity) {
    return std::min(capacity / kLeastLot, Box::kMostMagazines);
  }

  CoreId CurrentCore() const {
    return CoreId{Platform::CurrentCore() %
                  static_cast<uint32_t>(cores_.size())};
  }

  // Gives up `buffers` to the caller's core. They are not counted yet:
  // Ledger::Credit does that. `spares`, here and below, are the calling
  // thread's, or null.
  void Push(CoreId core, std::span<std::byte* const> buffers, Spares* spares) {
    DepotShard<Platform>& pool = PoolOf(core);
    MagazineChain chain;
    while (buffers.size() >= kLeastLot) {
      const auto lot =
          buffers.first(std::min<size_t>(buffers.size(), Box::kSize));
      if (!Fill(chain, lot, pool, spares)) break;
      buffers = buffers.subspan(lot.size());
    }
    if (!chain.empty()) pool.magazines.Push(magazines_, chain);
    PushLinked(pool.loose, buffers);
  }
  void PushCold(std::span<std::byte* const> buffers) {
    PushLinked(cold_, buffers);
  }

  // Fills `out`, for which the caller holds a reservation. The ledger's rule
  // guarantees that enough buffers lie in the depot: if a round over all of it
  // finds none, another operation has made progress.
  void Collect(CoreId core, std::span<std::byte*> out, Spares* spares) {
    while (!out.empty()) {
      out = out.subspan(PopWarm(core, out, spares));
      out = out.subspan(PopLinked(cold_, out));
      out = out.subspan(TakeUnused(out));
    }
  }

  // Stores `second` with `first`. The caller owns both; the link is valid until
  // it gives either away. The thread that receives `first` may read it.
  void Chain(const std::byte* first, const std::byte* second) {
    // relaxed: the transfer of `first` publishes it.
    links_[NumberOf(first)].store(NumberOf(second), std::memory_order::relaxed);
  }
  std::byte* ChainedTo(const std::byte* first) const {
    // relaxed: as above.
    return map_.Address(
        BufferIndex{links_[NumberOf(first)].load(std::memory_order::relaxed)});
  }

  // Takes up to out.size() buffers, none of them cold or never used. Returns
  // how many.
  size_t PopWarm(CoreId core, std::span<std::byte*> out, Spares* spares) {
    size_t count = 0;
    const auto own = static_cast<uint32_t>(core);
    for (size_t i = 0; i < cores_.size() && count < out.size(); ++i) {
      const size_t shard =
          own + i < cores_.size() ? own + i : own + i - cores_.size();
      count += PopBoxed(cores_[shard], out.subspan(count), spares);
      count += PopLinked(cores_[shard].loose, out.subspan(count));
    }
    return count;
  }

  // Visits all magazines, and all loose buffers, of the shard.
  size_t Count(const DepotShard<Platform>& pool) const {
    return pool.magazines.Count(magazines_) + pool.loose.Count(links_);
  }
  // Visits the cold buffers, but not those that were never used.
  size_t CountCold() const {
    return cold_.Count(links_) + map_.capacity() - used_.load();
  }
  uint64_t cold_changes() const { return cold_.changes(); }
  uint32_t magazines_used() const { return magazines_used_.load(); }
  // Lots large enough for a magazine that found none.
  uint64_t lots_without_magazine() const {
    return lots_without_magazine_.Get();
  }

  std::span<const DepotShard<Platform>> cores() const { return cores_; }

 private:
  // A smaller lot is loose.
  static constexpr uint32_t kLeastLot = Platform::kLeastInMagazine;
  // The unit of conversion between addresses and numbers.
  using Piece = std::array<BufferIndex, Box::kSize / 2>;
  using Count32 = typename Platform::template Atomic<uint32_t>;

  DepotShard<Platform>& PoolOf(CoreId core) {
    return cores_[static_cast<uint32_t>(core)];
  }
  uint32_t NumberOf(const std::byte* buffer) const {
    return static_cast<uint32_t>(map_.IndexOf(buffer));
  }

  // Puts a magazine that holds `lot` on `chain`. False if there is none.
  bool Fill(MagazineChain& chain, std::span<std::byte* const> lot,
            DepotShard<Platform>& pool, Spares* spares) {
    map_.Check(lot);
    const uint32_t number = TakeMagazine(pool, spares);
    if (number == kNoMagazine) {
      lots_without_magazine_.Add(1);
      return false;
    }
    const auto count = static_cast<uint32_t>(lot.size());
    Box& magazine = magazines_[number];
    Platform::CopySlots(lot.data(), count, magazine.slots.data());
    magazine.SetBelow(chain.top);
    chain.last = chain.empty() ? number : chain.last;
    chain.top = Box::PositionOf(number, count);
    return true;
  }

  // The number of an empty magazine, which the caller then owns, or
  // kNoMagazine.
  uint32_t TakeMagazine(DepotShard<Platform>& pool, Spares* spares) {
    if (spares != nullptr) {
      const uint32_t spare = spares->Take();
      if (spare != kNoMagazine) return spare;
    }
    MagazineChain chain = pool.empties.PopMagazines(
        magazines_, spares == nullptr ? 1 : Spares::kMost);
    if (!chain.empty()) {
      const uint32_t number = Box::NumberOf(chain.top);
      if (number != chain.last) {
        chain.top = magazines_[number].Below();
        LeaveEmpty(pool, chain, spares);
      }
      return number;
    }
    const Range range =
        TakeRange(magazines_used_, static_cast<uint32_t>(magazines_.size()), 1);
    if (range.count != 0) return range.first;
    for (DepotShard<Platform>& other : cores_) {
      chain = other.empties.PopMagazines(magazines_, 1);
      if (!chain.empty()) return chain.last;
    }
    return kNoMagazine;
  }

  // Gives up magazines that have become empty; the caller owns them. The thread
  // keeps them, or, if it has no room, all that it has go to the shard at once.
  void LeaveEmpty(DepotShard<Platform>& pool, MagazineChain chain,
                  Spares* spares) {
    if (spares != nullptr) {
      for (;;) {
        const uint32_t number = Box::NumberOf(chain.top);
        const Position below = magazines_[number].Below();
        if (!spares->TryPut(number)) break;
        if (number == chain.last) return;
        chain.top = below;
      }
      for (;;) {
        const uint32_t number = spares->Take();
        if (number == kNoMagazine) break;
        magazines_[number].SetBelow(chain.top);
        chain.top = Box::PositionOf(number, 1);
      }
    }
    pool.empties.Push(magazines_, chain);
  }

  // As PopWarm, for the magazines of one shard.
  size_t PopBoxed(DepotShard<Platform>& pool, std::span<std::byte*> out,
                  Spares* spares) {
    if (out.empty() || pool.magazines.Empty()) return 0;
    MagazineChain emptied;
    const size_t count = pool.magazines.PopBuffers(magazines_, out, emptied);
    if (!emptied.empty()) LeaveEmpty(pool, emptied, spares);
    return count;
  }

  void PushLinked(Stack& stack, std::span<std::byte* const> buffers) {
    Piece piece;
    while (!buffers.empty()) {
      const size_t count = std::min(buffers.size(), piece.size());
      for (size_t i = 0; i < count; ++i) piece[i] = map_.IndexOf(buffers[i]);
      stack.Push(links_, {piece.data(), count});
      buffers = buffers.subspan(count);
    }
  }

  // Takes up to out.size() buffers, or a piece if that is less.
  size_t PopLinked(Stack& stack, std::span<std::byte*> out) {
    if (out.empty() || stack.Empty()) return 0;
    Piece piece;
    const size_t count = stack.Pop(
        links_, std::span(piece).first(std::min(out.size(), piece.size())));
    for (size_t i = 0; i < count; ++i) out[i] = map_.Address(piece[i]);
    return count;
  }

  size_t TakeUnused(std::span<std::byte*> out) {
    const auto wanted =
        static_cast<uint32_t>(std::min<size_t>(out.size(), map_.capacity()));
    const Range range = TakeRange(used_, map_.capacity(), wanted);
    for (uint32_t i = 0; i < range.count; ++i) {
      out[i] = map_.Address(BufferIndex{range.first + i});
    }
    return range.count;
  }

  struct Range {
    uint32_t first;
    uint32_t count;
  };

  // Takes up to `most` numbers from `next` up, all of them below `end`. `next`
  // never passes `end`, however often callers find nothing left.
  static Range TakeRange(Count32& next, uint32_t end, uint32_t most) {
    // seq_cst, the default: no path that repeats comes here.
    uint32_t first = next.load();
    uint32_t count;
    do {
      count = std::min(most, end - first);
      if (count == 0) return {first, 0};
    } while (!next.compare_exchange_weak(first, first + count));
    return {first, count};
  }

  const BufferMap& map_;
  const std::span<DepotShard<Platform>> cores_;
  const std::span<Link> links_;
  const std::span<Box> magazines_;
  alignas(kCacheLine) Stack cold_;
  Count32 used_;            // buffers used so far, from number 0 up
  Count32 magazines_used_;  // likewise
  SharedCounter<Platform> lots_without_magazine_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_DEPOT_DEPOT_H_
