#include "tandem/tests/spec/sequential_pool.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tandem/pool/die.h"

namespace tandem {

bool SequentialPool::MustWait(size_t rank) const {
  for (size_t id = 0; id < lines_.size(); ++id) {
    if (lines_[id].queue.empty()) continue;
    // Complete is never held back by others.
    if (id <= rank || (rank != 0 && IsDue(lines_[id]))) return true;
  }
  return false;
}

bool SequentialPool::Take(size_t rank, uint32_t n, uint32_t keep) {
  if (MustWait(rank) || free_ < uint64_t{n} + keep) return false;
  free_ -= n;
  for (size_t id = rank + 1; rank != 0 && id < lines_.size(); ++id) {
    if (!lines_[id].queue.empty()) ++lines_[id].overtaken;
  }
  return true;
}

bool SequentialPool::Return(uint32_t n) {
  if (uint64_t{free_} + n > rules_->capacity) return false;
  free_ += n;
  return true;
}

bool SequentialPool::IsFull(size_t id) const {
  // Every complete holds a buffer.
  return waiting() >= rules_->max_waiters + (id == 0 ? rules_->capacity : 0);
}

void SequentialPool::Link(size_t id, Waiter waiter) {
  const auto at = std::ranges::find(coming_, waiter, &Arrival::waiter);
  if (at == coming_.end()) {
    lines_[id].queue.push_back({waiter, arrivals_++});
  } else {
    lines_[id].queue.push_back(*at);
    coming_.erase(at);
  }
}

bool SequentialPool::Unlink(Waiter waiter) {
  for (Line& line : lines_) {
    if (std::erase_if(line.queue, [&](const Arrival& arrival) {
          return arrival.waiter == waiter;
        }) == 0) {
      continue;
    }
    if (line.queue.empty()) line.overtaken = 0;
    return true;
  }
  return false;
}

bool SequentialPool::IsWaiting(Waiter waiter) const {
  return std::ranges::any_of(lines_, [&](const Line& line) {
    return std::ranges::any_of(line.queue, [&](const Arrival& arrival) {
      return arrival.waiter == waiter;
    });
  });
}

std::optional<size_t> SequentialPool::FirstLine() const {
  std::optional<size_t> first;
  for (size_t id = 0; id < lines_.size(); ++id) {
    if (lines_[id].queue.empty()) continue;
    if (!first) {
      first = id;
      if (id == 0) break;
    } else if (IsDue(lines_[id]) && lines_[id].queue.front().number <
                                        lines_[*first].queue.front().number) {
      first = id;
    }
  }
  return first;
}

std::optional<SequentialPool::Waiter> SequentialPool::Next() const {
  const std::optional<size_t> first = FirstLine();
  return first ? NextOf(*first) : std::nullopt;
}

SequentialPool::Waiter SequentialPool::ServeNext() {
  const std::optional<size_t> first = FirstLine();
  if (!first.has_value()) Die("test: nobody can be served");
  return ServeNextOf(*first);
}

std::optional<SequentialPool::Waiter> SequentialPool::NextOf(size_t id) const {
  const Class& rule = rules_->classes[id];
  if (lines_[id].queue.empty() || free_ < rule.need + rule.keep) {
    return std::nullopt;
  }
  return lines_[id].queue.front().waiter;
}

SequentialPool::Waiter SequentialPool::ServeNextOf(size_t id) {
  if (!NextOf(id).has_value()) Die("test: nobody of the class can be served");
  Line& line = lines_[id];
  const Arrival served = line.queue.front();
  line.queue.pop_front();
  line.overtaken = 0;
  free_ -= rules_->classes[id].need;
  for (size_t i = id + 1; id != 0 && i < lines_.size(); ++i) {
    Line& lower = lines_[i];
    if (!lower.queue.empty() && lower.queue.front().number < served.number) {
      ++lower.overtaken;
    }
  }
  return served.waiter;
}

size_t SequentialPool::waiting() const {
  size_t count = 0;
  for (const Line& line : lines_) count += line.queue.size();
  return count;
}

size_t SequentialPool::CountBefore(const Arrival& arrival) const {
  size_t count = 0;
  for (const Line& line : lines_) {
    count += std::ranges::count_if(line.queue, [&](const Arrival& other) {
      return other.number < arrival.number;
    });
  }
  return count;
}

void SequentialPool::AppendKey(std::string& key) const {
  key.append(reinterpret_cast<const char*>(&free_), sizeof(free_));
  for (const Line& line : lines_) {
    key.push_back(static_cast<char>(line.queue.size()));
    for (const Arrival& arrival : line.queue) {
      key.append(reinterpret_cast<const char*>(&arrival.waiter),
                 sizeof(arrival.waiter));
    }
    if (!rules_->max_overtakes) continue;
    key.append(reinterpret_cast<const char*>(&line.overtaken),
               sizeof(line.overtaken));
    for (const Arrival& arrival : line.queue) {
      key.push_back(static_cast<char>(CountBefore(arrival)));
    }
  }
  if (!rules_->max_overtakes) return;
  for (const Arrival& arrival : coming_) {
    key.append(reinterpret_cast<const char*>(&arrival.waiter),
               sizeof(arrival.waiter));
    key.push_back(static_cast<char>(CountBefore(arrival)));
  }
}

std::string SequentialPool::ToString() const {
  std::string text = absl::StrCat(free_, " free");
  for (size_t id = 0; id < lines_.size(); ++id) {
    absl::StrAppend(&text, "; class ", id, ":");
    for (const Arrival& arrival : lines_[id].queue) {
      absl::StrAppend(&text, " ", arrival.waiter);
    }
  }
  return text;
}

}  // namespace tandem
