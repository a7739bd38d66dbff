#ifndef TANDEM_SESSION_WAITER_QUEUE_H_
#define TANDEM_SESSION_WAITER_QUEUE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "tandem/pool/depot/waiter_service.h"
#include "tandem/pool/types.h"
#include "tandem/pool/wait_door.h"
#include "tandem/session/serve_scope.h"
#include "tandem/session/wait_class.h"
#include "tandem/session/wait_counters.h"
#include "tandem/session/waiter_list.h"
#include "tandem/session/waiter_record.h"
#include "tandem/session/waker.h"

namespace tandem {

// Names one wait: {version 38, record 24}. 0 names no wait.
struct WaitTicket {
  static WaitTicket Of(WaiterIndex index, WaiterState state) {
    return {state.version() << kIndexBits | static_cast<uint32_t>(index)};
  }
  WaiterIndex index() const { return WaiterIndex(word & kIndexMask); }
  uint64_t version() const { return word >> kIndexBits; }
  bool operator==(const WaitTicket&) const = default;

  uint64_t word = 0;
};

// The counts of one core's threads, class by class.
template <class Platform>
struct alignas(kCacheLine) CoreWaits {
  std::array<WaitCounters<Platform>, kMaxClasses> classes;
};

// All sessions that wait for buffers of one pool: joining, serving in order,
// direct hand-over, cancelling (S4, S5, S7, S8).
//
// The protocol. A wait is a record of the queue (waiter_record.h), linked in
// the list of its class (waiter_list.h), counted in the pool's ledger
// (pool/wait_door.h), and known to its session by a ticket. It goes through
// these states. A change of `state` is one compare-and-swap; the thread that
// makes it performs the actions listed with it.
//
//   state       list      ledger   holds         leaves it by
//   ----------  --------  -------  ------------  ---------------------------
//   kIdle       no        no       none: spare   TakeOrJoin: counted in the
//   or over                        or free       ledger, then kWaiting, then
//                                                the ticket, then linked
//   kWaiting    linked    counted  list, owner   Serve, any thread, with the
//                                                buffers: kGranted
//                                                Cancel, any thread: kCancelled
//   kGranted    linked,   until    list, owner   Redeem, by its session: the
//               then not  EndWait                owner's hold
//   kCancelled  linked,   until    list, then    Cancel drops the owner's hold
//               then not  EndWait  none          itself
//
// Any thread that passes a finished record marks and unlinks it; the unlinking
// thread drops the list's hold. The thread that drops the last hold returns the
// record. A record's version names the wait, so every late access fails: an
// offer by a serving thread, a cancel, a look by the session.
//
// Joining. A thread that finds that other sessions go first joins the waiting
// sessions by one compare-and-swap on the ledger. It need not search the
// caches, because there has been pressure since before it came. A thread that
// finds no such session raises a shortage, empties every cache, looks a last
// time, and turns the shortage into a wait. In both cases the wait is counted,
// then linked, and then the thread serves once, which is its last look.
//
// Serving. Any thread may serve at any time; there is no single consumer. The
// serving thread reserves buffers for the first wait in order, collects them,
// and offers them by the compare-and-swap; if it loses, it gives the buffers up
// and looks again. So a thread that stops while serving withholds one waiter's
// buffers and holds up no session: the next serving thread reserves other
// buffers for the same waiter.
//
// No wake-up is lost. A subscriber is counted in the ledger, then linked, then
// serves. A releaser credits the ledger, and serves if the ledger counts
// waiters. Both change the one word of the ledger. If the credit came first,
// the subscriber finds the buffers; else the releaser finds the subscriber
// counted, and either linked or about to serve. A cancel also serves, because
// its wait may have held up others.
//
// Order. Within a class: by link order. Between classes: by rank; the first
// class with a waiter is served, or none is. A class that others have overtaken
// `max_overtakes` times is due: its first wait goes before all waits that began
// later by the clock, except those of class 0 (complete), which is never held
// back.
//
// Threads:  any, including signal handlers. Wake-ups caused inside a wake-up
//           are deferred until it returns, not nested.
// Progress: lock-free.
// Memory:   the records given at construction, no more.
// Cost:     a wait, its grant and its redemption take 11 read-modify-writes of
//           words that other threads also write: three on the ledger (join,
//           reserve, end), three on the list (append, mark, unlink), one on the
//           state, one on the holds, and the release's credit, push and pop of
//           the buffers. Statistics and spare records are on the core's own
//           lines.
template <class Platform>
class WaiterQueue final : public WaiterService {
 public:
  using Door = WaitDoor<Platform>;
  using Cache = typename Door::Cache;
  using Records = WaiterRecordPool<Platform>;
  using TicketWord = typename Platform::template Atomic<uint64_t>;

  struct ClassRule {
    uint32_t need;  // 1 or 2
    uint32_t keep;
  };
  struct Limits {
    uint32_t max_waiters;
    uint32_t max_completes;  // in addition to max_waiters
    uint32_t max_overtakes;
  };
  enum class [[nodiscard]] Joined{kTaken, kWaiting, kOverloaded};

  // The memory of the queue: as many links as records; one spare and one
  // element of counts for each core.
  struct Storage {
    std::span<typename Records::Record> records;
    std::span<typename Records::Link> links;
    std::span<typename Records::Spare> spares;
    std::span<CoreWaits<Platform>> counts;
  };

  // `classes` is in order of rank, at most kMaxClasses; class 0 is complete.
  // `storage` and the objects behind `door` must outlive the queue.
  WaiterQueue(Door door, std::span<const ClassRule> classes, Limits limits,
              const Storage& storage)
      : door_(door),
        limits_(limits),
        records_(storage.records, storage.links, storage.spares),
        counts_(storage.counts),
        left_(0),
        class_count_(classes.size()) {
    for (size_t i = 0; i < classes.size(); ++i) {
      queues_[i].emplace(i, classes[i], records_);
    }
  }

  const ClassRule& rule(ClassId id) const { return queues_[Int(id)]->rule; }

  AllocationTerms TermsOf(ClassId id) const {
    return {.keep = rule(id).keep, .class_id = id};
  }

  // For an allocation of this class that LockFreePool::TakeCheaply could not
  // meet: takes out.size() buffers after searching everywhere, or joins the
  // queue. kTaken: the buffers are in `out`, and `waker` is not called.
  // kWaiting: the waker is called once, unless the wait is cancelled first.
  // kOverloaded: max_waiters sessions wait already, and nothing has changed.
  //
  // `ticket` is set before any thread can serve the wait and is not touched
  // after that: a session that is woken on another thread may be gone when this
  // function returns. The ticket is 0 if the answer is not kWaiting.
  Joined TakeOrJoin(Cache* cache, ClassId id, std::span<std::byte*> out,
                    Waker waker, TicketWord& ticket) {
    if (door_.MustWait(id)) {
      const WaiterIndex index = TakeRecord();
      if (index != kNoWaiter) {
        if (door_.TryJoinWait(LimitOf(id))) {
          return Link(index, id, out, waker, ticket);
        }
        records_.Drop(index, Records::kLinked | Records::kOwned);
      }
    }
    typename Door::Shortage shortage(door_.core(), cache);
    return TakeOrJoin(shortage, id, out, waker, ticket);
  }

  // The same for a session that holds an empty buffer. It takes the other
  // buffer as complete, into first(1) of `out`. Otherwise it calls `give_back`,
  // which gives up the held buffer, and continues as pair, for all of `out`.
  // One shortage covers both steps, so caches are searched once.
  template <class GiveBack>
  Joined CompleteOrJoin(Cache* cache, ClassId complete, GiveBack give_back,
                        ClassId pair, std::span<std::byte*, 2> out, Waker waker,
                        TicketWord& ticket) {
    typename Door::Shortage shortage(door_.core(), cache);
    if (shortage.Take(out.template first<1>(), TermsOf(complete))) {
      return Joined::kTaken;
    }
    give_back();
    return TakeOrJoin(shortage, pair, out, waker, ticket);
  }

  // Returns the state of the wait. kGranted: `out`, whose size is the class's
  // need, has the buffers, and the ticket is void. kCancelled: the ticket is
  // void. Only one thread at a time may call this, until the ticket is void.
  WaiterStatus Redeem(WaitTicket ticket, std::span<std::byte*> out) {
    const WaiterState state{records_[ticket.index()].state.load()};
    if (state.version() != ticket.version()) return WaiterStatus::kCancelled;
    if (state.status() == WaiterStatus::kGranted) {
      door_.Unpack(state.buffer(), out);
      records_.Drop(ticket.index(), Records::kOwned);
    }
    return state.status();
  }

  // Ends the wait, from any thread. True: the wait is over, its waker is called
  // only if it asks for that (Waker::on_cancel), and the ticket is void. False:
  // the wait was granted or cancelled before; if it was granted, its waker has
  // been or is being called.
  bool Cancel(WaitTicket ticket) {
    auto& record = records_[ticket.index()];
    WaiterState state{record.state.load()};
    if (state.version() != ticket.version() || !state.waiting()) return false;
    // relaxed, both: validated by the compare-and-swap.
    ClassQueue& queue =
        *queues_[record.class_id.load(std::memory_order::relaxed)];
    const Waker waker = WakerOf(record);
    do {
      if (state.version() != ticket.version() || !state.waiting()) return false;
    } while (!record.state.compare_exchange_weak(
        state.word, state.With(WaiterStatus::kCancelled, kNoBuffer).word));
    OwnCounts(queue).CountCancel();
    // The class is empty: reset its overtake count.
    if (!queue.list.First()) ResetOvertaken(queue);
    door_.EndWait();
    records_.Drop(ticket.index(), Records::kOwned);
    // Unlink cancelled waits once they outnumber the waiting sessions: this
    // bounds memory, and the passes over the lists visit each of them only once
    // on average.
    if (left_.fetch_add(1) + 1 > door_.waiting() + kDeadSlack) {
      left_.store(0);
      PurgeAll();
    }
    if (waker.on_cancel) Call(waker);
    Serve();
    return true;
  }

  // What a thread may sleep on for this ticket: the low half of its word
  // changes when the wait ends.
  SleepWord<Platform>& WordOf(WaitTicket ticket) {
    return records_[ticket.index()];
  }

  // Implements WaiterService:
  bool MustWait(ClassId id) override {
    for (size_t i = 0; i < class_count_; ++i) {
      ClassQueue& queue = *queues_[i];
      if (i > Int(id) && (Int(id) == 0 || !IsDue(queue))) continue;
      if (queue.list.First()) return true;
    }
    return false;
  }
  void Overtook(ClassId id) override {
    if (Int(id) == 0) return;
    bool due = false;
    for (size_t i = Int(id) + 1; i < class_count_; ++i) {
      if (!queues_[i]->list.First()) continue;
      due |= queues_[i]->overtaken.fetch_add(1) + 1 == limits_.max_overtakes;
    }
    // From now on there may be enough for the sessions that go first.
    if (due) Serve();
  }
  void Serve() override { ServeAs(WaitTicket{}); }

  // Totals over the waits of this class. Adds up the counts of all cores.
  WaitTotals totals(ClassId id) const {
    WaitTotals totals;
    for (const auto& core : counts_) core.classes[Int(id)].AddTo(totals);
    return totals;
  }

 private:
  // A cancel unlinks dead records once they exceed the number of waiting
  // sessions by more than this.
  static constexpr uint32_t kDeadSlack = 16;

  struct ClassQueue {
    ClassQueue(size_t number_of_class, const ClassRule& rule_of_class,
               Records& records)
        : number(number_of_class),
          rule(rule_of_class),
          list(records),
          overtaken(0) {}

    const size_t number;
    const ClassRule rule;
    WaiterList<Platform> list;
    // Overtakes since a waiter of this class was last served.
    typename Platform::template Atomic<uint32_t> overtaken;
  };

  struct Candidate {
    size_t class_id;
    WaiterIndex index;
    WaiterState state;
    int64_t since;       // when the wait began
    uint32_t overtakes;  // bit i: class i has a waiter that came before
  };

  static constexpr uint8_t Int(ClassId id) { return static_cast<uint8_t>(id); }

  bool IsDue(const ClassQueue& queue) const {
    return queue.overtaken.load() >= limits_.max_overtakes;
  }

  WaiterIndex TakeRecord() {
    WaiterIndex index = records_.Take();
    if (index != kNoWaiter) return index;
    PurgeAll();
    return records_.Take();
  }
  void PurgeAll() {
    for (size_t i = 0; i < class_count_; ++i) queues_[i]->list.Purge();
  }

  // A complete holds a buffer that other sessions wait for, so it is not
  // refused because of them. It always finds a place, because each complete
  // holds a buffer.
  uint32_t LimitOf(ClassId id) const {
    return limits_.max_waiters + (Int(id) == 0 ? limits_.max_completes : 0);
  }

  Joined TakeOrJoin(typename Door::Shortage& shortage, ClassId id,
                    std::span<std::byte*> out, Waker waker,
                    TicketWord& ticket) {
    if (shortage.Take(out, TermsOf(id))) return Joined::kTaken;
    const WaiterIndex index = TakeRecord();
    if (index == kNoWaiter) return Joined::kOverloaded;
    if (!shortage.TryBecomeWait(LimitOf(id))) {
      records_.Drop(index, Records::kLinked | Records::kOwned);
      return Joined::kOverloaded;
    }
    return Link(index, id, out, waker, ticket);
  }

  // For a session that the ledger counts as waiting. Includes the last look.
  Joined Link(WaiterIndex index, ClassId id, std::span<std::byte*> out,
              Waker waker, TicketWord& ticket) {
    ClassQueue& queue = *queues_[Int(id)];
    auto& record = records_[index];
    const WaiterState state = WaiterState{record.state.load()}.Next();
    // relaxed: published by Append; WaiterRecord says who may read the fields.
    record.wake.store(waker.wake, std::memory_order::relaxed);
    record.wake_context.store(waker.context, std::memory_order::relaxed);
    record.on_cancel.store(waker.on_cancel, std::memory_order::relaxed);
    record.since_nanos.store(Platform::NowNanos(), std::memory_order::relaxed);
    record.class_id.store(Int(id), std::memory_order::relaxed);
    record.sleeper.store(0, std::memory_order::relaxed);
    OwnCounts(queue).CountWait();
    // First the state, then the ticket: a thread that reads the ticket may
    // cancel the wait at once, and a refused cancel must mean that the wait is
    // over.
    record.state.store(state.word);
    const WaitTicket self = WaitTicket::Of(index, state);
    ticket.store(self.word);
    queue.list.Append(index, state);
    if (!ServeAs(self)) return Joined::kWaiting;
    ticket.store(0);
    // This thread served the wait, so no other thread has cancelled it.
    door_.Unpack(WaiterState{record.state.load()}.buffer(), out);
    records_.Drop(index, Records::kOwned);
    return Joined::kTaken;
  }

  // The counts of the core that the caller runs on, which is only a hint.
  WaitCounters<Platform>& OwnCounts(const ClassQueue& queue) {
    return counts_[Platform::CurrentCore() % counts_.size()]
        .classes[queue.number];
  }

  static void ResetOvertaken(ClassQueue& queue) {
    if (queue.overtaken.load() != 0) queue.overtaken.store(0);
  }

  // Serves all waits that can be served. True if this call served the wait
  // `self`, whose waker is then not called.
  bool ServeAs(WaitTicket self) {
    bool served_self = false;
    ServeScope<Platform>::Run(this, [&] {
      // Without a buffer no wait can be served. A thread that credits a buffer
      // after this reading counts the waits, and serves.
      while (door_.HasFree()) {
        const std::optional<Candidate> next = Pick();
        if (!next) return;
        std::array<std::byte*, 2> storage;
        const ClassRule& rule = queues_[next->class_id]->rule;
        const auto buffers = std::span(storage).first(rule.need);
        if (!door_.TakeForWaiter(buffers, rule.keep)) return;
        if (!Grant(*next, buffers, self, served_self)) door_.GiveUp(buffers);
      }
    });
    return served_self;
  }

  // Returns the wait to serve next, if there is any.
  std::optional<Candidate> Pick() {
    std::optional<Candidate> best;
    for (size_t i = 0; i < class_count_; ++i) {
      const auto first = queues_[i]->list.First();
      if (!first) continue;
      // relaxed: validated by the compare-and-swap in Grant.
      const int64_t since =
          records_[first->index].since_nanos.load(std::memory_order::relaxed);
      if (best && since >= best->since) continue;
      if (!best || IsDue(*queues_[i])) {
        best = Candidate{i, first->index, first->state, since, 0};
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
    // relaxed: validated by the compare-and-swap below.
    const Waker waker = WakerOf(record);
    const BufferIndex first = door_.Pack(buffers);
    uint64_t expected = to.state.word;
    if (!record.state.compare_exchange_strong(
            expected, to.state.With(WaiterStatus::kGranted, first).word)) {
      return false;
    }
    ClassQueue& queue = *queues_[to.class_id];
    door_.EndWait();
    ResetOvertaken(queue);
    for (size_t i = to.class_id + 1; i < class_count_; ++i) {
      if (to.overtakes >> i & 1) queues_[i]->overtaken.fetch_add(1);
    }
    OwnCounts(queue).CountGrant(Platform::NowNanos() - to.since);
    if (WaitTicket::Of(to.index, to.state) == self) {
      served_self = true;
    } else {
      Call(waker);
    }
    return true;
  }

  // A waker without a context gets the word that its thread sleeps on.
  static Waker WakerOf(typename Records::Record& record) {
    Waker waker{record.wake.load(std::memory_order::relaxed),
                record.wake_context.load(std::memory_order::relaxed),
                record.on_cancel.load(std::memory_order::relaxed) != 0};
    if (waker.wake != nullptr && waker.context == nullptr) {
      waker.context = static_cast<SleepWord<Platform>*>(&record);
    }
    return waker;
  }

  // Without a function there is no wake-up.
  static void Call(const Waker& waker) {
    if (waker.wake != nullptr) waker.wake(waker.context);
  }

  Door door_;
  const Limits limits_;
  Records records_;
  const std::span<CoreWaits<Platform>> counts_;
  // Waits of all classes that were cancelled since dead records were last
  // unlinked.
  alignas(kCacheLine) typename Platform::template Atomic<uint32_t> left_;
  const size_t class_count_;
  std::array<std::optional<ClassQueue>, kMaxClasses> queues_;
};

}  // namespace tandem

#endif  // TANDEM_SESSION_WAITER_QUEUE_H_
