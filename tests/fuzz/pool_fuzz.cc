// Lets libFuzzer look for operations whose results are not what the sequential
// specification says:
//
//   bazel run --config=fuzz //tests/fuzz:pool_fuzz -- -max_total_time=300
//   bazel run --config=fuzz //tests/fuzz:pool_fuzz -- FILE    replays an input
//   bazel run --config=fuzz //tests/fuzz:pool_fuzz -- -merge=1 CORPUS FOUND
//
// Whatever else it is told is in the manual of libFuzzer.

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
