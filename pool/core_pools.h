#ifndef TANDEM_POOL_CORE_POOLS_H_
#define TANDEM_POOL_CORE_POOLS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/counters.h"
#include "tandem/pool/tagged_stack.h"
#include "tandem/pool/types.h"

namespace tandem {

// One shard of the shared free list, on cache lines of its own.
template <class Platform>
struct alignas(kCacheLine) CorePool {
  TaggedStack<Platform, BufferIndex> stack;
  SharedCounter<Platform> pushed;  // buffers
  SharedCounter<Platform> popped;  // buffers
};

// The shared free list, sharded by core: every buffer that is in no cache and
// in nobody's hands. A thread uses its own core's shard first, then the others,
// and last the cold one, where buffers lie whose memory has not been used yet
// or has been given back to the system.
//
// Threads:  any, signal handlers included. Progress: lock-free.
// Cost:     a push or a pop of n is one compare-and-swap and n link accesses.
template <class Platform>
class CorePools {
 public:
  using Stack = TaggedStack<Platform, BufferIndex>;
  using Link = typename Stack::Link;

  // Both spans must outlive this object; links has an entry for each buffer.
  CorePools(std::span<CorePool<Platform>> cores, std::span<Link> links)
      : cores_(cores), links_(links) {}

  CoreId CurrentCore() const {
    return CoreId{Platform::CurrentCore() %
                  static_cast<uint32_t>(cores_.size())};
  }

  // Gives up `buffers` to the caller's core. Not counted yet: Ledger::Credit.
  void Push(CoreId core, std::span<const BufferIndex> buffers) {
    CorePool<Platform>& pool = cores_[static_cast<uint32_t>(core)];
    pool.stack.Push(links_, buffers);
    pool.pushed.Add(buffers.size());
  }

  void PushCold(std::span<const BufferIndex> buffers) {
    cold_.stack.Push(links_, buffers);
    cold_.pushed.Add(buffers.size());
  }

  // Fills `out`, for which the caller holds a reservation. The ledger's rule
  // promises that enough buffers lie in the shards: a round over all of them
  // that finds none means that another operation has made progress.
  void Collect(CoreId core, std::span<BufferIndex> out) {
    while (!out.empty()) {
      out = out.subspan(PopWarm(core, out));
      out = out.subspan(PopFrom(cold_, out));
    }
  }

  // Lets the owner of both remember `second` with `first`, until it gives
  // either away; whoever it hands `first` to may ask.
  void Chain(BufferIndex first, BufferIndex second) {
    // relaxed: published by whatever hands `first` over.
    links_[static_cast<uint32_t>(first)].store(static_cast<uint32_t>(second),
                                               std::memory_order::relaxed);
  }
  BufferIndex ChainedTo(BufferIndex first) const {
    // relaxed: as above.
    return BufferIndex{
        links_[static_cast<uint32_t>(first)].load(std::memory_order::relaxed)};
  }

  // Takes up to out.size() buffers, none of them cold. Returns how many.
  size_t PopWarm(CoreId core, std::span<BufferIndex> out) {
    size_t count = 0;
    const auto own = static_cast<uint32_t>(core);
    for (size_t i = 0; i < cores_.size() && count < out.size(); ++i) {
      const size_t shard =
          own + i < cores_.size() ? own + i : own + i - cores_.size();
      count += PopFrom(cores_[shard], out.subspan(count));
    }
    return count;
  }

  std::span<const CorePool<Platform>> cores() const { return cores_; }
  const CorePool<Platform>& cold() const { return cold_; }

 private:
  size_t PopFrom(CorePool<Platform>& pool, std::span<BufferIndex> out) {
    if (out.empty() || pool.stack.Empty()) return 0;
    const size_t count = pool.stack.Pop(links_, out);
    if (count != 0) pool.popped.Add(count);
    return count;
  }

  const std::span<CorePool<Platform>> cores_;
  const std::span<Link> links_;
  CorePool<Platform> cold_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_CORE_POOLS_H_
