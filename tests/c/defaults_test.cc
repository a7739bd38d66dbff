// C's options have the defaults of the C++ options.

#include <cstddef>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "tandem/c/tandem.h"
#include "tandem/pool/options.h"
#include "tandem/pool/trimmer.h"
#include "tandem/session/session_allocator.h"

namespace tandem {
namespace {

std::string Header() {
  std::ifstream file("c/tandem.h");
  return {std::istreambuf_iterator<char>(file), {}};
}

// What the comment above a field of the structure states as its default: the
// words after "Default:", up to the next full stop. Empty if there are none.
std::string Stated(const std::string& structure, const std::string& field) {
  static const std::string header = Header();
  const size_t start = header.find("typedef struct " + structure + " {");
  if (start == std::string::npos) return "no such structure";
  const size_t end = header.find("\n}", start);
  constexpr std::string_view kDefault = "Default: ";
  std::istringstream lines(header.substr(start, end - start));
  std::string comment;
  for (std::string line; std::getline(lines, line);) {
    std::string_view rest = absl::StripLeadingAsciiWhitespace(line);
    if (absl::ConsumePrefix(&rest, "// ")) {
      absl::StrAppend(&comment, rest, " ");
    } else if (line.ends_with(field + ";")) {
      const size_t found = comment.find(kDefault);
      if (found == std::string::npos) return "";
      const size_t begin = found + kDefault.size();
      return comment.substr(begin, comment.find('.', begin) - begin);
    } else {
      comment.clear();
    }
  }
  return "no such field";
}

// The number that a comment states, without its commas.
std::string StatedNumber(const std::string& structure,
                         const std::string& field) {
  std::string words = Stated(structure, field);
  std::erase(words, ',');
  return words;
}

TEST(DefaultsTest, CommentsStateThoseOfCpp) {
  const char* const pool = "tandem_pool_options";
  const PoolOptions options;
  EXPECT_EQ(Stated(pool, "name"), absl::StrCat("\"", options.name, "\""));
  EXPECT_EQ(StatedNumber(pool, "buffer_size"),
            absl::StrCat(options.buffer_size));
  EXPECT_EQ(StatedNumber(pool, "capacity"), absl::StrCat(options.capacity));
  EXPECT_EQ(StatedNumber(pool, "reserve"), absl::StrCat(ReserveOf(options)));
  EXPECT_EQ(Stated(pool, "cache_size"), "adaptive");
  EXPECT_FALSE(options.cache_size.has_value());
  EXPECT_EQ(StatedNumber(pool, "max_threads"),
            absl::StrCat(options.max_threads));
  EXPECT_EQ(Stated(pool, "core_pools"), "one for each core");
  EXPECT_FALSE(options.core_pools.has_value());
  EXPECT_EQ(Stated(pool, "fail_one_in"), "none");
  EXPECT_EQ(options.debug.fail_one_in, 0u);

  const char* const allocator = "tandem_allocator_options";
  EXPECT_EQ(StatedNumber(allocator, "max_waiters"),
            absl::StrCat(SessionOptions{}.max_waiters));
  EXPECT_EQ(StatedNumber(allocator, "max_overtakes"),
            absl::StrCat(SessionOptions{}.max_overtakes));

  EXPECT_EQ(Stated("tandem_trimmer_options", "every_ms"), "no trims by time");
  EXPECT_EQ(TrimmerOptions{}.every.count(), 0);
}

// A field that is 0 stands for C++'s default.
TEST(DefaultsTest, ZerosAreThoseOfCpp) {
  const PoolOptions options;
  EXPECT_EQ(static_cast<int>(options.bias), TANDEM_BIAS_AUTO);
  EXPECT_EQ(static_cast<int>(options.huge_pages), TANDEM_HUGE_PAGES_NONE);
  EXPECT_EQ(static_cast<int>(options.numa_policy), TANDEM_NUMA_LOCAL);
  EXPECT_EQ(options.numa_node, 0);
  EXPECT_TRUE(options.detect_misuse);  // no_misuse_check
  for (const bool flag :
       {options.prefault, options.pinned, options.lock_memory,
        options.exclude_from_core_dumps, options.zero_on_release,
        options.debug.no_cache, options.debug.cold_first,
        options.debug.integrity, options.debug.canaries,
        options.debug.guard_pages, options.debug.record_caller,
        options.debug.strict_misuse}) {
    EXPECT_FALSE(flag);
  }
  EXPECT_EQ(TrimmerOptions{}.pressure_trigger, -1);  // on_pressure
  EXPECT_TRUE(SessionOptions{}.classes.empty());
}

TEST(DefaultsTest, PoolWithoutOptionsHasThoseOfCpp) {
  tandem_pool* pool = nullptr;
  ASSERT_EQ(tandem_pool_create(&pool, nullptr, nullptr, 0), 0);
  const PoolOptions options;
  EXPECT_EQ(tandem_pool_name(pool), options.name);
  EXPECT_EQ(tandem_buffer_size(pool), options.buffer_size);
  EXPECT_EQ(tandem_capacity(pool), options.capacity);
  EXPECT_EQ(tandem_reserve(pool), ReserveOf(options));
  tandem_pool_destroy(pool);
}

}  // namespace
}  // namespace tandem
