#ifndef TANDEM_SESSION_WAITER_RECORD_H_
#define TANDEM_SESSION_WAITER_RECORD_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/depot/tagged_stack.h"
#include "tandem/pool/types.h"

namespace tandem {

// Number of a waiter record within its queue.
enum class WaiterIndex : uint32_t {};
inline constexpr WaiterIndex kNoWaiter{kMaxCapacity};

enum class WaiterStatus : uint32_t { kIdle, kWaiting, kGranted, kCancelled };

// The word that decides a wait: {first buffer 24, version 38, status 2}. The
// thread that changes it from kWaiting, by compare-and-swap, has served or
// cancelled the wait. The version names the wait, so a late attempt on a record
// that has been reused fails. A version repeats after 2^38 waits in one record.
//
// A blocked thread sleeps on the low half, {version 30, status 2}.
struct WaiterState {
  static constexpr int kStatusBits = 2;
  static constexpr int kVersionBits = 38;

  static constexpr WaiterState Of(uint64_t version, WaiterStatus status,
                                  BufferIndex buffer) {
    constexpr uint64_t kVersionMask = (uint64_t{1} << kVersionBits) - 1;
    return {uint64_t{static_cast<uint32_t>(buffer)}
                << (kVersionBits + kStatusBits) |
            (version & kVersionMask) << kStatusBits |
            static_cast<uint64_t>(status)};
  }
  uint64_t version() const {
    return word << kIndexBits >> (kIndexBits + kStatusBits);
  }
  WaiterStatus status() const { return WaiterStatus(word & 3); }
  BufferIndex buffer() const {
    return BufferIndex(word >> (kVersionBits + kStatusBits));
  }
  bool waiting() const { return status() == WaiterStatus::kWaiting; }
  WaiterState With(WaiterStatus status, BufferIndex buffer) const {
    return Of(version(), status, buffer);
  }
  WaiterState Next() const {
    return Of(version() + 1, WaiterStatus::kWaiting, kNoBuffer);
  }

  uint64_t word;
};

// What a thread sleeps on until its wait is over. It is part of the record, so
// it may belong to another wait when a late wake-up looks at it: then the first
// thread does not sleep any more, and the other looks once for nothing.
//
// A thread that goes to sleep announces it, then looks at `state` once more
// (futex(2) does this for it). A thread that ends the wait changes `state`,
// then looks for an announcement. Each writes before it reads, all seq_cst, so
// at least one sees the other: a wake-up needs no system call where no thread
// sleeps.
template <class Platform>
struct SleepWord {
  // Before the last look at `state`.
  void AnnounceSleeper() { sleeper.store(1); }
  // After the change of `state`. May be true where nobody sleeps.
  bool MaySleep() const { return sleeper.load() != 0; }

  typename Platform::template Atomic<uint64_t> state{0};    // WaiterState
  typename Platform::template Atomic<uint32_t> sleeper{0};  // 1: announced
};

// One wait. Type-stable: records are not unmapped before their queue is
// destroyed. So a thread may always follow a stale index, and reject what it
// finds by version or tag.
//
// The subscriber writes all fields except `state`, `next` and `holds` before it
// links the record. A serving thread reads them before its compare-and-swap on
// `state`: if that succeeds, they belonged to this wait.
template <class Platform>
struct alignas(kCacheLine) WaiterRecord : SleepWord<Platform> {
  template <class T>
  using Atomic = typename Platform::template Atomic<T>;

  Atomic<uint64_t> next{0};   // of WaiterList
  Atomic<uint32_t> holds{0};  // of WaiterRecordPool
  Atomic<int64_t> since_nanos{0};
  Atomic<uint32_t> class_id{0};
  Atomic<uint32_t> on_cancel{0};  // of its waker
  Atomic<void (*)(void*) noexcept> wake{nullptr};
  Atomic<void*> wake_context{nullptr};
};

// An unused record, kept for the threads of one core; kNoWaiter if there is
// none.
template <class Platform>
struct alignas(kCacheLine) SpareRecord {
  typename Platform::template OwnAtomic<uint32_t> index{
      static_cast<uint32_t>(kNoWaiter)};
};

// The records of one queue, with the list of unused records and one unused
// record for each core. A record in use has two holds, one by the list that it
// is linked in and one by the session that waits; the thread that drops the
// last hold returns it.
//
// Threads:  any, including signal handlers.
// Progress: lock-free.
// Cost:     where waits begin and end in turn, one exchange on the core's own
//           line for each record that is taken or returned.
template <class Platform>
class WaiterRecordPool {
 public:
  using Record = WaiterRecord<Platform>;
  using Spare = SpareRecord<Platform>;
  using Link = typename TaggedStack<Platform, WaiterIndex>::Link;

  static constexpr uint32_t kLinked = 1;
  static constexpr uint32_t kOwned = 2;

  // All arguments must outlive this object. There are as many links as records,
  // and one spare for each core.
  WaiterRecordPool(std::span<Record> records, std::span<Link> links,
                   std::span<Spare> spares)
      : records_(records), links_(links), spares_(spares) {
    for (auto i = static_cast<uint32_t>(records.size()); i-- > 0;) {
      const WaiterIndex index{i};
      free_.Push(links_, {&index, 1});
    }
  }

  Record& operator[](WaiterIndex index) {
    return records_[static_cast<uint32_t>(index)];
  }

  // Returns a record with both holds, kNoWaiter if all are in use.
  WaiterIndex Take() {
    WaiterIndex index = TakeSpare(OwnSpare());
    if (index == kNoWaiter) index = TakeFree();
    for (size_t i = 0; index == kNoWaiter && i < spares_.size(); ++i) {
      index = TakeSpare(spares_[i]);
    }
    if (index != kNoWaiter) {
      // relaxed: published with the record, by the list's append.
      (*this)[index].holds.store(kLinked | kOwned, std::memory_order::relaxed);
    }
    return index;
  }

  // Drops one hold, or both.
  void Drop(WaiterIndex index, uint32_t holds) {
    auto& left = (*this)[index].holds;
    // (1) acquire, (2) acq_rel: all accesses of both holders happen before the
    // reuse. A thread that finds no other hold is the only holder, and need not
    // write.
    if (left.load(std::memory_order::acquire) != holds &&              // (1)
        left.fetch_sub(holds, std::memory_order::acq_rel) != holds) {  // (2)
      return;
    }
    // (3) acq_rel: pairs with (4) and with itself, for the next user of the
    // record.
    const WaiterIndex before{OwnSpare().index.exchange(
        static_cast<uint32_t>(index), std::memory_order::acq_rel)};  // (3)
    if (before != kNoWaiter) free_.Push(links_, {&before, 1});
  }

 private:
  // The spare of the core that the caller runs on, which is only a hint.
  Spare& OwnSpare() {
    return spares_[Platform::CurrentCore() % spares_.size()];
  }
  static WaiterIndex TakeSpare(Spare& spare) {
    constexpr auto kNone = static_cast<uint32_t>(kNoWaiter);
    // relaxed: only compared.
    if (spare.index.load(std::memory_order::relaxed) == kNone) return kNoWaiter;
    // (4) acquire: pairs with (3), so earlier accesses to the record happen
    // before.
    return WaiterIndex{
        spare.index.exchange(kNone, std::memory_order::acquire)};  // (4)
  }
  WaiterIndex TakeFree() {
    WaiterIndex index;
    return free_.Pop(links_, {&index, 1}) == 0 ? kNoWaiter : index;
  }

  const std::span<Record> records_;
  const std::span<Link> links_;
  const std::span<Spare> spares_;
  TaggedStack<Platform, WaiterIndex> free_;
};

}  // namespace tandem

#endif  // TANDEM_SESSION_WAITER_RECORD_H_
