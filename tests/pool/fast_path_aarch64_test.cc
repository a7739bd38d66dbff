// P2: the fast path for aarch64, where its compiler is installed (Debian:
// g++-aarch64-linux-gnu). As fast_path_test, but nothing is run: the
// disassembly is walked. A forward conditional branch falls through, as
// compilers lay out the likely way; a backward one ends a loop, whose body is
// counted once. After a change that is meant:
//
//   TANDEM_UPDATE_GOLDEN=1 bazel run //tests/pool:fast_path_aarch64_test

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "tandem/tests/pool/fast_path_table.h"

namespace tandem {
namespace {

// By address: "mnemonic operands".
using Listing = std::map<uint64_t, std::string>;

std::string OutputOf(const std::string& command) {
  std::string output;
  FILE* const pipe = popen(command.c_str(), "r");
  std::array<char, 4096> piece;
  while (pipe != nullptr &&
         fgets(piece.data(), piece.size(), pipe) != nullptr) {
    output += piece.data();
  }
  if (pipe != nullptr) pclose(pipe);
  return output;
}

bool StartsWithAny(std::string_view text,
                   std::initializer_list<std::string_view> prefixes) {
  for (const std::string_view prefix : prefixes) {
    if (text.starts_with(prefix)) return true;
  }
  return false;
}

// Compiles `source` of this project into `object`.
void Compile(const std::string& source, const std::string& object) {
  const std::string scratch = std::getenv("TEST_TMPDIR");
  // Headers are included as tandem/...; this is the project's root.
  std::error_code exists;
  std::filesystem::create_directory_symlink(std::filesystem::current_path(),
                                            scratch + "/tandem", exists);
  std::string abseil;
  for (const auto& repository : std::filesystem::directory_iterator("..")) {
    const auto path = repository.path();
    if (std::filesystem::exists(path / "absl/base/config.h")) abseil = path;
  }
  const std::string failed = OutputOf(absl::StrCat(
      "aarch64-linux-gnu-g++ -std=c++20 -O2 -DNDEBUG -fPIE -I", scratch, " -I",
      abseil, " -c ", source, " -o ", object, " || echo failed"));
  EXPECT_EQ(failed, "");
}

// The function whose symbol begins with `name`.
Listing Disassemble(const std::string& object, std::string_view name) {
  Listing listing;
  bool inside = false;
  for (const std::string_view line : absl::StrSplit(
           OutputOf("aarch64-linux-gnu-objdump -d --no-show-raw-insn " +
                    object),
           '\n')) {
    if (line.ends_with(">:")) {
      inside = line.find(absl::StrCat("<", name)) != line.npos;
    }
    char* colon;
    const uint64_t address = std::strtoull(line.data(), &colon, 16);
    if (!inside || *colon != ':' || !line.starts_with(' ')) continue;
    const std::string_view text = line.substr(colon + 1 - line.data());
    listing[address] = text.substr(text.find_first_not_of(" \t"));
  }
  EXPECT_FALSE(listing.empty()) << name;
  return listing;
}

void Count(std::string_view text, InstructionCounts& counts) {
  ++counts.total;
  counts.load += text.starts_with("ld");
  counts.store += text.starts_with("st");
  counts.compare += StartsWithAny(text, {"cmp", "cmn", "tst", "ccmp"});
  counts.branch += StartsWithAny(text, {"b\t", "b.", "cb", "tb", "br\t"});
  counts.locked +=
      StartsWithAny(text, {"ldx", "ldax", "stx", "stlx", "cas", "swp", "ldadd",
                           "ldset", "ldclr", "ldeor"});
  counts.fence += StartsWithAny(text, {"dmb", "dsb", "isb"});
  counts.call += StartsWithAny(text, {"bl", "svc"});
}

InstructionCounts Walk(const Listing& listing) {
  InstructionCounts counts;
  for (auto at = listing.begin(); at != listing.end();) {
    const std::string& text = at->second;
    Count(text, counts);
    if (text.starts_with("ret")) return counts;
    if (!text.starts_with("b\t")) {
      ++at;
      continue;
    }
    const uint64_t to = std::strtoull(text.c_str() + 2, nullptr, 16);
    if (to <= at->first) break;
    at = listing.find(to);
  }
  ADD_FAILURE() << "the walk does not end in a return";
  return counts;
}

TEST(FastPathAarch64Test, HoldsWhatTheGoldenTableSays) {
  const std::string version =
      OutputOf("aarch64-linux-gnu-g++ -dumpversion 2> /dev/null");
  if (!version.starts_with("12")) {
    GTEST_SKIP() << "needs aarch64-linux-gnu-g++ 12, has \"" << version << '"';
  }
  FastPathTable table(
      "Instructions of the fast path (fast_path_aarch64_test.cc), loops once, "
      "g++ 12.");
  const auto add = [&](const char* name, const std::string& object,
                       const char* symbol) {
    const InstructionCounts counts = Walk(Disassemble(object, symbol));
    EXPECT_EQ(counts.locked, 0) << "in " << name;
    EXPECT_EQ(counts.fence, 0) << "in " << name;
    table.Add(name, counts);
  };
  const std::string scratch = std::getenv("TEST_TMPDIR");
  const std::string inlined = scratch + "/fast_path.o";
  const std::string pool = scratch + "/buffer_pool.o";
  Compile("tests/pool/fast_path.cc", inlined);
  Compile("pool/buffer_pool.cc", pool);
  add("Acquire", inlined, "FastPathAcquire>");
  add("AcquirePair", inlined, "FastPathAcquirePair>");
  add("AcquireMany", pool, "_ZN6tandem10BufferPool11AcquireManyE");
  add("Release", inlined, "FastPathRelease>");
  add("ReleasePair", inlined, "FastPathReleasePair>");
  add("ReleaseMany", pool, "_ZN6tandem10BufferPool11ReleaseManyE");
  table.CompareWithGolden("fast_path.aarch64.golden");
}

}  // namespace
}  // namespace tandem
