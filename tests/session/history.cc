#include "tandem/tests/session/history.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace tandem {
namespace {

std::string Describe(const History::Operation& op) {
  using Kind = History::Kind;
  constexpr std::string_view kResults[] = {"failed", "done", "waiting",
                                           "cancelled"};
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

}  // namespace tandem
