// The stress with general allocators preloaded. Some of them use restartable
// sequences or thread-local storage themselves, and their locks and first uses
// nest with the pool's.

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

class FieldPreloadedAllocatorTest
    : public ::testing::TestWithParam<const char*> {};

TEST_P(FieldPreloadedAllocatorTest, StressHoldsWhoeverRegistersSequences) {
  if (kAsan || kTsan) GTEST_SKIP() << "the sanitizer is the allocator";
  std::string library;
  for (const char* const folder :
       {"/usr/lib/x86_64-linux-gnu/", "/usr/lib/aarch64-linux-gnu/",
        "/usr/lib64/", "/usr/lib/"}) {
    const std::string path = absl::StrCat(folder, GetParam());
    if (library.empty() && std::filesystem::exists(path)) library = path;
  }
  if (library.empty()) GTEST_SKIP() << "no " << GetParam() << " here";
  for (const char* const tunables : {"", "glibc.pthread.rseq=0"}) {
    EXPECT_EQ(RunProgram({"tools/stress/stress", "--seconds=2"},
                         {absl::StrCat("LD_PRELOAD=", library),
                          absl::StrCat("GLIBC_TUNABLES=", tunables)}),
              0);
  }
}

INSTANTIATE_TEST_SUITE_P(Pool, FieldPreloadedAllocatorTest,
                         ::testing::Values("libtcmalloc_minimal.so.4",
                                           "libjemalloc.so.2",
                                           "libmimalloc.so.2"),
                         [](const auto& info) {
                           const std::string name = info.param;
                           return name.substr(3, name.find('.') - 3);
                         });

}  // namespace
}  // namespace tandem
