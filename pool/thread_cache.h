#ifndef TANDEM_POOL_THREAD_CACHE_H_
#define TANDEM_POOL_THREAD_CACHE_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "tandem/pool/bias_policy.h"
#include "tandem/pool/cache_words.h"
#include "tandem/pool/idle_watch.h"
#include "tandem/pool/section.h"
#include "tandem/pool/thread_counters.h"
#include "tandem/pool/types.h"

namespace tandem {

// Names a living thread; may name another one once that has ended.
enum class ThreadToken : uintptr_t {};
inline constexpr ThreadToken kNoThread{0};

// Number of a stretch of a cache's life: with bias, and then without until the
// next one begins.
enum class Epoch : uint32_t {};

// How an attempt of a cache's owner in shared mode ended.
enum class [[nodiscard]] SharedResult{
    kDone,
    kUnfit,   // too few buffers, or too little room; nothing has changed
    kBiased,  // a signal handler has brought the bias back; nothing has changed
};

// The buffers that one thread keeps for itself, as a small stack that anyone
// may take from, and that its owner, while it has the bias, uses with no atomic
// read-modify-write at all (P2, P3).
//
// State. `word` is {epoch 32, tag 22, top 10}; buffers lie in slots[0, top).
// `seized` and `bias` are epochs. The cache is
//
//   biased   while seized < bias: its owner alone changes it, in restartable
//            sections that write slots and the low half of the word, whose tag
//            is 0 for as long;
//   shared   else: everybody, the owner too, changes the word by
//            compare-and-swap, which adds one to the tag.
//
//            ┌── thief: Seize (seized = epoch), Barrier, SetRevoked ───┐
//         biased                                                     shared
//            └── owner, BeginBias: epoch + 1, look, bias = epoch ─────┘
//
// Taking the bias. A thief raises `seized` to the epoch that it read, then
// calls the platform's barrier itself, then may Steal, expecting that epoch.
// After the barrier the owner is in no section that had read the older
// `seized`, and all that it did in earlier ones is seen. That somebody else has
// raised `seized` says nothing of a barrier; `revoked`, which is written after
// one has returned, does, and spares it.
//
// Giving it back. Only the owner moves the epoch, by compare-and-swap, so a
// thief that still expects the old one fails. The epoch is visible before the
// owner itself goes by it (`bias` comes last): in between, the owner looks for
// pressure once more, and a signal handler finds the cache still shared.
//
// Shared protocol. Who takes copies slots below the top it read and lowers the
// top; who pushes fills slots from the top up and raises the top. Only the
// owner pushes, so slots below a top that somebody read change only after the
// version {epoch, tag} has: a copy that was overtaken never passes its
// compare-and-swap. The owner may use it at any time, bias or not.
//
// Pressure. The cache knows nothing of it, but PoolCore's argument that no
// buffer stays idle in a cache while somebody is short rests on BeginBias,
// PushShared, Seize and Steal being seq_cst with respect to the ledger.
//
// Signals (P10). A section is restarted by a signal. The owner's operations in
// shared mode and the way back to bias are not: a handler's push between
// reading the top and filling the slot would fill the same slot, and a
// handler's section leaves the version as it is. So the owner hides the cache
// meanwhile: a handler that finds it hidden goes past it, and does not bring
// the bias back.
//
// Threads:   Seize, IsRevoked, SetRevoked, Steal, size, biased, owner, limit,
//            MoveLimit, TakeLimit, operations, IsIdle: any. The rest: the owner
//            and its handlers; TryOwn, who wants to be the owner.
// Progress:  lock-free; sections do not fail for ever, as each restart means
//            that the thread was preempted or interrupted.
// Lifetime:  type-stable: records are never unmapped before the pool is gone,
//            and the epochs go on when another thread takes one over.
// ABA (P5):  the version repeats only after 2^32 epochs. One lasts until the
//            owner has come back to bias, which takes it at least 2^8 shared
//            operations (BiasPolicy), or until half of the 2^22 tags are used:
//            2^40 operations or more.
template <class Platform>
class alignas(kCacheLine) ThreadCache {
  CacheWords<Platform> words_;  // first: no offset to add, and in one line

 public:
  ThreadCache() : revoked_(0), hidden_(0), owner_(0) {
    // relaxed, all: published with the pool.
    words_.word.store(Word::Pack(1, 0, 0), std::memory_order::relaxed);
    words_.seized.store(1, std::memory_order::relaxed);
    words_.bias.store(1, std::memory_order::relaxed);
    revoked_.store(1, std::memory_order::relaxed);
    words_.limit.store(0, std::memory_order::relaxed);
    for (auto& slot : words_.slots) {
      slot.store(nullptr, std::memory_order::relaxed);
    }
  }

  // Lets the owner, which calls this, use sections, if the kernel restarts them
  // in this thread; and no longer, before it gives the cache up. Who is not
  // armed must not begin a bias.
  void Arm() { words_.area.Arm(); }
  void Disarm() { words_.area.Disarm(); }
  bool armed() const { return words_.area.armed(); }

  // All takes are off the top, and put what has lain there longest first.

  // --- The owner, biased. All or none.

  // Takes out.size() buffers.
  SectionResult PopBiased(std::span<std::byte*> out) {
    return Platform::PopBiased(words_, out);
  }

  // Puts all of `in`, in order, if at most limit() are cached then.
  SectionResult PushBiased(std::span<std::byte* const> in) {
    return Platform::PushBiased(words_, in);
  }

  // --- The owner, shared. All or none; kUnfit if a handler finds it hidden
  // too.

  SharedResult PopShared(std::span<std::byte*> out) {
    const HideScope scope(*this);
    if (!scope.hides()) return SharedResult::kUnfit;
    if (biased()) return SharedResult::kBiased;
    const auto count = static_cast<uint32_t>(out.size());
    return Take(out, count, std::nullopt) != 0 ? SharedResult::kDone
                                               : SharedResult::kUnfit;
  }

  SharedResult PushShared(std::span<std::byte* const> in) {
    const HideScope scope(*this);
    if (!scope.hides()) return SharedResult::kUnfit;
    if (biased()) return SharedResult::kBiased;
    const auto count = static_cast<uint32_t>(in.size());
    // (1) acquire: pairs with (5), so that a thief's copies of the slots that
    // are filled here come before.
    uint64_t word = words_.word.load(std::memory_order::acquire);
    for (;;) {
      const uint32_t top = Word::TopOf(word);
      if (top + count > limit()) return SharedResult::kUnfit;
      if (Word::TagOf(word) >= kTagLimit) word = Renew(word);
      for (uint32_t i = 0; i < count; ++i) {
        // relaxed: published by (2).
        words_.slots[Word::TopOf(word) + i].store(in[i],
                                                  std::memory_order::relaxed);
      }
      // (2) seq_cst: release pairs with (3), publishing the slots; the total
      // order is what PoolCore's look at the ledger afterwards relies on.
      // Failure, acquire: as (1).
      if (words_.word.compare_exchange_strong(
              word, Word::Next(word, Word::TopOf(word) + count),
              std::memory_order::seq_cst, std::memory_order::acquire)) {
        return SharedResult::kDone;
      }
    }
  }

  // --- The owner, bias or not.

  // Takes up to out.size() buffers, as many as there are; 0 if none, or hidden.
  uint32_t PopUpTo(std::span<std::byte*> out) {
    for (;;) {
      const auto part = out.first(std::min(size_t{size()}, out.size()));
      if (part.empty() || hidden()) return 0;
      if (PopBiased(part) == SectionResult::kDone ||
          PopShared(part) == SharedResult::kDone) {
        return static_cast<uint32_t>(part.size());
      }
    }
  }

  // Brings the bias back: begins a new epoch, which thieves have to seize, and
  // uses it unless `look` finds that there is pressure now. True if biased.
  template <class Look>
  bool BeginBias(Look look) {
    const HideScope scope(*this);
    if (!scope.hides() || biased()) return false;
    uint64_t word = words_.word.load();
    const uint32_t next =
        std::max(Word::EpochOf(word), words_.seized.load()) + 1;
    // (6) seq_cst: either the look that follows sees a thief's pressure, or the
    // thief's Seize sees this epoch.
    if (!words_.word.compare_exchange_strong(
            word, Word::Pack(next, 0, Word::TopOf(word)))) {
      return false;
    }
    if (look()) {
      SeizeOwn();
      return false;
    }
    // relaxed: read by this very thread. A thief that has seized the epoch
    // already is seen by the sections, which read `seized` each time.
    words_.bias.store(next, std::memory_order::relaxed);
    return true;
  }

  // Takes the owner's own bias, for which no barrier is needed: it is in no
  // section, and none of its own that a handler interrupted goes on. Returns
  // the epoch, for Steal.
  Epoch SeizeOwn() {
    const Epoch epoch = Seize();
    SetRevoked(epoch);
    return epoch;
  }

  // --- Anyone.

  // Takes the bias of the epoch that the cache is in. Unless IsRevoked then, a
  // barrier must follow, and SetRevoked, before Steal.
  Epoch Seize() {
    const uint32_t epoch = Word::EpochOf(words_.word.load());
    GrowTo(words_.seized, epoch);
    return Epoch{epoch};
  }
  // acquire, with the release in GrowTo: what the owner did before somebody's
  // barrier is seen by who relies on it here.
  bool IsRevoked(Epoch epoch) const {
    return revoked_.load(std::memory_order::acquire) >=
           static_cast<uint32_t>(epoch);
  }
  void SetRevoked(Epoch epoch) {
    GrowTo(revoked_, static_cast<uint32_t>(epoch));
  }

  // Takes up to out.size() buffers of a cache that was revoked in this epoch.
  // Returns how many, 0 if it is empty; nothing if the epoch is over.
  std::optional<uint32_t> Steal(Epoch epoch, std::span<std::byte*> out) {
    return Take(out, 1, epoch);
  }

  // Buffers in the cache at some moment of the call.
  uint32_t size() const {
    // relaxed: a hint, nothing is followed.
    return Word::TopOf(words_.word.load(std::memory_order::relaxed));
  }

  // Most buffers that the owner may keep in it, at most kMaxCacheSize; 0 at
  // first. Whoever lowers it leaves what is in the cache there; and what the
  // owner does meanwhile may go by the old one.
  uint32_t limit() const {
    // relaxed: nothing follows from it but how much is cached.
    return words_.limit.load(std::memory_order::relaxed);
  }
  void SetLimit(uint32_t limit) { words_.limit.store(limit); }
  bool MoveLimit(uint32_t from, uint32_t to) {
    return words_.limit.compare_exchange_strong(from, to);
  }
  uint32_t TakeLimit() { return words_.limit.exchange(0); }

  // True if the cache is biased, at some moment of the call.
  bool biased() const {
    // relaxed, both. The owner, who decides by it, is the only one that writes
    // `bias`, and `seized` only grows: false holds until the owner itself, or
    // its handler, brings the bias back; a true that is stale sends the owner
    // back to a section, which looks again. For others a statistic.
    return words_.seized.load(std::memory_order::relaxed) <
           words_.bias.load(std::memory_order::relaxed);
  }

  // Ownership of the record, for CacheRegistry: whose it is, kNoThread if
  // nobody's. seq_cst: what the last owner did comes before the next one's.
  bool TryOwn(ThreadToken thread) {
    auto nobody = static_cast<uintptr_t>(kNoThread);
    return owner_.load() == nobody &&
           owner_.compare_exchange_strong(nobody,
                                          static_cast<uintptr_t>(thread));
  }
  void Disown() { owner_.store(static_cast<uintptr_t>(kNoThread)); }
  ThreadToken owner() const { return ThreadToken{owner_.load()}; }

  // Numbers that the owner counts through, for going over other caches.
  uint32_t NextVisit() { return visits_++; }

  // Buffers that have gone through the cache, in and out.
  uint64_t operations() const {
    return counters.takes.Get() + counters.gives.Get();
  }

  // True if none has since somebody first found so, at least `nanos` before
  // `now`. Anyone may ask; askers that race may have to ask again.
  bool IsIdle(int64_t now, int64_t nanos) {
    return idle_watch_.IsIdle(operations(), now, nanos);
  }
  // What has gone through until `now` counts no more.
  void StartIdling(int64_t now) { idle_watch_.Start(operations(), now); }

  // Written by the owner alone.
  ThreadCounters<Platform> counters;
  BiasPolicy policy;

 private:
  using Word = CacheWord;
  using Word32 = typename Platform::template OwnAtomic<uint32_t>;

  // Hides the cache from the owner's signal handlers, unless it is hidden: then
  // this is in a handler, which has to go past it.
  class HideScope {
   public:
    explicit HideScope(ThreadCache& cache)
        : cache_(cache), hides_(!cache.hidden()) {
      if (hides_) Set(1);
    }
    ~HideScope() {
      if (hides_) Set(0);
    }
    HideScope(const HideScope&) = delete;
    HideScope& operator=(const HideScope&) = delete;

    bool hides() const { return hides_; }

   private:
    void Set(uint32_t value) {
      // relaxed, between signal fences: read only by this very thread.
      Platform::SignalFence();
      cache_.hidden_.store(value, std::memory_order::relaxed);
      Platform::SignalFence();
    }
    ThreadCache& cache_;
    const bool hides_;
  };

  bool hidden() const {
    // relaxed: written by this very thread.
    return hidden_.load(std::memory_order::relaxed) != 0;
  }

  // From here on the owner moves to a new epoch rather than use up the tags: a
  // thief alone can't, it takes at least one buffer for each.
  static constexpr uint32_t kTagLimit = 1u << (Word::kTagBits - 1);

  static void GrowTo(Word32& word, uint32_t value) {
    uint32_t seen = word.load();
    while (seen < value && !word.compare_exchange_weak(seen, value)) {
    }
  }

  // Moves a shared cache to a new epoch, which is shared from its first moment
  // as it is seized before it begins. Owner only. Returns the word as it is.
  uint64_t Renew(uint64_t word) {
    const uint32_t next =
        std::max(Word::EpochOf(word), words_.seized.load()) + 1;
    GrowTo(words_.seized, next);
    SetRevoked(Epoch{next});
    uint64_t renewed = Word::Pack(next, 0, Word::TopOf(word));
    return words_.word.compare_exchange_strong(word, renewed) ? renewed : word;
  }

  // Takes as many as there are up to out.size(), but no fewer than `at_least`;
  // 0 if there are fewer. Nothing if the cache has left `epoch`, if given.
  std::optional<uint32_t> Take(std::span<std::byte*> out, uint32_t at_least,
                               std::optional<Epoch> epoch) {
    // (3) acquire: pairs with (2), so that the slots below the top are seen.
    // seq_cst: a sweep's look at the cache must not come before the pressure
    // that the sweep serves (PoolCore).
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
      // (5) seq_cst: release pairs with (1): with acquire alone, the loads (4)
      // may be performed after it, when the owner has filled the slots anew.
      // Failure: as (3).
      if (words_.word.compare_exchange_strong(word,
                                              Word::Next(word, top - count))) {
        return count;
      }
    }
  }

  Word32 revoked_;
  Word32 hidden_;
  typename Platform::template OwnAtomic<uintptr_t> owner_;
  uint32_t visits_ = 0;
  alignas(kCacheLine) IdleWatch<Platform> idle_watch_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_THREAD_CACHE_H_
