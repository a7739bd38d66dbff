// Plug-ins that are loaded by dlopen(3), each with a Tandem of its own. Static
// thread-local storage is scarce for them, and all use restartable sequences.

#include <dlfcn.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

// A case from the field.
TEST(FieldPluginTest, SeveralWithATandemOfTheirOwnLoadAndWork) {
  if (kAsan || kTsan) GTEST_SKIP() << "takes thread-local storage for itself";
  std::array<bool (*)(), 3> plugins;
  for (size_t i = 0; i < plugins.size(); ++i) {
    // A copy, because dlopen would find the same file already loaded.
    const std::string copy =
        absl::StrCat(::testing::TempDir(), "/plugin_", getpid(), "_", i, ".so");
    std::filesystem::copy_file(
        "tests/pool/libplugin.so", copy,
        std::filesystem::copy_options::overwrite_existing);
    // Never closed: see "Limits" in docs/design.md.
    void* const object = dlopen(copy.c_str(), RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(object, nullptr) << "plug-in " << i << ": " << dlerror();
    plugins[i] = reinterpret_cast<bool (*)()>(dlsym(object, "UsePoolOfPlugin"));
    ASSERT_NE(plugins[i], nullptr);
    std::filesystem::remove(copy);
  }
  for (const auto use_pool : plugins) {
    EXPECT_TRUE(use_pool());
    Companion thread;
    thread.Run([&] { EXPECT_TRUE(use_pool()); });
  }
}

}  // namespace
}  // namespace tandem
