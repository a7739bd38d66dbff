#include "tandem/tests/pool/fast_path_table.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gtest/gtest.h"

namespace tandem {

FastPathTable::FastPathTable(std::string_view title)
    : text_(absl::StrFormat("%s\n\n%-24s %5s %5s %5s %7s %6s %6s %5s %4s\n",
                            title, "", "total", "load", "store", "compare",
                            "branch", "locked", "fence", "call")) {}

void FastPathTable::Add(std::string_view name,
                        const InstructionCounts& counts) {
  absl::StrAppendFormat(&text_, "%-24s %5d %5d %5d %7d %6d %6d %5d %4d\n", name,
                        counts.total, counts.load, counts.store, counts.compare,
                        counts.branch, counts.locked, counts.fence,
                        counts.call);
}

void FastPathTable::CompareWithGolden(const std::string& name) const {
  std::printf("%s", text_.c_str());
  const std::string path = absl::StrCat("tests/pool/golden/", name);
  if (std::getenv("TANDEM_UPDATE_GOLDEN") != nullptr) {
    const char* const root = std::getenv("BUILD_WORKSPACE_DIRECTORY");
    ASSERT_NE(root, nullptr) << "to be run by `bazel run`";
    std::ofstream(absl::StrCat(root, "/", path)) << text_;
    return;
  }
  std::stringstream golden;
  golden << std::ifstream(path).rdbuf();
  EXPECT_EQ(text_, golden.str()) << "if this is meant, see the test's head";
}

}  // namespace tandem
