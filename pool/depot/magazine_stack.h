#ifndef TANDEM_POOL_DEPOT_MAGAZINE_STACK_H_
#define TANDEM_POOL_DEPOT_MAGAZINE_STACK_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/types.h"

namespace tandem {

// The number of a slot, across all magazines of a pool. On a stack of empty
// magazines, any slot of a magazine stands for it.
enum class Position : uint32_t {};
inline constexpr Position kNoPosition{kMaxCapacity};

// The number of no magazine.
inline constexpr uint32_t kNoMagazine = ~0u;

// An array of buffer addresses that change hands together. On a stack, the
// magazine lies on the position `below`.
//
// All zeros are an empty magazine: no construction is needed.
template <class Platform>
struct alignas(kCacheLine) Magazine {
  template <class T>
  using Atomic = typename Platform::template Atomic<T>;

  static constexpr uint32_t kSize = Platform::kMagazineSize;
  static_assert(std::has_single_bit(kSize));
  // Small enough that kNoPosition is in none of them.
  static constexpr uint32_t kMostMagazines = (1u << kIndexBits) / kSize - 1;

  static constexpr uint32_t NumberOf(Position position) {
    return static_cast<uint32_t>(position) / kSize;
  }
  // The number of slots of its magazine up to and including `position`.
  static constexpr uint32_t CountTo(Position position) {
    return static_cast<uint32_t>(position) % kSize + 1;
  }
  static constexpr Position PositionOf(uint32_t number, uint32_t count) {
    return Position{number * kSize + count - 1};
  }

  // relaxed, all accesses: published by the head of the stack that the magazine
  // is pushed on, and validated by the head of the stack that it comes from.
  Position Below() const {
    return Position{below.load(std::memory_order::relaxed)};
  }
  void SetBelow(Position position) {
    below.store(static_cast<uint32_t>(position), std::memory_order::relaxed);
  }

  Atomic<uint32_t> below;
  alignas(kCacheLine) std::array<Atomic<std::byte*>, kSize> slots;
};

// Magazines linked by `below`: `top` is the first, `last` the bottom one.
struct MagazineChain {
  bool empty() const { return top == kNoPosition; }

  Position top = kNoPosition;
  uint32_t last = 0;  // a magazine's number
};

// A lock-free stack of magazines. The head also holds the number of buffers
// left in the top magazine, so an operation can take a part of it. No thread
// ever holds a magazine of which it wants only a part (P4).
//
// Another stack of this type keeps the empty magazines.
//
// Threads:   any thread, any time, signal handlers included.
// Progress:  lock-free; a retry means that another operation succeeded.
// Cost:      one compare-and-swap for any number of magazines or buffers; each
//            buffer costs 8 bytes of adjacent cache lines.
// Invariant: only the owner of a magazine writes its slots and its `below`,
//            before the push that gives it up.
// ABA (P5):  the head is {tag 40, position 24}; every change adds one to the
//            tag, so a head repeats only after 2^40 changes of this one stack.
template <class Platform>
class MagazineStack {
 public:
  using Box = Magazine<Platform>;

  MagazineStack() : head_(Pack(0, kNoPosition)) {}

  // Gives up the magazines of `chain`, which must not be empty.
  void Push(std::span<Box> magazines, const MagazineChain& chain) {
    // (1) relaxed: only compared and copied, never followed.
    uint64_t head = head_.load(std::memory_order::relaxed);
    do {
      magazines[chain.last].SetBelow(PositionOf(head));
      // (2) release: pairs with (3); without it a popper could copy the slots
      // as they were before they were filled, or follow an old `below`.
    } while (!head_.compare_exchange_weak(
        head, Pack(TagOf(head) + 1, chain.top), std::memory_order::release,
        std::memory_order::relaxed));  // relaxed: as (1).
  }

  // Takes up to out.size() buffers from the top, by one compare-and-swap.
  // Returns how many, 0 only if the stack was empty. The caller then owns the
  // magazines that have become empty: `emptied`.
  size_t PopBuffers(std::span<Box> magazines, std::span<std::byte*> out,
                    MagazineChain& emptied) {
    // (3) acquire: pairs with (2), so that the slots and `below` of the
    // magazines on the stack are visible. Every change of the head is a
    // read-modify-write, so one acquire also sees the pushes of all magazines
    // below (release sequence).
    uint64_t head = head_.load(std::memory_order::acquire);
    for (;;) {
      const Position top = PositionOf(head);
      Position position = top;
      size_t count = 0;
      emptied = {};
      while (position != kNoPosition && count < out.size()) {
        Box& magazine = magazines[Box::NumberOf(position)];
        const uint32_t left = Box::CountTo(position);
        const auto taken =
            static_cast<uint32_t>(std::min<size_t>(left, out.size() - count));
        // The memory model sees relaxed loads here. If (4) succeeds, no slot
        // has changed since (3). If it fails, the values read are dropped, and
        // so is a stale `below`, which is a position or kNoPosition.
        Platform::CopySlots(&magazine.slots[left - taken], taken,
                            out.data() + count);
        count += taken;
        if (taken < left) {
          position = Position{static_cast<uint32_t>(position) - taken};
        } else {
          emptied = {.top = top, .last = Box::NumberOf(position)};
          position = magazine.Below();
        }
      }
      if (count == 0) return 0;
      // (4) Replaces exactly the value that (3) read (P5). release: orders the
      // copies above before (4), and so before a thread takes the rest of the
      // magazine (3) and fills it again. With acquire alone the copies could be
      // performed after that, and a buffer would be handed out twice. acquire:
      // what the caller does with emptied magazines comes after. Failure,
      // acquire: as (3).
      if (head_.compare_exchange_weak(head, Pack(TagOf(head) + 1, position),
                                      std::memory_order::acq_rel,
                                      std::memory_order::acquire)) {
        return count;
      }
    }
  }

  // Takes up to `most` magazines, at least one, together with their contents.
  // They stay linked: a chain, empty only if the stack was.
  MagazineChain PopMagazines(std::span<Box> magazines, uint32_t most) {
    uint64_t head = head_.load(std::memory_order::acquire);  // as (3)
    for (;;) {
      MagazineChain chain;
      Position position = chain.top = PositionOf(head);
      for (uint32_t i = 0; i < most && position != kNoPosition; ++i) {
        chain.last = Box::NumberOf(position);
        position = magazines[chain.last].Below();
      }
      if (chain.empty()) return chain;
      // acquire: as (4); no slot has been read. Failure, acquire: as (3).
      if (head_.compare_exchange_weak(head, Pack(TagOf(head) + 1, position),
                                      std::memory_order::acquire,
                                      std::memory_order::acquire)) {
        return chain;
      }
    }
  }

  // Pushes and pops so far, modulo 2^40.
  uint64_t changes() const {
    // relaxed: a statistic.
    return TagOf(head_.load(std::memory_order::relaxed));
  }

  // The number of buffers, by visiting all magazines: exact if no operation
  // changes the stack meanwhile, otherwise approximate.
  size_t Count(std::span<const Box> magazines) const {
    // acquire: as (3).
    Position position = PositionOf(head_.load(std::memory_order::acquire));
    size_t count = 0;
    for (size_t i = 0; position != kNoPosition && i < magazines.size(); ++i) {
      count += Box::CountTo(position);
      position = magazines[Box::NumberOf(position)].Below();
    }
    return count;
  }

  // True if the stack was empty at some moment of the call.
  bool Empty() const {
    // relaxed: a hint; no link is followed.
    return PositionOf(head_.load(std::memory_order::relaxed)) == kNoPosition;
  }

 private:
  static constexpr uint64_t Pack(uint64_t tag, Position position) {
    return tag << kIndexBits | static_cast<uint32_t>(position);
  }
  static constexpr Position PositionOf(uint64_t head) {
    return Position(head & kIndexMask);
  }
  static constexpr uint64_t TagOf(uint64_t head) { return head >> kIndexBits; }

  typename Platform::template Atomic<uint64_t> head_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_DEPOT_MAGAZINE_STACK_H_
