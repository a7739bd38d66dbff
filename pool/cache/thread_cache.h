#ifndef TANDEM_POOL_CACHE_THREAD_CACHE_H_
#define TANDEM_POOL_CACHE_THREAD_CACHE_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "tandem/pool/cache/bias_policy.h"
#include "tandem/pool/cache/cache_words.h"
#include "tandem/pool/cache/handler_guard.h"
#include "tandem/pool/cache/idle_watch.h"
#include "tandem/pool/cache/ownership.h"
#include "tandem/pool/cache/spare_magazines.h"
#include "tandem/pool/cache/thread_counters.h"
#include "tandem/pool/types.h"

namespace tandem {

// The buffers that one thread keeps for itself: a small stack from which any
// thread may take, and which its owner uses, while the gate is open, without
// any atomic read-modify-write (P2, P3).
//
// State. `word` is {epoch, count, top}; the buffers lie in slots[0, top).
// `gate` is {epoch, ceiling, floor} and decides who may change the word:
//
//   open (biased)  its owner alone, in restartable sections that write slots
//                  and the low half of the word, and keep top within the
//                  gate's bounds;
//   closing        its owner alone, by compare-and-swap: a thief has closed the
//                  gate, but a section that found it open may still commit;
//   closed         every thread, by compare-and-swap; a thief only in the epoch
//                  that it found closed.
//
//            ┌─ thief: Close ──▶ closing ── Barrier, SetClosed ──┐
//          open ── owner: CloseOwn ───────────────────────────▶ closed
//            └── owner, BeginBias: epoch + 1, limit, look ───────┘
//
// Closing. A thief reads the gate, closes it by compare-and-swap if it is open,
// calls the platform's barrier itself, then marks the gate closed. After the
// barrier the owner is in no section that has found the gate open, and all
// effects of its earlier sections are visible. If another thief has begun to
// close, no barrier need have happened yet; if the gate is marked closed, a
// barrier has happened, and the thief skips its own. An owner that closes its
// own gate is in no section, so it needs no barrier.
//
// Opening. Only the owner changes the word's epoch, by compare-and-swap, so a
// thief that still expects the old epoch fails. The gate's epoch is the word's
// or an older one. The owner reads the gate, moves the word to a new epoch,
// reads the limit, looks for pressure, and opens the gate only from the value
// that it read first. A thief reads the gate, then the word, and before it
// relies on a gate that is behind, moves it to the word's epoch, closed as it
// was. So one of three is true: the thief reads the word before the owner moves
// it, and the owner's look comes after the thief's pressure; or the thief moves
// the gate, and the owner's attempt fails; or the thief finds the gate open.
//
// Limit. A thread that takes the limit away sets it to 0 before it reads the
// gate and the word: by the same argument the gate does not open with the old
// limit afterwards.
//
// Shared protocol. A taker copies slots below the top that it read and lowers
// the top; a pusher fills slots from the top up and raises the top. Only the
// owner pushes, so slots below a top that a thread has read change only after
// the version {epoch, count} has changed: the compare-and-swap of a stale copy
// always fails.
//
// Pressure. The cache knows nothing of it. But LockFreePool argues that no
// buffer stays idle in a cache while an allocation is short, and that rests on
// BeginBias, PushShared, Close and Steal being seq_cst with respect to the
// ledger.
//
// Signals (P10). A signal restarts a section. It does not restart the owner's
// operations in shared mode, the way back to bias, or a move of the limit: a
// handler that pushed after the owner read the top and before it filled the
// slot would fill the same slot. So the owner hides the cache meanwhile: a
// handler that finds it hidden goes past it, and neither opens the gate nor
// moves the limit.
//
// Threads:   Close, SetClosed, Steal, size, gate, biased, limit, TakeLimit,
//            IsIdle, ownership: any. The rest: the owner and its handlers.
// Progress:  lock-free; sections do not fail forever, as each restart means
//            that the thread was preempted or interrupted.
// Lifetime:  type-stable: records stay mapped until the pool is gone, and the
//            epochs continue when another thread takes a record over.
// ABA (P5):  a thief and a push read the word while the gate is closed, and no
//            version comes twice before the gate opens: a push renews the epoch
//            from half of the 2^16 counts on, and between two pushes there are
//            at most as many changes as there are buffers. So a version repeats
//            only after 2^32 epochs. The gate opens at most once for each 2^9
//            shared operations (BiasPolicy); an epoch is renewed at most once
//            for each opening and for each 2^15 shared operations: so 2^32
//            epochs take 2^40 operations or more.
template <class Platform>
class alignas(kCacheLine) ThreadCache {
  CacheWords<Platform> words_;  // first: no offset, in one cache line

 public:
  ThreadCache() : limit_(0) {
    // relaxed, all: published with the pool.
    words_.word.store(Word::Pack(1, 0, 0), std::memory_order::relaxed);
    words_.gate.store(CacheGate::Closed(1).bits(), std::memory_order::relaxed);
    for (auto& slot : words_.slots) {
      slot.store(nullptr, std::memory_order::relaxed);
    }
  }

  // For the owner: turns zeros into an empty cache with a closed gate, unless
  // that has been done. A thief that comes earlier finds nothing to take, and
  // at most closes the gate of an epoch before the first. A handler that
  // interrupts this may also do it.
  void MakeOnce() {
    if (Word::EpochOf(words_.word.load()) != 0) return;
    Disarm();
    policy = {};
    uint64_t zeros = 0;
    words_.gate.compare_exchange_strong(zeros, CacheGate::Closed(1).bits());
    zeros = 0;
    words_.word.compare_exchange_strong(zeros, Word::Pack(1, 0, 0));
  }

  // Arm lets the owner, which calls it, use sections, if the kernel restarts
  // them in this thread. Disarm ends that, before the owner gives the cache up.
  // An owner that is not armed must not begin a bias.
  void Arm() { words_.area.Arm(); }
  void Disarm() { words_.area.Disarm(); }
  bool armed() const { return words_.area.armed(); }

  // Takes pop from the top; `out` is ordered oldest first.

  // --- The owner, in a section. All or none: false if the gate is not open, if
  // there are too few buffers, or if there is too little room below the
  // ceiling.

  [[gnu::always_inline]] bool PopBiased(std::span<std::byte*> out) {
    return Platform::PopBiased(words_, out);
  }
  [[gnu::always_inline]] bool PushBiased(std::span<std::byte* const> in) {
    return Platform::PushBiased(words_, in);
  }

  // --- The owner, by compare-and-swap. All or none: false if the gate is open
  // (a handler may just have opened it), if there are too few buffers or too
  // little room below the limit, or if a handler finds the cache hidden.

  bool PopShared(std::span<std::byte*> out) {
    const HideScope scope(guard_);
    if (!scope.hides() || biased()) return false;
    const auto count = static_cast<uint32_t>(out.size());
    return Take(out, count, std::nullopt) != 0;
  }

  bool PushShared(std::span<std::byte* const> in) {
    const HideScope scope(guard_);
    if (!scope.hides() || biased()) return false;
    const auto count = static_cast<uint32_t>(in.size());
    // (1) acquire: pairs with (5), so that a thief's copies of the slots that
    // are filled here come before.
    uint64_t word = words_.word.load(std::memory_order::acquire);
    for (;;) {
      const uint32_t top = Word::TopOf(word);
      if (top + count > limit()) return false;
      if (Word::CountOf(word) >= Word::kRenewFrom) word = Renew(word);
      for (uint32_t i = 0; i < count; ++i) {
        // relaxed: published by (2).
        words_.slots[Word::TopOf(word) + i].store(in[i],
                                                  std::memory_order::relaxed);
      }
      // (2) seq_cst: release pairs with (3), publishing the slots;
      // LockFreePool's look at the ledger afterwards relies on the total order.
      // Failure, acquire: as (1).
      if (words_.word.compare_exchange_strong(
              word, Word::Next(word, Word::TopOf(word) + count),
              std::memory_order::seq_cst, std::memory_order::acquire)) {
        return true;
      }
    }
  }

  // --- The owner, in either mode.

  // All or none. False also if a handler or a thief interferes.
  bool Push(std::span<std::byte* const> in) {
    return biased() ? PushBiased(in) : PushShared(in);
  }

  // Takes up to out.size() buffers, as many as there are; 0 if there are none,
  // or if the cache is hidden.
  uint32_t PopUpTo(std::span<std::byte*> out) {
    for (;;) {
      const auto part = out.first(std::min(size_t{size()}, out.size()));
      if (part.empty() || guard_.hidden()) return 0;
      if (biased() ? PopBiased(part) : PopShared(part)) {
        return static_cast<uint32_t>(part.size());
      }
    }
  }

  // Brings the bias back: begins a new epoch, and opens the gate in it unless
  // `look` finds pressure now. True if biased.
  template <class Look>
  bool BeginBias(Look look) {
    const HideScope scope(guard_);
    if (!scope.hides()) return false;
    uint64_t gate = words_.gate.load();
    if (CacheGate(gate).open()) return false;
    uint64_t word = words_.word.load();
    const uint32_t next = Word::EpochOf(word) + 1;
    // (6) seq_cst: either the reads that follow, of the limit and by `look`,
    // see what a thief did before its Close, or Close reads this epoch.
    if (!words_.word.compare_exchange_strong(
            word, Word::Pack(next, 0, Word::TopOf(word)))) {
      return false;
    }
    const uint32_t ceiling = limit_.load();
    if (look()) return false;
    // Fails if a thief has moved the gate to this epoch.
    return words_.gate.compare_exchange_strong(
        gate, CacheGate::Open(next, ceiling).bits());
  }

  // Closes the owner's own gate for good. No barrier is needed: the owner is in
  // no section, and a section that a handler interrupted is restarted. Returns
  // the gate, for Steal.
  CacheGate CloseOwn() {
    uint64_t seen = words_.gate.load();
    for (;;) {
      const auto closed = CacheGate::Closed(Word::EpochOf(words_.word.load()));
      if (seen == closed.bits() ||
          words_.gate.compare_exchange_weak(seen, closed.bits())) {
        return closed;
      }
    }
  }

  // --- Any thread.

  // Closes the gate, or moves it to the epoch that the word had at some moment
  // of the call. Unless the result is closed(), a barrier must follow, and
  // SetClosed, before Steal.
  CacheGate Close() {
    // (7) seq_cst: the gate first, then the word (see Opening).
    uint64_t seen = words_.gate.load();
    for (;;) {
      const CacheGate gate(seen);
      const CacheGate next =
          gate.open() ? CacheGate::Closing(gate.epoch())
                      : gate.MovedTo(Word::EpochOf(words_.word.load()));
      if (next.bits() == seen ||
          words_.gate.compare_exchange_weak(seen, next.bits())) {
        return next;
      }
    }
  }

  // A barrier has come after Close returned `gate`. This is for other threads:
  // the one that made the barrier may Steal in any case.
  void SetClosed(CacheGate gate) {
    uint64_t seen = gate.bits();
    words_.gate.compare_exchange_strong(seen,
                                        CacheGate::Closed(gate.epoch()).bits());
  }

  // Takes up to out.size() buffers of a cache that was closed in this epoch.
  // Returns how many, 0 if it is empty; nothing if the epoch is over.
  std::optional<uint32_t> Steal(Epoch epoch, std::span<std::byte*> out) {
    return Take(out, 1, epoch);
  }

  // Buffers in the cache at some moment of the call.
  uint32_t size() const {
    // relaxed: a hint; no slot is read.
    return Word::TopOf(words_.word.load(std::memory_order::relaxed));
  }

  // The most buffers that the owner may keep in the cache, at most
  // kMaxCacheSize; 0 at first. Lowering it does not remove buffers, and an
  // operation of the owner that runs meanwhile may use the old limit.
  uint32_t limit() const {
    // relaxed: it only decides how much is cached.
    return limit_.load(std::memory_order::relaxed);
  }

  // The cache has a new owner; the gate is closed.
  void SetLimit(uint32_t limit) { limit_.store(limit); }

  // For the owner: moves the limit, and the ceiling of an open gate with it.
  // False if another thread has moved it from `from`, or if a handler finds the
  // cache hidden.
  bool MoveLimit(uint32_t from, uint32_t to) {
    const HideScope scope(guard_);
    if (!scope.hides() || !limit_.compare_exchange_strong(from, to)) {
      return false;
    }
    uint64_t gate = words_.gate.load();
    while (CacheGate(gate).open() &&
           !words_.gate.compare_exchange_weak(
               gate, CacheGate::Open(CacheGate(gate).epoch(), to).bits())) {
    }
    return true;
  }

  // Takes the whole limit. The ceiling stays until the gate is closed, which
  // must come next, and does not come back after that (see Limit).
  uint32_t TakeLimit() { return limit_.exchange(0); }

  // The gate, at some moment of the call.
  CacheGate gate() const {
    // relaxed. Only the owner, which decides by it, and its handlers open the
    // gate: so "not open" holds until they open it. If "open" is stale, the
    // owner enters a section, which checks again. For other threads it is a
    // statistic.
    return CacheGate(words_.gate.load(std::memory_order::relaxed));
  }
  bool biased() const { return gate().open(); }

  // A number that the owner counts up, for visiting other caches in turn.
  uint32_t NextVisit() { return visits_++; }

  // True if the word has not changed since a caller first saw its value, at
  // least `nanos` before `now`. Once in 2^15 looks a busy owner may have
  // brought the word back to the same value; then that cache loses its limit.
  // Any thread may ask; callers that race may have to ask again.
  bool IsIdle(int64_t now, int64_t nanos) {
    // relaxed: no other memory depends on it.
    return idle_watch_.IsIdle(words_.word.load(std::memory_order::relaxed), now,
                              nanos);
  }
  // Restarts the watch at `now`.
  void StartIdling(int64_t now) {
    // relaxed: the owner calls this, and owns the word.
    idle_watch_.Start(words_.word.load(std::memory_order::relaxed), now);
  }

  // For CacheRegistry.
  Ownership<Platform> ownership;

  // For the owner alone, and its handlers. They stay in the record when the
  // owner leaves.
  SpareMagazines<Platform> spares;

  // Only the owner writes these.
  ThreadCounters<Platform> counters;
  BiasPolicy policy;

 private:
  using Word = CacheWord;
  using Word32 = typename Platform::template OwnAtomic<uint32_t>;

  // Hides the cache from the owner's signal handlers. One that finds it hidden
  // must go past the cache.
  using HideScope = typename HandlerGuard<Platform>::Scope;

  // Moves a shared cache to a new epoch, which begins closed, as the gate is
  // and stays. Owner only. Returns the present word.
  uint64_t Renew(uint64_t word) {
    const uint64_t renewed =
        Word::Pack(Word::EpochOf(word) + 1, 0, Word::TopOf(word));
    return words_.word.compare_exchange_strong(word, renewed) ? renewed : word;
  }

  // Takes as many buffers as there are, up to out.size(), but no fewer than
  // `at_least`; 0 if there are fewer. Returns nothing if `epoch` is given and
  // is over.
  std::optional<uint32_t> Take(std::span<std::byte*> out, uint32_t at_least,
                               std::optional<Epoch> epoch) {
    // (3) acquire: pairs with (2), so that the slots below the top are visible.
    // seq_cst: a sweep's look at the cache must not come before the pressure
    // that the sweep serves (LockFreePool).
    uint64_t word = words_.word.load();
    for (;;) {
      if (epoch && *epoch != Epoch{Word::EpochOf(word)}) return std::nullopt;
      const uint32_t top = Word::TopOf(word);
      if (top < at_least) return 0;
      const uint32_t count = std::min(top, static_cast<uint32_t>(out.size()));
      for (uint32_t i = 0; i < count; ++i) {
        // (4) relaxed: (5) succeeds only if no slot below the top has changed.
        out[i] = words_.slots[top - count + i].load(std::memory_order::relaxed);
      }
      // (5) seq_cst: release pairs with (1). With acquire alone, the loads (4)
      // might be performed after it, when the owner has already refilled the
      // slots. Failure: as (3).
      if (words_.word.compare_exchange_strong(word,
                                              Word::Next(word, top - count))) {
        return count;
      }
    }
  }

  Word32 limit_;
  HandlerGuard<Platform> guard_;
  uint32_t visits_ = 0;
  alignas(kCacheLine) IdleWatch<Platform> idle_watch_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_CACHE_THREAD_CACHE_H_
