#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "tandem/pool/types.h"
#include "tandem/session/waiter_list.h"
#include "tandem/session/waiter_record.h"
#include "tandem/tests/schedule/explore.h"
#include "tandem/tests/schedule/relacy_platform.h"

namespace tandem {
namespace {

using List = WaiterList<RelacyPlatform>;
using Records = WaiterRecordPool<RelacyPlatform>;

// Two lists over one set of records. Of each wait it is known for a fact in
// which list it is and when it was appended.
template <size_t kRecords>
class Lists {
  std::array<Records::Record, kRecords> storage_;
  std::array<Records::Link, kRecords> links_;
  std::array<Records::Spare, 2> spares_;  // for two cores

 public:
  struct Wait {
    WaiterIndex index = kNoWaiter;
    WaiterState state{0};
    size_t list = 0;
  };

  Lists()
      : records(storage_, links_, spares_),
        lists{{List(records), List(records)}} {}

  // An empty wait if there is no record.
  Wait Begin(size_t list) {
    Wait wait{.index = records.Take(), .list = list};
    if (wait.index == kNoWaiter) return wait;
    auto& record = records[wait.index];
    Fact& fact = FactOf(wait.index);
    Require(!fact.taken, "a record is one wait's at a time");
    fact = {.taken = true, .list = list};
    wait.state = WaiterState{record.state.load()}.Next();
    record.state.store(wait.state.word);
    fact.began = ++clock_;
    lists[list].Append(wait.index, wait.state);
    fact.appended = ++clock_;
    return wait;
  }

  void End(const Wait& wait) {
    uint64_t expected = wait.state.word;
    FactOf(wait.index).taken = false;
    Require(records[wait.index].state.compare_exchange_strong(
                expected,
                wait.state.With(WaiterStatus::kCancelled, kNoBuffer).word),
            "nobody else ends it");
    records.Drop(wait.index, Records::kOwned);
  }

  // Looks for the first waiter, while `own`, if there is one, waits in
  // the list.
  void Look(size_t list, const Wait& own) {
    const uint64_t began = clock_;
    const std::optional<List::Waiter> first = lists[list].First();
    if (!first) {
      Require(own.index == kNoWaiter || own.list != list,
              "a waiter that is linked is found");
      return;
    }
    const Observation now;
    // The facts are about the wait that the record is in now.
    const Fact& served = FactOf(first->index);
    if (!served.taken ||
        records[first->index].state.load() != first->state.word) {
      return;
    }
    Require(served.list == list, "a list finds its own waiters");
    for (const Fact& other : facts_) {
      Require(!other.taken || other.list != list || other.appended == 0 ||
                  other.appended > began || other.appended > served.began,
              "who was appended before goes first (S4)");
    }
  }

  void RequireWhole() {
    for (List& list : lists) {
      list.Purge();
      Require(!list.First(), "nobody waits any more");
    }
    for (size_t i = 0; i < kRecords; ++i) {
      Require(records.Take() != kNoWaiter, "no record is lost (S5)");
    }
    Require(records.Take() == kNoWaiter, "nor doubled");
  }

  Records records;
  std::array<List, 2> lists;

 private:
  struct Fact {
    bool taken = false;
    size_t list = 0;
    uint64_t began = 0;
    uint64_t appended = 0;
  };

  Fact& FactOf(WaiterIndex index) {
    return facts_[static_cast<uint32_t>(index)];
  }

  std::array<Fact, kRecords> facts_;
  uint64_t clock_ = 0;
};

// Waits come and go in both lists, while all threads look and purge.
template <size_t kRecords, int kThreads, int kRounds>
struct AppendsAndPurges
    : ScheduleTest<AppendsAndPurges<kRecords, kThreads, kRounds>,
                   Lists<kRecords>, kThreads> {
  void thread(unsigned) {
    auto& world = this->world();
    for (int i = 0; i < kRounds; ++i) {
      const auto wait = world.Begin(rl::rand(2));
      if (rl::rand(2) == 0) world.Look(rl::rand(2), wait);
      if (wait.index != kNoWaiter) world.End(wait);
      switch (rl::rand(3)) {
        case 0:
          world.Look(rl::rand(2), {});
          break;
        case 1:
          world.lists[rl::rand(2)].Purge();
          break;
        default:
          break;
      }
    }
  }
  void after() { this->world().RequireWhole(); }
};

// S4, S5
TEST(WaiterListSchedule, WaitersAreFoundInOrderWhileRecordsAreUsedAgain) {
  ExploreAtRandom<AppendsAndPurges<3, 3, 4>>(100'000);
}

// S4, S5
TEST(WaiterListSchedule, EvenIfOneRecordWandersBetweenTheLists) {
  ExploreAtRandom<AppendsAndPurges<2, 3, 4>>(100'000);
}

// S4, S5
TEST(WaiterListSchedule, SearchFindsNoRecordLost) {
  ExploreAll<AppendsAndPurges<2, 2, 1>>({2, 0});
}

}  // namespace
}  // namespace tandem
