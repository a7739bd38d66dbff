// Lets libFuzzer look for operations whose results are not what the sequential
// specification says: `bazel run --config=fuzz //tests/fuzz:pool_fuzz -- ...`,
// see README.md beside this.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tandem/tests/fuzz/pool_operations.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string wrong = tandem::RunOperations({data, size});
  if (wrong.empty()) return 0;
  std::fputs(wrong.c_str(), stderr);
  std::abort();
}
