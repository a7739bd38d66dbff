#ifndef TANDEM_POOL_CORE_POOLS_H_
#define TANDEM_POOL_CORE_POOLS_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/buffer_map.h"
#include "tandem/pool/tagged_stack.h"
#include "tandem/pool/types.h"

namespace tandem {

// One shard of the shared free list, on a cache line of its own.
template <class Platform>
struct alignas(kCacheLine) CorePool {
  TaggedStack<Platform, BufferIndex> stack;
};

// The shared free list, sharded by core: every buffer that is in no cache and
// in nobody's hands. Inside, buffers are known by number. A thread uses its own
// core's shard first, then the others, and last the cold one, where buffers lie
// whose memory has not been used yet or has been given back to the system.
//
// Threads:  any, signal handlers included. Progress: lock-free.
// Cost:     a push or a pop of n, up to kMaxBatch, is one compare-and-swap
//           and n link accesses.
template <class Platform>
class CorePools {
 public:
  using Stack = TaggedStack<Platform, BufferIndex>;
  using Link = typename Stack::Link;

  // All must outlive this object; links has an entry for each buffer.
  CorePools(const BufferMap& map, std::span<CorePool<Platform>> cores,
            std::span<Link> links)
      : map_(map), cores_(cores), links_(links) {}

  CoreId CurrentCore() const {
    return CoreId{Platform::CurrentCore() %
                  static_cast<uint32_t>(cores_.size())};
  }

  // Gives up `buffers` to the caller's core. Not counted yet: Ledger::Credit.
  void Push(CoreId core, std::span<std::byte* const> buffers) {
    PushOn(cores_[static_cast<uint32_t>(core)], buffers);
  }
  void PushCold(std::span<std::byte* const> buffers) { PushOn(cold_, buffers); }

  // Fills `out`, for which the caller holds a reservation. The ledger's rule
  // promises that enough buffers lie in the shards: a round over all of them
  // that finds none means that another operation has made progress.
  void Collect(CoreId core, std::span<std::byte*> out) {
    while (!out.empty()) {
      out = out.subspan(PopWarm(core, out));
      out = out.subspan(PopFrom(cold_, out));
    }
  }

  // Lets the owner of both remember `second` with `first`, until it gives
  // either away; whoever it hands `first` to may ask.
  void Chain(const std::byte* first, const std::byte* second) {
    // relaxed: published by whatever hands `first` over.
    links_[NumberOf(first)].store(NumberOf(second), std::memory_order::relaxed);
  }
  std::byte* ChainedTo(const std::byte* first) const {
    // relaxed: as above.
    return map_.Address(
        BufferIndex{links_[NumberOf(first)].load(std::memory_order::relaxed)});
  }

  // Takes up to out.size() buffers, none of them cold. Returns how many.
  size_t PopWarm(CoreId core, std::span<std::byte*> out) {
    size_t count = 0;
    const auto own = static_cast<uint32_t>(core);
    for (size_t i = 0; i < cores_.size() && count < out.size(); ++i) {
      const size_t shard =
          own + i < cores_.size() ? own + i : own + i - cores_.size();
      count += PopFrom(cores_[shard], out.subspan(count));
    }
    return count;
  }

  // Goes over all of the buffers in the pool.
  size_t Count(const CorePool<Platform>& pool) const {
    return pool.stack.Count(links_);
  }

  std::span<const CorePool<Platform>> cores() const { return cores_; }
  const CorePool<Platform>& cold() const { return cold_; }

 private:
  // Pieces in which addresses become numbers and back.
  using Piece = std::array<BufferIndex, kMaxBatch>;

  uint32_t NumberOf(const std::byte* buffer) const {
    return static_cast<uint32_t>(map_.IndexOf(buffer));
  }

  void PushOn(CorePool<Platform>& pool, std::span<std::byte* const> buffers) {
    Piece piece;
    while (!buffers.empty()) {
      const size_t count = std::min(buffers.size(), piece.size());
      for (size_t i = 0; i < count; ++i) piece[i] = map_.IndexOf(buffers[i]);
      pool.stack.Push(links_, {piece.data(), count});
      buffers = buffers.subspan(count);
    }
  }

  // Up to out.size(), or a piece.
  size_t PopFrom(CorePool<Platform>& pool, std::span<std::byte*> out) {
    if (out.empty() || pool.stack.Empty()) return 0;
    Piece piece;
    const size_t count = pool.stack.Pop(
        links_, std::span(piece).first(std::min(out.size(), piece.size())));
    for (size_t i = 0; i < count; ++i) out[i] = map_.Address(piece[i]);
    return count;
  }

  const BufferMap& map_;
  const std::span<CorePool<Platform>> cores_;
  const std::span<Link> links_;
  CorePool<Platform> cold_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_CORE_POOLS_H_
