#ifndef TANDEM_POOL_DEPOT_TAGGED_STACK_H_
#define TANDEM_POOL_DEPOT_TAGGED_STACK_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/types.h"

namespace tandem {

// A lock-free stack of indices. The links live outside the nodes, in an array
// that several stacks may share: a node is on at most one of them.
//
// Threads:   any thread, any time, signal handlers included.
// Progress:  lock-free; a retry means that another operation succeeded.
// Cost:      one compare-and-swap for any number of nodes, plus a load or a
//            store of a link for each.
// Invariant: only the owner of a node writes its link, before the push that
//            gives the node up.
// ABA (P5):  the head is {tag 40, index 24}; every change adds one to the tag,
//            so a head repeats only after 2^40 changes of this one stack.
template <class Platform, class Index>
class TaggedStack {
 public:
  using Link = typename Platform::template Atomic<uint32_t>;

  TaggedStack() : head_(Pack(0, kNil)) {}

  // Gives up `nodes`, which must not be empty; nodes[0] becomes the top.
  void Push(std::span<Link> links, std::span<const Index> nodes) {
    for (size_t i = 0; i + 1 < nodes.size(); ++i) {
      // relaxed: published by (2).
      links[ToInt(nodes[i])].store(ToInt(nodes[i + 1]),
                                   std::memory_order::relaxed);
    }
    const uint32_t first = ToInt(nodes.front());
    Link& last = links[ToInt(nodes.back())];
    // (1) relaxed: only compared and copied, never followed.
    uint64_t head = head_.load(std::memory_order::relaxed);
    do {
      // relaxed: published by (2).
      last.store(IndexOf(head), std::memory_order::relaxed);
      // (2) release: pairs with (3); without it a popper could follow a link
      // from the node's previous life and swing the head to a node in use.
    } while (!head_.compare_exchange_weak(
        head, Pack(TagOf(head) + 1, first), std::memory_order::release,
        std::memory_order::relaxed));  // relaxed: as (1).
  }

  // Takes up to out.size() nodes from the top, by one compare-and-swap. Returns
  // how many, 0 only if the stack was empty. The rest of `out` is unspecified
  // afterwards.
  size_t Pop(std::span<Link> links, std::span<Index> out) {
    // (3) acquire: pairs with (2), so that the links of the nodes on the stack
    // are visible. Every change of the head is a read-modify-write, so one
    // acquire also sees the pushes of all nodes below (release sequence).
    uint64_t head = head_.load(std::memory_order::acquire);
    for (;;) {
      size_t count = 0;
      uint32_t node = IndexOf(head);
      while (node != kNil && count < out.size()) {
        out[count++] = Index{node};
        // relaxed: if (4) succeeds, no node has left the stack since (3), so no
        // link on the way has been written meanwhile. If it fails, the value
        // read here may be stale, but it is an index or kNil, and is dropped.
        node = links[node].load(std::memory_order::relaxed);
      }
      if (count == 0) return 0;
      // (4) Replaces exactly the value that (3) read (P5), and continues the
      // release sequences of the pushes below. relaxed would do, but g++ 12
      // rejects a failure order that is stronger than the success order.
      // Failure, acquire: as (3).
      if (head_.compare_exchange_weak(head, Pack(TagOf(head) + 1, node),
                                      std::memory_order::acquire,
                                      std::memory_order::acquire)) {
        return count;
      }
    }
  }

  // Pushes and pops so far, modulo 2^40.
  uint64_t changes() const {
    // relaxed: a statistic.
    return TagOf(head_.load(std::memory_order::relaxed));
  }

  // The number of nodes, by visiting all of them: exact if no operation changes
  // the stack meanwhile, otherwise approximate.
  size_t Count(std::span<const Link> links) const {
    // acquire: as (3).
    uint32_t node = IndexOf(head_.load(std::memory_order::acquire));
    size_t count = 0;
    for (; node != kNil && count < links.size(); ++count) {
      // relaxed: an index or kNil, whatever happens to the node.
      node = links[node].load(std::memory_order::relaxed);
    }
    return count;
  }

  // True if the stack was empty at some moment of the call.
  bool Empty() const {
    // relaxed: a hint; no link is followed.
    return IndexOf(head_.load(std::memory_order::relaxed)) == kNil;
  }

 private:
  static constexpr uint32_t kNil = kMaxCapacity;

  static constexpr uint32_t ToInt(Index index) {
    return static_cast<uint32_t>(index);
  }
  static constexpr uint64_t Pack(uint64_t tag, uint32_t index) {
    return tag << kIndexBits | index;
  }
  static constexpr uint32_t IndexOf(uint64_t head) { return head & kIndexMask; }
  static constexpr uint64_t TagOf(uint64_t head) { return head >> kIndexBits; }

  typename Platform::template Atomic<uint64_t> head_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_DEPOT_TAGGED_STACK_H_
