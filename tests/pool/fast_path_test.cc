// P2: the fast path, instruction by instruction.
//
// The pool is compiled as with `-c opt`, whatever the test's own mode is. Each
// operation runs on a biased cache that has what it needs, one instruction at a
// time. So the counts are of executed instructions, with loops and all calls,
// from the operation's first instruction to its return; objdump names each
// instruction. The table is compared with golden/fast_path.x86_64.golden, so
// that no change makes it slower unnoticed. After an intended change:
//
//   TANDEM_UPDATE_GOLDEN=1 bazel run //tests/pool:fast_path_test
//
// An instruction that compares with memory counts as a comparison and as a
// load; push and pop, as a store and a load. With other compilers than the
// golden table's, the test only requires that there is no lock and no fence.

#include "tandem/tests/pool/fast_path.h"

#include <elf.h>
#include <link.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/fast_path_table.h"
#include "tandem/tests/pool/stepper.h"
#include "tandem/tests/pool/testing.h"

// Null unless this is built with UndefinedBehaviorSanitizer.
extern "C" [[gnu::weak]] void __ubsan_handle_add_overflow();

namespace tandem {
namespace {

#if defined(__x86_64__) && !defined(__clang__) && __GNUC__ == 12
constexpr bool kIsGoldenCompiler = true;
#else
constexpr bool kIsGoldenCompiler = false;
#endif

using Counts = InstructionCounts;

// The address at which this program is loaded, which objdump does not know.
uintptr_t LoadAddress() {
  uintptr_t address = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* out) {
        *static_cast<uintptr_t*>(out) = info->dlpi_addr;
        return 1;  // The first one is the program.
      },
      &address);
  return address;
}

// The instruction at each of these addresses, "mnemonic operands", by objdump.
using Listing = std::map<uintptr_t, std::string>;
Listing Disassemble(const std::set<uintptr_t>& addresses) {
  Listing listing;
  const uintptr_t base = LoadAddress();
  const std::string command = absl::StrFormat(
      "objdump -d --no-show-raw-insn --start-address=%#x --stop-address=%#x "
      "/proc/%d/exe",
      *addresses.begin() - base, *addresses.rbegin() - base + 1, getpid());
  FILE* const pipe = popen(command.c_str(), "r");
  std::array<char, 4096> line;
  while (pipe != nullptr && fgets(line.data(), line.size(), pipe) != nullptr) {
    char* end;
    const uintptr_t address = std::strtoull(line.data(), &end, 16) + base;
    if (*end != ':' || !addresses.contains(address)) continue;
    std::string text(end + 1);
    text.erase(0, text.find_first_not_of(" \t"));
    text.erase(std::min(text.find_first_of("#<\n"), text.size()));
    text.erase(text.find_last_not_of(" \t") + 1);
    listing[address] = text;
  }
  if (pipe != nullptr) pclose(pipe);
  return listing;
}

bool StartsWithAny(std::string_view text,
                   std::initializer_list<std::string_view> prefixes) {
  return std::ranges::any_of(prefixes, [&](std::string_view prefix) {
    return text.starts_with(prefix);
  });
}

bool NamesMemory(std::string_view text) {
  return text.find_first_of("(:") != text.npos;  // (%rax), or %fs:0x0
}

// The destination, in AT&T syntax: what comes after the last comma that is not
// inside of an address.
std::string_view LastOperand(std::string_view text) {
  const size_t address = text.rfind('(');
  const size_t comma =
      text.rfind(',', text.ends_with(')') ? address : text.npos);
  return comma == text.npos ? text : text.substr(comma);
}

void Count(std::string_view text, Counts& counts) {
  ++counts.total;
  const bool memory =
      NamesMemory(text) &&
      !StartsWithAny(text, {"lea", "nop", "cs nop", "data16", "j", "call"});
  const bool to_memory = memory && NamesMemory(LastOperand(text));
  const bool compares = StartsWithAny(text, {"cmp", "test"});
  const bool moves = StartsWithAny(text, {"mov", "set"});
  counts.compare += compares;
  counts.branch += text.starts_with("j");
  counts.call += StartsWithAny(text, {"call", "syscall"});
  counts.fence += StartsWithAny(text, {"mfence", "lfence", "sfence"});
  counts.locked +=
      text.starts_with("lock") || (memory && text.starts_with("xchg"));
  counts.load +=
      text.starts_with("pop") || (memory && (!to_memory || compares || !moves));
  counts.store += text.starts_with("push") || (to_memory && !compares);
}

class FastPathTest : public ::testing::Test {
 protected:
  using Operation = std::function<void()>;

  void SetUp() override {
    if (kAsan || kTsan || __ubsan_handle_add_overflow != nullptr) {
      GTEST_SKIP() << "sanitizers add instructions";
    }
    if (!Stepper::Works()) GTEST_SKIP() << "needs single steps";
    if (!tandem::NewPool({})->Snapshot().biased) GTEST_SKIP() << "needs bias";
    if (std::system("objdump --version > /dev/null") != 0) {
      GTEST_SKIP() << "needs objdump";
    }
  }

  // The instructions of `function` alone, in the fastest of a few runs.
  static std::vector<uintptr_t> TraceOf(uintptr_t function,
                                        const Operation& call,
                                        const Operation& undo) {
    std::vector<uintptr_t> best;
    for (int i = 0; i < 8; ++i) {
      std::vector<uintptr_t> trace = Stepper::Trace(call);
      undo();
      trace.erase(trace.begin(), std::ranges::find(trace, function));
      if (best.empty() || trace.size() < best.size()) best = trace;
    }
    return best;
  }

  static Counts CountsOf(std::string_view name,
                         const std::vector<uintptr_t>& trace) {
    const Listing listing = Disassemble({trace.begin(), trace.end()});
    Counts counts;
    int depth = 0;
    for (const uintptr_t address : trace) {
      const auto at = listing.find(address);
      if (at == listing.end()) {
        ADD_FAILURE() << "objdump does not know what is executed in " << name;
        break;
      }
      Count(at->second, counts);
      if (at->second.starts_with("call")) ++depth;
      if (at->second.starts_with("ret") && depth-- == 0) break;
    }
    EXPECT_EQ(counts.locked, 0) << "in " << name;
    EXPECT_EQ(counts.fence, 0) << "in " << name;
    return counts;
  }

  static void AddLines(bool detect_misuse, FastPathTable& table) {
    const std::string tail = detect_misuse ? "" : " unchecked";
    const auto owner = NewPool(
        {.capacity = 4'096, .cache_size = 128, .detect_misuse = detect_misuse});
    BufferPool* const pool = owner.get();
    std::array<std::byte*, kFastPathBatch> many;
    std::byte** const buffers = many.data();
    // Biased, and neither empty nor full.
    for (int i = 0; i < 2'000; ++i) {
      EXPECT_TRUE(pool->AcquireMany(many));
      pool->ReleaseMany(many);
    }
    FillCache(*pool);
    EXPECT_TRUE(pool->AcquireMany(many));
    std::array<std::byte*, kFastPathBatch> kept = many;
    EXPECT_TRUE(pool->Snapshot().threads.at(0).biased);

    const auto at = [](auto* function) {
      return reinterpret_cast<uintptr_t>(function);
    };
    const Operation acquire = [&] { many[0] = FastPathAcquire(pool); };
    const Operation release = [&] { FastPathRelease(pool, many[0]); };
    const Operation acquire_pair = [&] { FastPathAcquirePair(pool, buffers); };
    const Operation release_pair = [&] { FastPathReleasePair(pool, buffers); };
    const Operation acquire_many = [&] { FastPathAcquireMany(pool, buffers); };
    const Operation release_many = [&] { FastPathReleaseMany(pool, buffers); };
    const auto add = [&](const char* name, uintptr_t function,
                         const Operation& call, const Operation& undo) {
      table.Add(name + tail, CountsOf(name, TraceOf(function, call, undo)));
    };
    add("Acquire", at(FastPathAcquire), acquire, release);
    add("AcquirePair", at(FastPathAcquirePair), acquire_pair, release_pair);
    add("AcquireMany(32)", at(FastPathAcquireMany), acquire_many, release_many);
    acquire();
    add("Release", at(FastPathRelease), release, acquire);
    release();
    acquire_pair();
    add("ReleasePair", at(FastPathReleasePair), release_pair, acquire_pair);
    release_pair();
    acquire_many();
    add("ReleaseMany(32)", at(FastPathReleaseMany), release_many, acquire_many);
    release_many();
    pool->ReleaseMany(kept);
  }
};

TEST_F(FastPathTest, ExecutesWhatTheGoldenTableSays) {
  FastPathTable table(
      "Instructions executed on the fast path (fast_path_test.cc), g++ 12.");
  AddLines(/*detect_misuse=*/true, table);
  AddLines(/*detect_misuse=*/false, table);
  if (!kIsGoldenCompiler) GTEST_SKIP() << "compared for g++ 12 alone";
  table.CompareWithGolden("fast_path.x86_64.golden");
}

}  // namespace
}  // namespace tandem
