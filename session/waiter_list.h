#ifndef TANDEM_SESSION_WAITER_LIST_H_
#define TANDEM_SESSION_WAITER_LIST_H_

#include <cstdint>
#include <optional>

#include "tandem/pool/types.h"
#include "tandem/session/waiter_record.h"

namespace tandem {

// The waiters of one class, first come, first served: a lock-free linked list
// after M. Michael, "High Performance Dynamic Lock-Free Hash Tables and
// List-Based Sets" (SPAA 2002), with appends at the end only.
//
// A link is {tag 39, mark 1, index 24}. When a record's wait is over, a passing
// thread first marks the record, which freezes its link, then unlinks it; the
// thread that unlinks it drops the list's hold. Every change of a link adds one
// to its tag, also when the record is reused: a link repeats after 2^39
// changes.
//
// A step from one record to the next is sound because the thread reads the link
// that led to the record again, after the record's own link and state. If that
// link is unchanged, its tag proves that the record was linked in this list, in
// its current wait, during the whole time between the two reads. Nothing else
// is assumed about a record, because it may be reused at any moment.
//
// Threads:  any, including signal handlers.
// Progress: lock-free. A thread that stops anywhere holds up no other thread,
//           because others mark and unlink for it.
// Cost:     Append is O(1) while the hint is valid (Append and Purge renew it);
//           First is O(1) amortized; Purge is O(length).
// Orders:   seq_cst throughout (the default): no operation is on a fast path.
template <class Platform>
class WaiterList {
 public:
  using Records = WaiterRecordPool<Platform>;

  struct Waiter {
    WaiterIndex index;
    WaiterState state;
  };

  explicit WaiterList(Records& records)
      : records_(records), head_(Pack(0, false, kNoWaiter)), tail_hint_(0) {}

  // Links a record at the end. The record must already have `state`, with its
  // new version. Otherwise another append, for which the hint with the old
  // version is still valid, could find an unmarked link after it.
  void Append(WaiterIndex index, WaiterState state) {
    Link& next = records_[index].next;
    next.store(Pack(TagOf(next.load()) + 1, false, kNoWaiter));
    while (!AppendFrom(Start(), index)) {
    }
    SetTailHint(index, state);
  }

  // Returns the first record that waits, at some moment of the call. Unlinks
  // the finished records before it.
  std::optional<Waiter> First() { return Clean(/*whole=*/false); }

  // Unlinks all finished records.
  void Purge() { Clean(/*whole=*/true); }

 private:
  using Link = typename Platform::template Atomic<uint64_t>;

  static constexpr uint64_t kMark = uint64_t{1} << kIndexBits;

  static constexpr uint64_t Pack(uint64_t tag, bool mark, WaiterIndex index) {
    return tag << (kIndexBits + 1) | (mark ? kMark : 0) |
           static_cast<uint32_t>(index);
  }
  static constexpr uint64_t TagOf(uint64_t link) {
    return link >> (kIndexBits + 1);
  }
  static constexpr bool IsMarked(uint64_t link) { return (link & kMark) != 0; }
  static constexpr WaiterIndex IndexOf(uint64_t link) {
    return WaiterIndex(link & kIndexMask);
  }
  // The new value of `link` when it leads to `index`.
  static constexpr uint64_t Changed(uint64_t link, WaiterIndex index) {
    return Pack(TagOf(link) + 1, false, index);
  }

  WaiterState StateOf(WaiterIndex index) {
    return {records_[index].state.load()};
  }

  // A link and the value that was read from it. While the link has this value,
  // it is in this list.
  struct Position {
    Link* link;
    uint64_t value;
  };

  // Where to start an append: the hint, {version 38, index 24}, if it is still
  // valid, else the head.
  Position Start() {
    const uint64_t hint = tail_hint_.load();
    if (hint != 0) {
      const WaiterIndex index = IndexOf(hint);
      Link& next = records_[index].next;
      const uint64_t value = next.load();
      // In this order: reuse changes the version before it resets the link.
      if (!IsMarked(value) && TailHintOf(index, StateOf(index)) == hint) {
        return {&next, value};
      }
    }
    return {&head_, head_.load()};
  }

  static constexpr uint64_t TailHintOf(WaiterIndex index, WaiterState state) {
    return state.version() << kIndexBits | static_cast<uint32_t>(index);
  }

  void SetTailHint(WaiterIndex index, WaiterState state) {
    tail_hint_.store(TailHintOf(index, state));
  }

  // False if the list changed at the position: the caller starts again.
  bool AppendFrom(Position at, WaiterIndex index) {
    while (IndexOf(at.value) != kNoWaiter) {
      const WaiterIndex node = IndexOf(at.value);
      Link& next = records_[node].next;
      const uint64_t after = next.load();
      if (at.link->load() != at.value) return false;
      if (IsMarked(after)) {
        if (!Unlink(at, node, after)) return false;
      } else {
        at = {&next, after};
      }
    }
    return at.link->compare_exchange_strong(at.value, Changed(at.value, index));
  }

  // Unlinks the marked `node` behind `at`, and moves `at` on.
  bool Unlink(Position& at, WaiterIndex node, uint64_t after) {
    const uint64_t changed = Changed(at.value, IndexOf(after));
    if (!at.link->compare_exchange_strong(at.value, changed)) return false;
    at.value = changed;
    records_.Drop(node, Records::kLinked);
    return true;
  }

  // Marks and unlinks finished records, up to the first that waits or, if
  // `whole`, to the end. Returns the first that waits.
  std::optional<Waiter> Clean(bool whole) {
    for (;;) {
      std::optional<Waiter> first;
      if (CleanFrom({&head_, head_.load()}, whole, first)) return first;
    }
  }

  bool CleanFrom(Position at, bool whole, std::optional<Waiter>& first) {
    std::optional<Waiter> last;
    while (IndexOf(at.value) != kNoWaiter) {
      const WaiterIndex node = IndexOf(at.value);
      Link& next = records_[node].next;
      const WaiterState state = StateOf(node);
      uint64_t after = next.load();
      if (at.link->load() != at.value) return false;
      if (state.waiting() && !IsMarked(after)) {
        last = Waiter{node, state};
        if (!first) first = last;
        if (!whole) return true;
        at = {&next, after};
        continue;
      }
      if (!IsMarked(after)) {
        const uint64_t marked = Pack(TagOf(after) + 1, true, IndexOf(after));
        if (!next.compare_exchange_strong(after, marked)) return false;
        after = marked;
      }
      if (!Unlink(at, node, after)) return false;
    }
    if (last) SetTailHint(last->index, last->state);
    return true;
  }

  Records& records_;
  alignas(kCacheLine) Link head_;
  alignas(kCacheLine) typename Platform::template Atomic<uint64_t> tail_hint_;
};

}  // namespace tandem

#endif  // TANDEM_SESSION_WAITER_LIST_H_
