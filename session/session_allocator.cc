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

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tandem/pool/die.h"
#include "tandem/pool/no_throw.h"

namespace tandem {
namespace {

constexpr int kBuiltInClasses = 3;

// Upper bound on live records: waiting sessions, as many cancelled waits that
// are still linked, granted waits that are not yet redeemed (each holds a
// buffer), dead records that the classes keep beyond that, and threads between
// two steps.
size_t RecordCount(uint32_t max_waiters, uint32_t capacity) {
  constexpr size_t kSpare = 512;
  return std::min<size_t>(2 * (size_t{max_waiters} + capacity) + kSpare,
                          kMaxCapacity);
}

absl::Status CheckRange(const std::string& option, int64_t value, int64_t min,
                        int64_t max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("SessionOptions.", option, " is ", value, "; allowed: ", min,
                   " to ", max));
}

// Checks the numeric options.
absl::Status CheckNumbers(const SessionOptions& options) {
  absl::Status status;
  status.Update(CheckRange("max_waiters", options.max_waiters, 1, kMaxWaiting));
  status.Update(
      CheckRange("max_overtakes", options.max_overtakes, 1, 1'000'000));
  status.Update(CheckRange("classes.size()",
                           static_cast<int64_t>(options.classes.size()), 0,
                           kMaxClasses - kBuiltInClasses));
  for (const WaitClass& c : options.classes) {
    status.Update(CheckRange(absl::StrCat("classes[\"", c.name, "\"].rank"),
                             c.rank, kCompleteRank + 1, 255));
  }
  return status;
}

}  // namespace

absl::StatusOr<std::vector<SessionAllocator::RankedClass>>
SessionAllocator::RankClasses(const BufferPool& pool,
                              const SessionOptions& options) {
  std::vector<RankedClass> classes = {
      {"complete", kCompleteRank, {.need = 1, .keep = 0}},
      {"pair", kPairRank, {.need = 2, .keep = 0}},
      {"receive", kReceiveRank, {.need = 1, .keep = pool.reserve()}},
  };
  for (const WaitClass& c : options.classes) {
    classes.push_back({c.name, c.rank, {.need = 1, .keep = c.keep}});
  }
  std::stable_sort(classes.begin(), classes.end(),
                   [](const RankedClass& a, const RankedClass& b) {
                     return a.rank < b.rank;
                   });
  for (size_t i = 0; i < classes.size(); ++i) {
    const auto& [name, rank, rule] = classes[i];
    if (uint64_t{rule.need} + rule.keep > pool.capacity()) {
      return absl::InvalidArgumentError(
          absl::StrCat("SessionOptions.classes[\"", name, "\"] needs ",
                       rule.need, " and keeps ", rule.keep,
                       rank == kReceiveRank ? " (PoolOptions.reserve)" : "",
                       "; allowed: together up to the pool's ", "capacity, ",
                       pool.capacity()));
    }
    for (const RankedClass& other : std::span(classes).first(i)) {
      if (name == other.name) {
        return absl::InvalidArgumentError(absl::StrCat(
            "SessionOptions.classes has the name \"", name,
            "\" twice; allowed: once, and not that of a built-in class"));
      }
      if (rank == other.rank) {
        return absl::InvalidArgumentError(absl::StrCat(
            "SessionOptions.classes[\"", name, "\"].rank is ", rank,
            "; allowed: any but that of \"", other.name, "\""));
      }
    }
  }
  return classes;
}

absl::StatusOr<std::unique_ptr<SessionAllocator>> SessionAllocator::Create(
    BufferPool* pool, const SessionOptions& options) noexcept {
  return WithoutThrowing<absl::StatusOr<std::unique_ptr<SessionAllocator>>>(
      "no memory for a session layer, most of it for "
      "SessionOptions.max_waiters",
      [&] { return CreateOrThrow(pool, options); });
}

absl::StatusOr<std::unique_ptr<SessionAllocator>>
SessionAllocator::CreateOrThrow(BufferPool* pool,
                                const SessionOptions& options) {
  if (absl::Status valid = CheckNumbers(options); !valid.ok()) return valid;
  if (BufferPool::SessionDoor(*pool).waits().HasWaiterService()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "pool \"", pool->name(), "\" has a session layer; allowed: one"));
  }
  absl::StatusOr<std::vector<RankedClass>> classes =
      RankClasses(*pool, options);
  if (!classes.ok()) return std::move(classes).status();
  return std::unique_ptr<SessionAllocator>(
      new SessionAllocator(pool, options, *std::move(classes)));
}

SessionAllocator::SessionAllocator(BufferPool* pool,
                                   const SessionOptions& options,
                                   std::vector<RankedClass> classes)
    : door_(*pool),
      classes_(std::move(classes)),
      complete_(IdOfRank(kCompleteRank)),
      pair_(IdOfRank(kPairRank)),
      receive_(IdOfRank(kReceiveRank)),
      records_(RecordCount(options.max_waiters, pool->capacity())),
      links_(records_.size()),
      spares_(door_.waits().cores()),
      counts_(door_.waits().cores()),
      queue_(door_.waits(), RulesOf(classes_),
             {.max_waiters = options.max_waiters,
              .max_completes =
                  std::min(pool->capacity(), kMaxWaiting - options.max_waiters),
              .max_overtakes = options.max_overtakes},
             {.records = records_,
              .links = links_,
              .spares = spares_,
              .counts = counts_}) {
  door_.waits().SetWaiterService(&queue_);
}

SessionAllocator::~SessionAllocator() {
  if (waiting() != 0) {
    Die("tandem: the session layer of pool \"", pool().name(),
        "\" is destroyed while ", waiting(), " sessions wait");
  }
  door_.waits().SetWaiterService(nullptr);
}

std::vector<SessionAllocator::Queue::ClassRule> SessionAllocator::RulesOf(
    const std::vector<RankedClass>& classes) {
  std::vector<Queue::ClassRule> rules;
  for (const RankedClass& c : classes) rules.push_back(c.rule);
  return rules;
}

ClassId SessionAllocator::IdOfRank(int rank) const {
  const auto at =
      std::find_if(classes_.begin(), classes_.end(),
                   [&](const RankedClass& c) { return c.rank == rank; });
  return ClassId(at - classes_.begin());
}

absl::StatusOr<ClassId> SessionAllocator::FindClass(
    std::string_view name) const {
  const auto at =
      std::find_if(classes_.begin(), classes_.end(),
                   [&](const RankedClass& c) { return c.name == name; });
  if (at != classes_.end()) return ClassId(at - classes_.begin());
  return absl::NotFoundError(absl::StrCat(
      "no class \"", std::string(name), "\"; there are: ",
      absl::StrJoin(classes_, ", ", [](std::string* out, const RankedClass& c) {
        absl::StrAppend(out, c.name);
      })));
}

void SessionAllocator::CheckNeedsOne(ClassId id) const {
  if (static_cast<size_t>(id) >= classes_.size() || id == pair_) [[unlikely]] {
    Die("tandem: pool \"", pool().name(), "\": class ",
        static_cast<uint64_t>(id), " is not a class of one buffer");
  }
}

std::byte* SessionAllocator::Acquire(ClassId id) noexcept {
  CheckNeedsOne(id);
  std::byte* buffer;
  if (!Take(id, {&buffer, 1})) return nullptr;
  door_.HandOut({&buffer, 1}, Holder::kUser);
  return buffer;
}

bool SessionAllocator::TakeSpares(std::span<std::byte*> out) noexcept {
  // Do not count buffers in thread caches: they are free, but their thread may
  // use them at any moment.
  const uint64_t share =
      uint64_t{pool().reserve()} + pool().capacity() / 4 + out.size();
  if (!door_.waits().HasToSpare(static_cast<uint32_t>(share))) return false;
  if (!door_.TakeCheaply(out, queue_.TermsOf(receive_))) return false;
  door_.HandOut(out, Holder::kSession);
  return true;
}

Allocation SessionAllocator::TakeOrWait(ClassId id, std::span<std::byte*> out,
                                        Waker waker, TicketWord& ticket) {
  if (door_.TakeCheaply(out, queue_.TermsOf(id))) return Allocation::kGranted;
  return AllocationOf(queue_.TakeOrJoin(door_.cache(), id, out, waker, ticket));
}

SessionSnapshot SessionAllocator::Snapshot() const {
  SessionSnapshot snapshot{.pool = pool().Snapshot(), .classes = {}};
  for (size_t i = 0; i < classes_.size(); ++i) {
    const WaitTotals totals = queue_.totals(ClassId(i));
    snapshot.classes.push_back({.name = classes_[i].name,
                                .waiting = totals.waiting(),
                                .waits = totals.waits,
                                .grants = totals.grants,
                                .cancels = totals.cancels,
                                .wait_nanos = totals.wait_nanos,
                                .buckets = totals.buckets});
  }
  return snapshot;
}

}  // namespace tandem
