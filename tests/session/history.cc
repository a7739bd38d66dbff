#include "tandem/tests/session/history.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"

namespace tandem {
namespace {

std::string Describe(const History::Operation& op) {
  using Kind = History::Kind;
  constexpr const char* kResults[] = {"failed", "done", "waiting", "cancelled",
                                      "overloaded"};
  std::string text;
  switch (op.kind) {
    case Kind::kAcquire:
      text = absl::StrCat("acquire ", op.count);
      break;
    case Kind::kRelease:
      text = absl::StrCat("release ", op.count);
      break;
    case Kind::kReceive:
      text = "receive";
      break;
    case Kind::kPair:
      text = absl::StrCat("pair, holds ", op.held, ", ", op.empty, " empty");
      break;
    case Kind::kFinishWait:
      text = "finish";
      break;
    case Kind::kCancel:
      text = absl::StrCat("cancel what thread ", op.count, " waits for");
      break;
  }
  if (op.wait != History::kNoWait) absl::StrAppend(&text, ", wait ", op.wait);
  absl::StrAppend(&text, ": ", kResults[static_cast<size_t>(op.result)]);
  return text;
}

}  // namespace

std::string History::ToString() const {
  std::multimap<uint64_t, std::string> lines;
  for (size_t i = 0; i < threads.size(); ++i) {
    for (const Operation& op : threads[i]) {
      lines.emplace(op.begin, absl::StrCat(op.begin, " to ", op.end, " thread ",
                                           i, ": ", Describe(op)));
    }
  }
  for (const auto& [wait, fate] : fates) {
    if (fate.woken == 0) continue;
    lines.emplace(fate.woken, absl::StrCat(fate.woken, " thread ", fate.server,
                                           " wakes wait ", wait));
  }
  std::string text = absl::StrCat("capacity ", rules.capacity, ", reserve ",
                                  rules.classes.back().keep, ", batch ", batch);
  for (const auto& [time, line] : lines) absl::StrAppend(&text, "\n  ", line);
  return text;
}

std::string History::ToCode() const {
  constexpr const char* kKinds[] = {"kAcquire", "kRelease",    "kReceive",
                                    "kPair",    "kFinishWait", "kCancel"};
  constexpr const char* kResults[] = {"kFailed", "kDone", "kWaiting",
                                      "kCancelled", "kOverloaded"};
  std::string text =
      absl::StrCat("{.rules = {.capacity = ", rules.capacity, ", .classes = {");
  for (const auto& [need, keep] : rules.classes) {
    absl::StrAppend(&text, "{", need, ", ", keep, "}, ");
  }
  absl::StrAppend(
      &text, "}, .max_waiters = ", rules.max_waiters, ", .max_overtakes = ",
      rules.max_overtakes ? absl::StrCat(*rules.max_overtakes) : "std::nullopt",
      "},\n .batch = ", batch, ",\n .threads = {");
  for (const auto& thread : threads) {
    absl::StrAppend(&text, "{");
    for (const Operation& op : thread) {
      absl::StrAppend(&text,
                      "\n  {Kind::", kKinds[static_cast<size_t>(op.kind)], ", ",
                      op.count, ", ", op.held, ", ", op.empty, ", ", op.wait,
                      ", Result::", kResults[static_cast<size_t>(op.result)],
                      ", ", op.begin, ", ", op.end, "},");
    }
    absl::StrAppend(&text, "},");
  }
  absl::StrAppend(&text, "},\n .fates = {");
  for (const auto& [wait, fate] : fates) {
    absl::StrAppend(&text, "{", wait, ", {", fate.served ? "true" : "false",
                    ", ", fate.woken, ", ", fate.server, "}}, ");
  }
  return absl::StrCat(text, "}}");
}

}  // namespace tandem
