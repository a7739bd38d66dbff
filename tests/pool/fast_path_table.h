#ifndef TANDEM_TESTS_POOL_FAST_PATH_TABLE_H_
#define TANDEM_TESTS_POOL_FAST_PATH_TABLE_H_

#include <string>
#include <string_view>

namespace tandem {

// Instructions by kind; one may be of several.
struct InstructionCounts {
  int total = 0;
  int load = 0;
  int store = 0;
  int compare = 0;
  int branch = 0;
  int locked = 0;
  int fence = 0;
  int call = 0;
};

// A table of them, to be compared with tests/pool/golden/`name`.
class FastPathTable {
 public:
  explicit FastPathTable(std::string_view title);

  void Add(std::string_view name, const InstructionCounts& counts);

  // Fails the test if the golden table differs; TANDEM_UPDATE_GOLDEN in the
  // environment of `bazel run` has it written anew instead.
  void CompareWithGolden(const std::string& name) const;

 private:
  std::string text_;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_POOL_FAST_PATH_TABLE_H_
