#ifndef TANDEM_TESTS_POOL_FAST_PATH_TABLE_H_
#define TANDEM_TESTS_POOL_FAST_PATH_TABLE_H_

#include <string>
#include <string_view>

namespace tandem {

// Instructions by kind; an instruction may be of several kinds.
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

// A table of these counts, to be compared with tests/pool/golden/`name`.
class FastPathTable {
 public:
  explicit FastPathTable(std::string_view title);

  void Add(std::string_view name, const InstructionCounts& counts);

  // Fails the test if the golden table differs. With TANDEM_UPDATE_GOLDEN in
  // the environment of `bazel run`, writes the golden table instead.
  void CompareWithGolden(const std::string& name) const;

 private:
  std::string text_;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_POOL_FAST_PATH_TABLE_H_
