#ifndef TANDEM_SESSION_WAITER_QUEUE_H_
#define TANDEM_SESSION_WAITER_QUEUE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "tandem/pool/counters.h"
#include "tandem/pool/depot.h"
#include "tandem/pool/pool_core.h"
#include "tandem/pool/types.h"
#include "tandem/pool/waitlist.h"
#include "tandem/session/serve_scope.h"
#include "tandem/session/wait_class.h"
#include "tandem/session/wait_counters.h"
#include "tandem/session/waiter_list.h"
#include "tandem/session/waiter_record.h"
#include "tandem/session/waker.h"

namespace tandem {

// Names one wait: {version 38, record 24}. 0 names none.
struct WaitTicket {
  static WaitTicket Of(WaiterIndex index, WaiterState state) {
    return {state.version() << kIndexBits | static_cast<uint32_t>(index)};
  }
  WaiterIndex index() const { return WaiterIndex(word & kIndexMask); }
  uint64_t version() const { return word >> kIndexBits; }
  bool operator==(const WaitTicket&) const = default;

  uint64_t word = 0;
};

// Everyone who waits for buffers of one pool: subscribing, serving in order,
// direct hand-over, cancelling (S4, S5, S7, S8).
//
// States of a wait, each change one compare-and-swap on its record:
//
//   kWaiting ── Serve, by anyone, with the buffers ──▶ kGranted ── Collect
//            ── Cancel, by anyone ──▶ kCancelled
//
// Serving. Anyone may serve at any time; nobody is "the" consumer. Who serves
// reserves for the first in order, collects, and offers the buffers by the
// compare-and-swap; who loses it publishes them again and looks again. So a
// thread that stops while serving keeps one waiter's buffers in its hands and
// holds up nobody: the next one that serves reserves others for the same
// waiter.
//
// No wake-up is lost. A subscriber is counted in the ledger, then linked, then
// serves. A releaser credits the ledger, and serves if it counts waiters. Both
// touch the ledger's one word: if the credit came first, the subscriber finds
// the buffers, else the releaser finds the subscriber counted, and either
// linked or about to serve. A cancel serves too: it may have held up others.
//
// Order. Within a class, by link order. Between classes, by rank: the first
// class with a waiter is served or nobody is. A class that others have
// overtaken `max_overtakes` times is due: its first goes before all that came
// after it, but for class 0 (complete), which is never held back.
//
// Threads:  any, signal handlers included; wake-ups caused inside a wake-up are
//           deferred until it returns, not nested.
// Progress: lock-free. Memory: the records given at construction, no more.
template <class Platform>
class WaiterQueue final : public Waitlist {
 public:
  using Core = PoolCore<Platform>;
  using Records = WaiterRecords<Platform>;
  using TicketWord = typename Platform::template Atomic<uint64_t>;

  struct ClassRule {
    uint32_t need;  // 1 or 2
    uint32_t keep;
  };
  struct Limits {
    uint32_t max_waiters;
    uint32_t max_completes;  // on top of these
    uint32_t max_overtakes;
  };
  enum class [[nodiscard]] Subscribed{kServed, kWaiting, kOverloaded};

  // `classes` in order of rank, at most kMaxClasses; class 0 is complete.
  // The spans must outlive the queue, and so must `core`.
  WaiterQueue(Core& core, std::span<const ClassRule> classes, Limits limits,
              std::span<typename Records::Record> records,
              std::span<typename Records::Link> links)
      : depot_(core.depot()),
        limits_(limits),
        records_(records, links),
        arrivals_(0),
        class_count_(classes.size()) {
    for (size_t i = 0; i < classes.size(); ++i) {
      lines_[i].emplace(classes[i], records_);
    }
  }

  static constexpr Rank RankOf(ClassId id) { return Rank{Int(id)}; }
  const ClassRule& rule(ClassId id) const { return lines_[Int(id)]->rule; }

  // Joins the queue, with an allocation of this class that has just failed
  // under `shortage`. kServed: the buffers are there, to be fetched by Collect;
  // `waker` is not called. kWaiting: it is called, once, unless the wait is
  // cancelled first. kOverloaded: max_waiters sessions wait already, and
  // nothing has changed.
  //
  // `ticket` is set before anyone can serve the wait and not touched after: a
  // session that is woken on another thread may be gone when this returns.
  Subscribed Subscribe(typename Core::Shortage& shortage, ClassId id,
                       Waker waker, TicketWord& ticket) {
    const WaiterIndex index = TakeRecord();
    if (index == kNoWaiter) return Subscribed::kOverloaded;
    // Who holds a buffer that others wait for is not turned away for them: a
    // complete always finds a place, as each holds a buffer.
    const uint32_t limit =
        limits_.max_waiters + (Int(id) == 0 ? limits_.max_completes : 0);
    if (!shortage.TryBecomeWait(limit)) {
      records_.Drop(index, Records::kLinked | Records::kOwned);
      return Subscribed::kOverloaded;
    }
    Line& line = *lines_[Int(id)];
    auto& record = records_[index];
    const WaiterState state = WaiterState{record.state.load()}.Next();
    // relaxed: published by Append; see WaiterRecord for who may read.
    record.wake.store(waker.wake, std::memory_order::relaxed);
    record.wake_context.store(waker.context, std::memory_order::relaxed);
    record.on_cancel.store(waker.on_cancel, std::memory_order::relaxed);
    record.since_nanos.store(Platform::NowNanos(), std::memory_order::relaxed);
    record.arrival.store(arrivals_.fetch_add(1), std::memory_order::relaxed);
    record.line.store(Int(id), std::memory_order::relaxed);
    // Counted first, then waiting, then known: who reads the ticket may cancel
    // the wait at once, and a cancel that is refused means that it is over.
    line.counters.waiters.Come();
    record.state.store(state.word);
    const WaitTicket self = WaitTicket::Of(index, state);
    ticket.store(self.word);
    line.list.Append(index, state);
    return ServeAs(self) ? Subscribed::kServed : Subscribed::kWaiting;
  }

  // How the wait stands. kGranted: `out`, whose size is the class's need, has
  // the buffers, and the ticket is void. kCancelled: the ticket is void. Called
  // by one thread at a time, until the ticket is void.
  WaiterStatus Collect(WaitTicket ticket, std::span<std::byte*> out) {
    const WaiterState state{records_[ticket.index()].state.load()};
    if (state.version() != ticket.version()) return WaiterStatus::kCancelled;
    if (state.status() == WaiterStatus::kGranted) {
      out[0] = depot_.map().Address(state.buffer());
      if (out.size() == 2) out[1] = depot_.core_pools().ChainedTo(out[0]);
      records_.Drop(ticket.index(), Records::kOwned);
    }
    return state.status();
  }

  // Ends the wait, from any thread. True: it is over, its waker is called only
  // if it asks for that (Waker::on_cancel), and the ticket is void. False: it
  // was granted or cancelled before; if granted, its waker is being called or
  // was.
  bool Cancel(WaitTicket ticket) {
    auto& record = records_[ticket.index()];
    WaiterState state{record.state.load()};
    if (state.version() != ticket.version() || !state.waiting()) return false;
    // relaxed, both: validated by the compare-and-swap.
    Line& line = *lines_[record.line.load(std::memory_order::relaxed)];
    const Waker waker = WakerOf(record);
    do {
      if (state.version() != ticket.version() || !state.waiting()) return false;
    } while (!record.state.compare_exchange_weak(
        state.word, state.With(WaiterStatus::kCancelled, kNoBuffer).word));
    line.counters.waiters.Go();
    line.counters.cancels.Add(1);
    // Whoever was overtaken is gone; the next one starts afresh.
    if (line.waiting() == 0) line.overtaken.store(0);
    depot_.ledger().EndWait();
    records_.Drop(ticket.index(), Records::kOwned);
    if (line.list.linked() > 2 * line.waiting() + kDeadSlack) line.list.Purge();
    if (waker.on_cancel) Call(waker);
    Serve();
    return true;
  }

  // The word that a thread may sleep on for this ticket: its low half changes
  // when the wait is over.
  TicketWord& WordOf(WaitTicket ticket) {
    return records_[ticket.index()].state;
  }

  // What Waitlist declares:
  bool MustWait(Rank rank) override {
    for (size_t i = 0; i < class_count_; ++i) {
      Line& line = *lines_[i];
      if (i > Int(rank) && (Int(rank) == 0 || !IsDue(line))) continue;
      if (line.list.First()) return true;
    }
    return false;
  }
  void Overtook(Rank rank) override {
    if (Int(rank) == 0) return;
    bool due = false;
    for (size_t i = Int(rank) + 1; i < class_count_; ++i) {
      if (lines_[i]->waiting() == 0) continue;
      due |= lines_[i]->overtaken.fetch_add(1) + 1 == limits_.max_overtakes;
    }
    // There may be enough for who goes first from now on.
    if (due) Serve();
  }
  void Serve() override { ServeAs(WaitTicket{}); }

  const WaitCounters<Platform>& counters(ClassId id) const {
    return lines_[Int(id)]->counters;
  }
  // Waiting in this class, about: more while a subscriber links.
  uint64_t waiting(ClassId id) const { return lines_[Int(id)]->waiting(); }

 private:
  // Dead records that a class may keep beyond the number of its living ones
  // before a cancel takes the trouble to unlink them.
  static constexpr uint64_t kDeadSlack = 16;

  struct Line {
    Line(const ClassRule& rule_of_class, Records& records)
        : rule(rule_of_class), list(records), overtaken(0) {}

    uint64_t waiting() const { return counters.waiters.size(); }

    const ClassRule rule;
    WaiterList<Platform> list;
    // Since a waiter of this class was last served.
    typename Platform::template Atomic<uint32_t> overtaken;
    WaitCounters<Platform> counters;
  };

  struct Candidate {
    size_t line;
    WaiterIndex index;
    WaiterState state;
    uint64_t arrival;
    uint32_t overtakes;  // bit i: class i has a waiter that came before
  };

  static constexpr uint8_t Int(ClassId id) { return static_cast<uint8_t>(id); }
  static constexpr uint8_t Int(Rank rank) { return static_cast<uint8_t>(rank); }

  bool IsDue(const Line& line) const {
    return line.overtaken.load() >= limits_.max_overtakes;
  }

  WaiterIndex TakeRecord() {
    WaiterIndex index = records_.Take();
    if (index != kNoWaiter) return index;
    for (size_t i = 0; i < class_count_; ++i) lines_[i]->list.Purge();
    return records_.Take();
  }

  // Serves all that can be. True if the wait `self` was served by this very
  // call, whose waker is then not called.
  bool ServeAs(WaitTicket self) {
    bool served_self = false;
    ServeScope<Platform>::Run(this, [&] {
      while (const std::optional<Candidate> next = Pick()) {
        std::array<std::byte*, 2> storage;
        const ClassRule& rule = lines_[next->line]->rule;
        const auto buffers = std::span(storage).first(rule.need);
        if (!depot_.TakeForWaiter(buffers, rule.keep)) return;
        if (!Grant(*next, buffers, self, served_self)) depot_.Publish(buffers);
      }
    });
    return served_self;
  }

  // Who is to be served next, if anyone waits.
  std::optional<Candidate> Pick() {
    std::optional<Candidate> best;
    for (size_t i = 0; i < class_count_; ++i) {
      const auto first = lines_[i]->list.First();
      if (!first) continue;
      // relaxed: validated by the compare-and-swap in Grant.
      const uint64_t arrival =
          records_[first->index].arrival.load(std::memory_order::relaxed);
      if (best && arrival >= best->arrival) continue;
      if (!best || IsDue(*lines_[i])) {
        best = Candidate{i, first->index, first->state, arrival, 0};
        if (i == 0) break;
      } else {
        best->overtakes |= 1u << i;
      }
    }
    return best;
  }

  // Offers the buffers to the candidate. False if its wait was over.
  bool Grant(const Candidate& to, std::span<std::byte* const> buffers,
             WaitTicket self, bool& served_self) {
    auto& record = records_[to.index];
    // relaxed, both: validated by the compare-and-swap below.
    const Waker waker = WakerOf(record);
    const int64_t since = record.since_nanos.load(std::memory_order::relaxed);
    if (buffers.size() == 2) {
      depot_.core_pools().Chain(buffers[0], buffers[1]);
    }
    const BufferIndex first = depot_.map().IndexOf(buffers[0]);
    uint64_t expected = to.state.word;
    if (!record.state.compare_exchange_strong(
            expected, to.state.With(WaiterStatus::kGranted, first).word)) {
      return false;
    }
    Line& line = *lines_[to.line];
    line.counters.waiters.Go();
    depot_.ledger().EndWait();
    line.overtaken.store(0);
    for (size_t i = to.line + 1; i < class_count_; ++i) {
      if (to.overtakes >> i & 1) lines_[i]->overtaken.fetch_add(1);
    }
    line.counters.CountGrant(Platform::NowNanos() - since);
    if (WaitTicket::Of(to.index, to.state) == self) {
      served_self = true;
    } else {
      Call(waker);
    }
    return true;
  }

  // A waker without a context is given the word that its thread sleeps on.
  static Waker WakerOf(typename Records::Record& record) {
    Waker waker{record.wake.load(std::memory_order::relaxed),
                record.wake_context.load(std::memory_order::relaxed),
                record.on_cancel.load(std::memory_order::relaxed) != 0};
    if (waker.wake != nullptr && waker.context == nullptr) {
      waker.context = &record.state;
    }
    return waker;
  }

  // Without a function nobody is told.
  static void Call(const Waker& waker) {
    if (waker.wake != nullptr) waker.wake(waker.context);
  }

  Depot<Platform>& depot_;
  const Limits limits_;
  Records records_;
  alignas(kCacheLine) typename Platform::template Atomic<uint64_t> arrivals_;
  const size_t class_count_;
  std::array<std::optional<Line>, kMaxClasses> lines_;
};

}  // namespace tandem

#endif  // TANDEM_SESSION_WAITER_QUEUE_H_
