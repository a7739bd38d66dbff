#include "tandem/tests/session/linearization.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tandem/tests/session/history.h"
#include "tandem/tests/spec/sequential_pool.h"

namespace tandem {
namespace {

constexpr size_t kComplete = 0;
constexpr size_t kPair = 1;
constexpr size_t kReceive = 2;

bool Overlap(const History::Operation& a, const History::Operation& b) {
  return a.begin < b.end && b.begin < a.end;
}

}  // namespace

Linearization::Linearization(const History& history)
    : history_(history), ops_(history.threads.size()) {
  AddWaits();
  for (size_t t = 0; t < ops_.size(); ++t) {
    for (const History::Operation& op : history_.threads[t]) {
      ops_[t].push_back({.stories = StoriesOf(op),
                         .begin = op.begin,
                         .end = op.end,
                         .slack = SlackOf(t, op),
                         .beside = ThreadsBeside(t, op)});
      const bool begins_wait =
          op.wait != History::kNoWait && op.kind != History::Kind::kFinishWait;
      if (begins_wait) joined_by_[op.wait] = op.end;
    }
  }
  for (const auto& [wait, fate] : history_.fates) {
    server_since_[wait] = BeginOfServer(fate, wait);
  }
  AddSights();
}

// The ways in which a class's need was met, or not.
Linearization::Story Linearization::Take(size_t id, History::Result result,
                                         Waiter wait, bool at_once) const {
  const SequentialPool::Class& rule = history_.rules.classes[id];
  const Step take{Step::kTake, id, rule.need, rule.keep};
  const Step fail{Step::kFail, id, rule.need, rule.keep};
  if (at_once) return {take};
  if (wait == History::kNoWait) return {fail};
  if (result == History::Result::kOverloaded) {
    return {fail, {.kind = Step::kFull, .rank = id}};
  }
  Story story = {fail,
                 {.kind = Step::kCome, .wait = wait},
                 {.kind = Step::kLink, .rank = id, .wait = wait}};
  if (result == History::Result::kDone) {
    story.push_back({.kind = Step::kServed, .wait = wait});
  }
  return story;
}

std::vector<Linearization::Story> Linearization::StoriesOf(
    const History::Operation& op) const {
  using Kind = History::Kind;
  using Result = History::Result;
  const bool done = op.result == Result::kDone;
  std::vector<Story> stories;
  switch (op.kind) {
    case Kind::kAcquire:
      return {
          {{done ? Step::kTake : Step::kFail, SequentialPool::kRaw, op.count}}};
    case Kind::kRelease:
      return {{{.kind = Step::kReturn, .n = op.count}}};
    case Kind::kFinishWait:
      if (done && history_.fates.at(op.wait).woken == 0) return {};
      return {{{.kind = done                            ? Step::kServed
                        : op.result == Result::kWaiting ? Step::kLinked
                                                        : Step::kLeft,
                .wait = op.wait}}};
    case Kind::kCancel:
      return {{{.kind = done ? Step::kUnlink : Step::kNoWait, .n = op.count}}};
    case Kind::kReceive:
    case Kind::kPair:
      break;
  }
  Story first;
  size_t id = op.kind == Kind::kReceive ? kReceive : kPair;
  if (op.kind == Kind::kPair && op.held == 1) {
    if (done) stories.push_back(Take(kComplete, op.result, op.wait, true));
    first = Take(kComplete, op.result, History::kNoWait, false);
    if (op.empty != 0) first.push_back({.kind = Step::kReturn, .n = op.empty});
    id = op.empty != 0 ? kPair : kComplete;
    if (op.wait == History::kNoWait) {
      if (!done) stories.push_back(first);
      return stories;
    }
  }
  const auto add = [&](bool at_once) {
    Story story = first;
    std::ranges::copy(Take(id, op.result, op.wait, at_once),
                      std::back_inserter(story));
    stories.push_back(std::move(story));
  };
  if (done) add(true);
  if (!done || op.wait != History::kNoWait) add(false);
  return stories;
}

void Linearization::AddWaits() {
  for (const auto& thread : history_.threads) {
    for (const History::Operation& op : thread) {
      if (op.wait == History::kNoWait) continue;
      if (op.result == History::Result::kOverloaded) continue;
      if (op.kind == History::Kind::kFinishWait) {
        // It was the last one's.
        if (op.result != History::Result::kWaiting) {
          waits_.back().second = op.end;
        }
        continue;
      }
      const auto fate = history_.fates.find(op.wait);
      const bool at_once = fate != history_.fates.end() &&
                           fate->second.served && fate->second.woken == 0;
      waits_.emplace_back(
          op.begin, at_once ? op.end : std::numeric_limits<uint64_t>::max());
    }
  }
}

bool Linearization::SomebodyWaitedDuring(const History::Operation& op) const {
  return std::ranges::any_of(waits_, [&](const auto& wait) {
    return wait.first < op.end && op.begin < wait.second;
  });
}

uint32_t Linearization::SlackOf(size_t thread,
                                const History::Operation& op) const {
  uint32_t slack = 0;
  for (size_t t = 0; t < history_.threads.size(); ++t) {
    if (t == thread) continue;
    uint32_t most = 0;
    for (const History::Operation& other : history_.threads[t]) {
      if (!Overlap(op, other)) continue;
      uint32_t hands = history_.batch;
      if (hands != 0 && other.kind == History::Kind::kRelease) {
        hands = std::max(hands, other.count);
      }
      // A serving thread has a pair's buffers in its hands.
      if (SomebodyWaitedDuring(other)) hands = std::max(hands, 2u);
      most = std::max(most, hands);
    }
    slack += most;
  }
  return slack;
}

uint32_t Linearization::ThreadsBeside(size_t thread,
                                      const History::Operation& op) const {
  uint32_t count = 0;
  for (size_t t = 0; t < history_.threads.size(); ++t) {
    count += t != thread &&
             std::ranges::any_of(history_.threads[t], [&](const auto& other) {
               return Overlap(op, other);
             });
  }
  return count;
}

uint64_t Linearization::BeginOfServer(const History::Fate& fate,
                                      Waiter wait) const {
  for (const History::Operation& op :
       history_
           .threads[fate.woken == 0 ? History::ThreadOf(wait) : fate.server]) {
    const bool is_it = fate.woken == 0
                           ? op.wait == wait
                           : op.begin < fate.woken && fate.woken < op.end;
    if (is_it) return op.begin;
  }
  return 0;
}

void Linearization::AddSights() {
  for (const auto& [wait, fate] : history_.fates) {
    if (fate.woken != 0) sights_.push_back({fate.woken, wait});
  }
  std::vector<std::pair<uint64_t, uint64_t>> spans;
  for (const auto& thread : ops_) {
    for (const Op& op : thread) spans.emplace_back(op.begin, op.end);
  }
  std::ranges::sort(spans);
  uint64_t end = 0;
  size_t count = 0;
  for (const auto& [from, to] : spans) {
    if (count != 0 && from > end) {
      sights_.push_back({end + 1, History::kNoWait, count > 1});
      count = 0;
    }
    ++count;
    end = std::max(end, to);
  }
  sights_.push_back({end + 1, History::kNoWait, count > 1});
  std::ranges::sort(sights_, {}, &Sight::time);
}

bool Linearization::Search(const State& state) {
  if (!seen_.insert(KeyOf(state)).second) return false;
  NoteFurthest(state);
  uint64_t first_end = std::numeric_limits<uint64_t>::max();
  for (size_t t = 0; t < ops_.size(); ++t) {
    const size_t at = state.threads[t].op;
    if (at < ops_[t].size()) first_end = std::min(first_end, ops_[t][at].end);
  }
  const bool sights_left = state.sights < sights_.size();
  if (sights_left && sights_[state.sights].time < first_end) {
    const Sight& sight = sights_[state.sights];
    const bool so = sight.wait != History::kNoWait
                        ? WasServed(state, sight.wait)
                        : !state.pool.Next();
    if (so) {
      State next = state;
      ++next.sights;
      if (Search(next)) return true;
    }
  }
  if (!sights_left && first_end == std::numeric_limits<uint64_t>::max()) {
    return true;
  }
  const uint64_t latest_begin =
      sights_left ? std::min(first_end, sights_[state.sights].time) : first_end;
  for (size_t id = 0; id < history_.rules.classes.size(); ++id) {
    if (TryServe(state, id)) return true;
  }
  if (TryRecounts(state)) return true;
  for (size_t t = 0; t < ops_.size(); ++t) {
    const auto [at, story, step] = state.threads[t];
    if (at == ops_[t].size()) continue;
    const Op& op = ops_[t][at];
    if (step != 0) {
      if (TryStep(state, t, story)) return true;
      continue;
    }
    if (op.begin > latest_begin) continue;
    for (size_t i = 0; i < op.stories.size(); ++i) {
      if (TryStep(state, t, i)) return true;
    }
  }
  return false;
}

bool Linearization::TryStep(const State& state, size_t thread, size_t story) {
  State next = state;
  State::Progress& progress = next.threads[thread];
  const Op& op = ops_[thread][progress.op];
  const Story& steps = op.stories[story];
  if (!Apply(next, steps[progress.step], op)) return false;
  progress.story = static_cast<uint8_t>(story);
  if (++progress.step == steps.size()) {
    progress = {.op = static_cast<uint8_t>(progress.op + 1)};
  }
  return Search(next);
}

bool Linearization::TryServe(const State& state, size_t id) {
  const std::optional<Waiter> wait = state.pool.NextOf(id);
  if (!wait || !MayGoFirst(state, id, *wait)) return false;
  const auto fate = history_.fates.find(*wait);
  if (fate == history_.fates.end() || !fate->second.served) return false;
  State next = state;
  next.pool.ServeNextOf(id);
  return Search(next);
}

bool Linearization::TryRecounts(const State& state) {
  const std::optional<uint32_t> most = history_.rules.max_overtakes;
  const auto end =
      std::ranges::find(sights_.begin() + static_cast<ptrdiff_t>(state.sights),
                        sights_.end(), History::kNoWait, &Sight::wait);
  if (!most || end == sights_.end() || !end->crowded) return false;
  // Complete, which alone goes before pairs, overtakes uncounted.
  for (uint32_t times = 0; times <= *most; ++times) {
    State next = state;
    next.pool.SetOvertaken(kReceive, times);
    if (Search(next)) return true;
  }
  return false;
}

bool Linearization::Apply(State& state, const Step& step, const Op& op) const {
  SequentialPool& pool = state.pool;
  switch (step.kind) {
    case Step::kTake:
      return pool.Take(step.rank, step.n, step.keep);
    case Step::kFail:
      return pool.MustWait(step.rank) ||
             pool.free() < step.n + step.keep + op.slack;
    case Step::kReturn:
      return pool.Return(step.n);
    case Step::kFull:
      return pool.waiting() + op.beside >=
             history_.rules.max_waiters +
                 (step.rank == kComplete ? history_.rules.capacity : 0);
    case Step::kCome:
      pool.Come(step.wait);
      return true;
    case Step::kLink:
      if (!HasRoom(pool, step.rank)) return false;
      pool.Link(step.rank, step.wait);
      state.joined.set(step.wait);
      return true;
    case Step::kServed:
      return WasServed(state, step.wait);
    case Step::kLinked:
      return pool.IsWaiting(step.wait);
    case Step::kLeft:
      return state.joined[step.wait] && !pool.IsWaiting(step.wait) &&
             !WasServed(state, step.wait);
    case Step::kUnlink: {
      const std::optional<Waiter> wait = WaitOf(state, step.n);
      if (!wait || !history_.fates.contains(*wait)) return false;
      return !history_.fates.at(*wait).served && pool.Unlink(*wait);
    }
    case Step::kNoWait:
      return !WaitOf(state, step.n);
  }
  return false;
}

bool Linearization::HasRoom(const SequentialPool& pool, size_t id) const {
  if (id == kComplete) return !pool.IsFull(id);
  // Completes may have joined between its being counted and being linked.
  return pool.waiting() - pool.waiting(kComplete) < history_.rules.max_waiters;
}

bool Linearization::WasServed(const State& state, Waiter wait) const {
  const auto fate = history_.fates.find(wait);
  return state.joined[wait] && !state.pool.IsWaiting(wait) &&
         fate != history_.fates.end() && fate->second.served;
}

std::optional<Linearization::Waiter> Linearization::WaitOf(
    const State& state, size_t thread) const {
  std::optional<Waiter> found;
  for (size_t id = 0; id < history_.rules.classes.size(); ++id) {
    state.pool.VisitWaiters(id, [&](Waiter wait) {
      if (History::ThreadOf(wait) == thread) found = wait;
    });
  }
  return found;
}

bool Linearization::MayGoFirst(const State& state, size_t id,
                               Waiter wait) const {
  const size_t first = *state.pool.FirstLine();
  if (first >= id) return first == id;
  bool may = true;
  for (size_t higher = 0; higher < id; ++higher) {
    state.pool.VisitWaiters(higher, [&](Waiter other) {
      may &= joined_by_[other] > server_since_[wait];
    });
  }
  return may;
}

std::string Linearization::KeyOf(const State& state) const {
  std::string key;
  for (const State::Progress& progress : state.threads) {
    key.push_back(static_cast<char>(progress.op));
    key.push_back(static_cast<char>(progress.story));
    key.push_back(static_cast<char>(progress.step));
  }
  key.push_back(static_cast<char>(state.sights));
  state.pool.AppendKey(key);
  return key;
}

void Linearization::NoteFurthest(const State& state) {
  size_t done = 1 + state.sights;
  for (const State::Progress& progress : state.threads) {
    done += progress.op + progress.step;
  }
  if (done <= most_done_) return;
  most_done_ = done;
  furthest_ = absl::StrCat(state.pool.ToString(), "; done, by thread:");
  for (const State::Progress& progress : state.threads) {
    absl::StrAppend(&furthest_, " ", progress.op, ".", progress.step);
  }
}

}  // namespace tandem
