#include "tandem/session/session_allocator.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace tandem {
namespace {

// Records beyond two for each waiter: the dead that classes keep, and those of
// threads that are between two steps.
constexpr size_t kSpareRecords = 512;

absl::Status CheckRange(std::string_view option, int64_t value, int64_t min,
                        int64_t max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("SessionOptions.", option, " is ", value, "; allowed: ", min,
                   " to ", max));
}

absl::Status CheckClass(const WaitClass& c, uint32_t capacity) {
  const std::string option = absl::StrCat("classes[\"", c.name, "\"]");
  absl::Status status;
  status.Update(CheckRange(absl::StrCat(option, ".need"), c.need, 1, 2));
  status.Update(CheckRange(absl::StrCat(option, ".rank"), c.rank, 0, 255));
  if (uint64_t{c.need} + c.keep > capacity) {
    status.Update(absl::InvalidArgumentError(absl::StrCat(
        "SessionOptions.", option, ".need + keep is ", c.need, " + ", c.keep,
        "; allowed: up to the pool's capacity, ", capacity)));
  }
  return status;
}

// Names and ranks must tell classes apart. `classes` is in order of rank.
absl::Status CheckDistinct(std::span<const WaitClass> classes) {
  for (size_t i = 0; i < classes.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (classes[i].name == classes[j].name) {
        return absl::InvalidArgumentError(
            absl::StrCat("SessionOptions.classes has the name \"",
                         classes[i].name, "\" twice; allowed: once"));
      }
      if (classes[i].rank == classes[j].rank) {
        return absl::InvalidArgumentError(absl::StrCat(
            "SessionOptions.classes[\"", classes[i].name, "\"].rank is ",
            classes[i].rank, "; allowed: any but that of \"", classes[j].name,
            "\""));
      }
    }
  }
  return absl::OkStatus();
}

std::vector<WaiterQueue<StdPlatform>::ClassRule> RulesOf(
    std::span<const WaitClass> classes) {
  std::vector<WaiterQueue<StdPlatform>::ClassRule> rules;
  for (const WaitClass& c : classes) rules.push_back({c.need, c.keep});
  return rules;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SessionAllocator>> SessionAllocator::Create(
    BufferPool* pool, const SessionOptions& options) {
  std::vector<WaitClass> classes = {
      {.name = "complete", .need = 1, .keep = 0, .rank = kCompleteRank},
      {.name = "pair", .need = 2, .keep = 0, .rank = kPairRank},
      {.name = "receive",
       .need = 1,
       .keep = pool->reserve(),
       .rank = kReceiveRank},
  };
  absl::Status status;
  status.Update(CheckRange("max_waiters", options.max_waiters, 1, kMaxWaiting));
  status.Update(
      CheckRange("max_overtakes", options.max_overtakes, 1, 1'000'000));
  status.Update(CheckRange("classes.size()",
                           static_cast<int64_t>(options.classes.size()), 0,
                           kMaxClasses - static_cast<int>(classes.size())));
  absl::c_copy(options.classes, std::back_inserter(classes));
  absl::c_stable_sort(classes, [](const WaitClass& a, const WaitClass& b) {
    return a.rank < b.rank;
  });
  for (const WaitClass& c : classes) {
    status.Update(CheckClass(c, pool->capacity()));
  }
  status.Update(CheckDistinct(classes));
  if (!status.ok()) return status;
  return std::unique_ptr<SessionAllocator>(
      new SessionAllocator(pool, options, std::move(classes)));
}

SessionAllocator::SessionAllocator(BufferPool* pool,
                                   const SessionOptions& options,
                                   std::vector<WaitClass> classes)
    : pool_(*pool),
      classes_(std::move(classes)),
      complete_(IdOfRank(kCompleteRank)),
      pair_(IdOfRank(kPairRank)),
      receive_(IdOfRank(kReceiveRank)),
      records_(2 * size_t{options.max_waiters} + kSpareRecords),
      links_(records_.size()),
      queue_(pool_.core_, RulesOf(classes_),
             {.max_waiters = options.max_waiters,
              .max_overtakes = options.max_overtakes},
             records_, links_) {
  pool_.core_.SetWaitlist(&queue_);
}

SessionAllocator::~SessionAllocator() {
  const uint32_t waiting = pool_.core_.ledger().waiting();
  if (waiting != 0) {
    LOG(ERROR) << "tandem: a session layer is destroyed while " << waiting
               << " sessions wait";
  }
  pool_.core_.SetWaitlist(nullptr);
}

ClassId SessionAllocator::IdOfRank(int rank) const {
  const auto at = absl::c_find_if(
      classes_, [&](const WaitClass& c) { return c.rank == rank; });
  return ClassId(at - classes_.begin());
}

absl::StatusOr<ClassId> SessionAllocator::FindClass(
    std::string_view name) const {
  const auto at = absl::c_find_if(
      classes_, [&](const WaitClass& c) { return c.name == name; });
  if (at != classes_.end()) return ClassId(at - classes_.begin());
  return absl::NotFoundError(absl::StrCat(
      "no class \"", name, "\"; there are: ",
      absl::StrJoin(classes_, ", ", [](std::string* out, const WaitClass& c) {
        absl::StrAppend(out, c.name);
      })));
}

bool SessionAllocator::Take(ClassId id, std::span<BufferIndex> out) {
  return pool_.Take(out, ClaimOf(id));
}

Allocation SessionAllocator::TakeOrWait(ClassId id, std::span<BufferIndex> out,
                                        Waker waker, TicketWord& ticket) {
  const Claim claim = ClaimOf(id);
  if (pool_.TakeCheaply(out, claim)) return Allocation::kGranted;
  Queue::Core::Shortage shortage(pool_.core_, pool_.ThisThreadCache());
  if (shortage.Take(out, claim)) return Allocation::kGranted;
  switch (queue_.Subscribe(shortage, id, waker, ticket)) {
    case Queue::Subscribed::kOverloaded:
      return Allocation::kOverloaded;
    case Queue::Subscribed::kWaiting:
      return Allocation::kWaiting;
    case Queue::Subscribed::kServed:
      break;
  }
  const WaitTicket served{ticket.load()};
  ticket.store(0);
  // A cancel from another thread can't have won: the wait was served.
  CHECK(queue_.Collect(served, out) == WaiterStatus::kGranted);
  return Allocation::kGranted;
}

SessionSnapshot SessionAllocator::Snapshot() const {
  SessionSnapshot snapshot{.pool = pool_.Snapshot(), .classes = {}};
  for (size_t i = 0; i < classes_.size(); ++i) {
    const auto& counters = queue_.counters(ClassId(i));
    WaitClassSnapshot& c = snapshot.classes.emplace_back();
    c.name = classes_[i].name;
    c.waiting = queue_.waiting(ClassId(i));
    c.waits = counters.waits.Get();
    c.grants = counters.grants.Get();
    c.cancels = counters.cancels.Get();
    c.wait_nanos = counters.wait_nanos.Get();
    absl::c_transform(counters.buckets, c.buckets.begin(),
                      [](const auto& bucket) { return bucket.Get(); });
  }
  return snapshot;
}

}  // namespace tandem
