// aarch64, if its compiler is installed (tools/setup does that). Nothing is
// executed: docs/fast_path.md says how to execute the tests.
//
// The whole library compiles for aarch64 without a warning.
//
// P2: the fast path, as in fast_path_test, but by walking the disassembly. A
// forward conditional branch falls through, because compilers lay out the
// likely way so; a backward branch ends a loop, whose body is counted once.
// After an intended change:
//
//   TANDEM_UPDATE_GOLDEN=1 bazel run //tests/pool:fast_path_aarch64_test

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
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

// The compiler's version text; empty if there is no compiler.
std::string CompilerVersion() {
  std::string version =
      OutputOf("aarch64-linux-gnu-g++ -dumpversion 2> /dev/null");
  return version.substr(0, version.find('\n'));
}

// The object that `source` of this project compiles to. `flags`: more of them.
std::string Compile(const std::string& source, std::string_view flags = "") {
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
  const std::string object = absl::StrCat(
      scratch, "/", absl::StrReplaceAll(source, {{"/", "-"}}), ".o");
  const std::string failed = OutputOf(absl::StrCat(
      "aarch64-linux-gnu-g++ -std=c++20 -O2 -DNDEBUG -fPIE -Wall -Wextra "
      "-Werror -I",
      scratch, " -isystem ", abseil, " ", flags, " -c ", source, " -o ", object,
      " || echo failed"));
  EXPECT_EQ(failed, "") << source;
  return object;
}

// The files of a folder of this project with this ending, in order.
std::set<std::string> Files(const std::string& folder, std::string_view end) {
  std::set<std::string> files;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    const std::string path = file.path();
    if (path.ends_with(end)) files.insert(path);
  }
  return files;
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

TEST(FastPathAarch64Test, EverySourceAndHeaderCompilesWithoutWarning) {
  if (CompilerVersion().empty()) GTEST_SKIP() << "needs aarch64-linux-gnu-g++";
  // Asio is the same for all machines; nothing else is taken from there.
  constexpr std::string_view kHostHeaders = "-idirafter /usr/include";
  const bool has_asio = std::filesystem::exists("/usr/include/asio.hpp");
  const auto skipped = [&](const std::string& path) {
    return !has_asio && path.find("/asio_") != path.npos;
  };
  for (const std::string folder : {"pool", "session"}) {
    // Headers that only users of templates include.
    const std::string all =
        absl::StrCat(std::getenv("TEST_TMPDIR"), "/", folder, "_headers.cc");
    std::ofstream includes(all);
    for (const std::string& header : Files(folder, ".h")) {
      // Each machine has its own, included by rseq_section.h.
      if (header.find("rseq_section_") != header.npos) continue;
      if (!skipped(header)) {
        includes << "#include \"tandem/" << header << "\"\n";
      }
    }
    includes.close();
    Compile(all, kHostHeaders);
    const std::set<std::string> sources = Files(folder, ".cc");
    EXPECT_FALSE(sources.empty()) << folder;
    for (const std::string& source : sources) {
      if (!skipped(source)) Compile(source, kHostHeaders);
    }
  }
}

TEST(FastPathAarch64Test, HoldsWhatTheGoldenTableSays) {
  const std::string version = CompilerVersion();
  if (!version.starts_with("12")) {
    GTEST_SKIP() << "needs aarch64-linux-gnu-g++ 12, has \"" << version << '"';
  }
  FastPathTable table(
      "Instructions of the fast path (fast_path_aarch64_test.cc), loops once, "
      "g++ 12.");
  const std::string object = Compile("tests/pool/fast_path.cc");
  const auto add = [&](const char* name, const char* symbol) {
    const InstructionCounts counts = Walk(Disassemble(object, symbol));
    EXPECT_EQ(counts.locked, 0) << "in " << name;
    EXPECT_EQ(counts.fence, 0) << "in " << name;
    table.Add(name, counts);
  };
  add("Acquire", "FastPathAcquire>");
  add("AcquirePair", "FastPathAcquirePair>");
  add("AcquireMany", "FastPathAcquireMany>");
  add("Release", "FastPathRelease>");
  add("ReleasePair", "FastPathReleasePair>");
  add("ReleaseMany", "FastPathReleaseMany>");
  table.CompareWithGolden("fast_path.aarch64.golden");
}

}  // namespace
}  // namespace tandem
