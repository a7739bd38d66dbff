#ifndef TANDEM_TESTS_SCHEDULE_QUEUE_WORLD_H_
#define TANDEM_TESTS_SCHEDULE_QUEUE_WORLD_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/types.h"
#include "tandem/pool/wait_door.h"
#include "tandem/session/wait_class.h"
#include "tandem/session/waiter_queue.h"
#include "tandem/session/waiter_record.h"
#include "tandem/session/waker.h"
#include "tandem/tests/schedule/explore.h"
#include "tandem/tests/schedule/pool_world.h"
#include "tandem/tests/schedule/relacy_platform.h"

namespace tandem {

inline constexpr ClassId kComplete{0};
inline constexpr ClassId kPair{1};
inline constexpr ClassId kReceive{2};

using Queue = WaiterQueue<RelacyPlatform>;

// One session's wait, and the facts about it.
struct Waiter {
  enum class Fate { kNone, kWaiting, kHasBuffers, kCancelled };

  std::span<std::byte* const> buffers() const {
    return std::span(storage).first(size);
  }

  ClassId id{0};
  Queue::TicketWord ticket{0};
  Fate fate = Fate::kNone;
  bool joined = false;  // Allocate has returned, and it waits
  int wakes = 0;
  Event woken;
  // Called in the wake-up, after the buffers have been collected.
  void (*on_wake)(Waiter& waiter, void* context) = nullptr;
  void* on_wake_context = nullptr;
  std::array<std::byte*, 2> storage{};
  size_t size = 0;
};

struct QueueShape {
  PoolShape pool;
  uint32_t records = 6;
  uint32_t max_waiters = 8;
  uint32_t max_completes = 0;
  uint32_t max_overtakes = 100;
};

// A pool and the queue of waiters, in the three built-in classes.
template <QueueShape kShape>
class QueueWorld : public PoolWorld<kShape.pool> {
  std::array<Queue::Records::Record, kShape.records> records_;
  std::array<Queue::Records::Link, kShape.records> record_links_;
  std::array<Queue::Records::Spare, 2> spares_;  // for two cores
  std::array<CoreWaits<RelacyPlatform>, 2> counts_;
  std::array<Queue::ClassRule, 3> rules_{
      {{1, 0}, {2, 0}, {1, kShape.pool.reserve}}};

 public:
  using Pool = PoolWorld<kShape.pool>;
  using Core = Pool::Core;

  QueueWorld()
      : queue(WaitDoor<RelacyPlatform>(this->core), rules_,
              {.max_waiters = kShape.max_waiters,
               .max_completes = kShape.max_completes,
               .max_overtakes = kShape.max_overtakes},
              {.records = records_,
               .links = record_links_,
               .spares = spares_,
               .counts = counts_}) {
    this->core.central().SetWaiterService(&queue);
    for (size_t i = 0; i < waiters.size(); ++i) {
      contexts_[i] = {this, &waiters[i]};
    }
  }

  // Takes out.size() buffers past the caches, for a test's start.
  void TakeFirst(std::span<std::byte*> out) {
    Require(this->core.Take(nullptr, out, {0, ClassId{0}}), "all are free");
    this->custody.Take(out);
  }

  // Allocates as the session layer does: cheaply, then by all means, then by
  // waiting. Returns true if the waiter has its buffers at once.
  bool Allocate(Waiter& waiter, ClassId id) {
    waiter.id = id;
    waiter.joined = false;
    this->HurryNowAndThen(this->cache());
    const Facts& facts = facts_[IndexOf(waiter)] = WaitingBefore(waiter);
    waiter.size = rules_[Int(id)].need;
    const auto out = std::span(waiter.storage).first(waiter.size);
    if (this->core.TakeCheaply(this->cache(), out, queue.TermsOf(id))) {
      return Has(waiter, facts);
    }
    waiter.fate = Waiter::Fate::kWaiting;
    waiter.wakes = 0;
    switch (queue.TakeOrJoin(this->cache(), id, out,
                             {Wake, &contexts_[IndexOf(waiter)]},
                             waiter.ticket)) {
      case Queue::Joined::kTaken:
        Require(waiter.wakes == 0, "who is served at once is not woken");
        return Has(waiter, facts);
      case Queue::Joined::kWaiting:
        waiter.joined = true;
        return false;
      case Queue::Joined::kOverloaded:
        waiter.fate = Waiter::Fate::kNone;
        ++overloads;
        return false;
    }
    return false;
  }

  // Ends the wait if it can. True if this call ended it.
  bool Cancel(Waiter& waiter) {
    const WaitTicket ticket{waiter.ticket.load()};
    if (ticket == WaitTicket{}) return false;
    if (!queue.Cancel(ticket)) return false;
    Require(waiter.fate != Waiter::Fate::kHasBuffers && waiter.wakes == 0,
            "who was served was not cancelled as well (S5)");
    waiter.fate = Waiter::Fate::kCancelled;
    return true;
  }

  // Looks at the wait; takes the buffers if it was granted.
  WaiterStatus Look(Waiter& waiter) {
    const WaitTicket ticket{waiter.ticket.load()};
    const auto out = std::span(waiter.storage).first(waiter.size);
    const WaiterStatus status = queue.Redeem(ticket, out);
    if (status == WaiterStatus::kGranted) {
      Require(waiter.fate != Waiter::Fate::kCancelled,
              "who was cancelled was not served as well (S5)");
      waiter.fate = Waiter::Fate::kHasBuffers;
      this->custody.Take(out);
    }
    return status;
  }

  void GiveBack(Waiter& waiter) {
    Require(waiter.fate == Waiter::Fate::kHasBuffers, "it has its buffers");
    waiter.fate = Waiter::Fate::kNone;
    Release(waiter.buffers());
  }
  void Release(std::span<std::byte* const> buffers) {
    this->HurryNowAndThen(this->cache());
    ReleaseAsItIs(buffers);
  }
  // The test chooses whether the cache goes back to bias.
  void ReleaseAsItIs(std::span<std::byte* const> buffers) {
    this->custody.Give(buffers);
    this->core.Give(this->cache(), buffers);
  }

  bool Waits(const Waiter& waiter) {
    const Observation now;
    const WaitTicket ticket{waiter.ticket.load()};
    if (ticket == WaitTicket{}) return false;
    const WaiterState state{queue.WordOf(ticket).state.load()};
    return state.version() == ticket.version() && state.waiting();
  }

  // At rest: no waiter waits for buffers that are there, and the ledger counts
  // the waiters.
  void RequireNobodySleepsOnBuffers() {
    const uint32_t available = this->core.central().ledger().Load().available();
    uint32_t waiting = 0;
    for (const Waiter& waiter : waiters) {
      if (!Waits(waiter)) continue;
      ++waiting;
      const auto& rule = rules_[Int(waiter.id)];
      Require(available < rule.need + rule.keep,
              "nobody sleeps while the buffers are there (S4)");
    }
    const LedgerView ledger = this->core.central().ledger().Load();
    Require(ledger.waiting() == waiting, "the ledger counts who waits");
    Require(ledger.shortages() == 0, "no shortage is left");
    Require(waiting == 0 || this->Cached() == 0,
            "no buffer is idle in a cache while somebody waits (P3)");
  }

  // Ends all waits and gives back all buffers. Then each record and each buffer
  // must be usable again.
  void RequireWholeAgain() {
    for (Waiter& waiter : waiters) {
      if (Waits(waiter)) Require(Cancel(waiter), "who waits can leave");
      if (waiter.fate == Waiter::Fate::kWaiting) Look(waiter);
      if (waiter.fate == Waiter::Fate::kHasBuffers) GiveBack(waiter);
    }
    Require(this->core.central().ledger().Load().waiting() == 0,
            "nobody waits any more");
    RequireRecordsWhole();
    this->RequireWhole();
  }

  Queue queue;
  std::array<Waiter, 4> waiters;
  int overloads = 0;

 private:
  struct Context {
    QueueWorld* world;
    Waiter* waiter;
  };
  using Facts = std::array<uint64_t, 4>;

  static constexpr uint32_t Int(ClassId id) {
    return static_cast<uint32_t>(id);
  }

  size_t IndexOf(const Waiter& waiter) const { return &waiter - &waiters[0]; }

  bool Has(Waiter& waiter, const Facts& facts) {
    RequireServed(facts);
    this->custody.Take(waiter.buffers());
    waiter.fate = Waiter::Fate::kHasBuffers;
    return true;
  }

  static void Wake(void* context) noexcept {
    const Context& wake = *static_cast<Context*>(context);
    wake.world->Woken(*wake.waiter);
  }
  void Woken(Waiter& waiter) {
    ++waiter.wakes;
    Require(waiter.wakes == 1, "a wait is woken once");
    Require(waiter.fate != Waiter::Fate::kCancelled,
            "who was cancelled is not woken (S5)");
    RequireServed(facts_[IndexOf(waiter)]);
    int& running = wakes_running_[rl::thread_index()];
    Require(running == 0, "wake-ups are not nested (S4)");
    ++running;
    if (waiter.on_wake != nullptr) {
      Require(Look(waiter) == WaiterStatus::kGranted,
              "buffers come with the wake-up (S4)");
      waiter.on_wake(waiter, waiter.on_wake_context);
    }
    --running;
    waiter.woken.Happen();
  }

  // The tickets of the waiters that go before `newcomer`.
  Facts WaitingBefore(const Waiter& newcomer) {
    Facts facts{};
    for (size_t i = 0; i < waiters.size(); ++i) {
      const Waiter& waiter = waiters[i];
      if (&waiter == &newcomer || !waiter.joined) continue;
      if (waiter.id > newcomer.id || !Waits(waiter)) continue;
      const Observation now;
      facts[i] = waiter.ticket.load();
    }
    return facts;
  }
  // True if none of those still waits.
  void RequireServed(const Facts& facts) {
    const Observation now;
    for (const uint64_t word : facts) {
      const WaitTicket ticket{word};
      if (ticket == WaitTicket{}) continue;
      const WaiterState state{queue.WordOf(ticket).state.load()};
      Require(state.version() != ticket.version() || !state.waiting(),
              "no later allocation overtakes a waiter (S4)");
    }
  }

  void RequireRecordsWhole() {
    std::array<std::byte*, kShape.pool.capacity> all;
    Require(this->core.Take(nullptr, all, {0, ClassId{0}}), "all are free");
    std::array<Queue::TicketWord, kShape.records> tickets;
    std::array<std::byte*, 2> none;
    for (uint32_t i = 0; i < kShape.records; ++i) {
      const auto result =
          queue.TakeOrJoin(nullptr, kPair, none, {}, tickets[i]);
      Require(i >= kShape.max_waiters ? result == Queue::Joined::kOverloaded
                                      : result == Queue::Joined::kWaiting,
              "every record can be used again (S5)");
    }
    for (Queue::TicketWord& ticket : tickets) {
      const WaitTicket wait{ticket.load()};
      if (wait == WaitTicket{}) continue;
      Require(queue.Cancel(wait), "who waits can leave");
    }
    this->core.Give(nullptr, all);
  }

  std::array<Context, 4> contexts_;
  std::array<Facts, 4> facts_;  // when the waiter began to allocate
  std::array<int, kMaxFibres> wakes_running_{};  // by thread
};

// Two caches, which may be biased.
constexpr PoolShape TwoCaches(uint32_t capacity, uint32_t reserve) {
  return {.capacity = capacity,
          .caches = 2,
          .reserve = reserve,
          .cache_limit = 2,
          .biased = true};
}

// What most tests of waiting begin and end with: all buffers are taken at
// first, and in the end nobody sleeps on buffers and nothing is lost.
template <class Derived, QueueShape kShape, int kThreads>
struct QueueTest : ScheduleTest<Derived, QueueWorld<kShape>, kThreads> {
  void before() {
    this->world().ClaimCaches();
    this->world().TakeFirst(buffers);
  }
  void after() {
    this->world().RequireNobodySleepsOnBuffers();
    this->world().RequireWholeAgain();
  }

  std::array<std::byte*, kShape.pool.capacity> buffers;
};

// A pair and kReceives receives wait. Thread 0 serves, whether it releases,
// cancels or comes to wait itself, and is stopped at some step. It withholds
// only what is in its hands: the buffers that it took for itself, and those
// that it has reserved for the waiter that it was serving. Thread 1 releases
// all others; then all must have been served.
// kAsItIs: no cache goes back to bias (ReleaseAsItIs).
template <QueueShape kShape, size_t kReceives, bool kAsItIs>
struct StoppedServer
    : QueueTest<StoppedServer<kShape, kReceives, kAsItIs>, kShape, 2> {
  using Base = QueueTest<StoppedServer, kShape, 2>;
  using Base::buffers;

  void before() {
    Base::before();
    this->world().Allocate(this->world().waiters[0], kPair);
    for (size_t i = 1; i <= kReceives; ++i) {
      this->world().Allocate(this->world().waiters[i], kReceive);
    }
  }
  void thread(unsigned index) {
    if (index == 1) {
      for (std::byte* const& buffer : std::span(buffers).subspan(1)) {
        Release({&buffer, 1});
      }
      for (size_t i = 0; i <= kReceives; ++i) {
        Require(!this->world().Waits(this->world().waiters[i]),
                "all are served (P4)");
      }
      return;
    }
    switch (rl::rand(3)) {
      case 0:
        Release(std::span(buffers).first(1));
        released = true;
        break;
      case 1:
        this->world().Cancel(this->world().waiters[0]);
        break;
      default:
        this->world().Allocate(this->world().waiters[3], kComplete);
    }
  }
  void after() {
    if (!released) Release(std::span(buffers).first(1));
    Base::after();
  }
  void Release(std::span<std::byte* const> some) {
    if constexpr (kAsItIs) {
      this->world().ReleaseAsItIs(some);
    } else {
      this->world().Release(some);
    }
  }

  bool released = false;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_SCHEDULE_QUEUE_WORLD_H_
