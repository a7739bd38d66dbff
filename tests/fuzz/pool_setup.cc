#include "tandem/tests/fuzz/pool_setup.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "tandem/session/wait_class.h"

namespace tandem {

PoolSetup::PoolSetup(ByteReader& in) {
  constexpr uint32_t kCapacities[] = {2,  3,  4,  5,  6,  7,   8,  9,
                                      12, 16, 24, 32, 64, 130, 300};
  constexpr uint32_t kAdaptive = 0xFF;
  constexpr uint32_t kCacheSizes[] = {0, 1, 2, 3, 4, 8, 32, 128, kAdaptive};
  pool.buffer_size = 64;
  pool.capacity = in.OneOf(kCapacities);
  pool.reserve = in.Below(std::min(pool.capacity, 6u));
  if (const uint32_t size = in.OneOf(kCacheSizes); size != kAdaptive) {
    pool.cache_size = size;
  }
  pool.max_threads = in.Below(5);
  pool.core_pools = 1 + in.Below(3);
  const uint8_t flags = in.Next();
  pool.bias = flags & 1 ? Bias::kShared : Bias::kAuto;
  pool.detect_misuse = !(flags & 2);
  pool.zero_on_release = flags & 4;
  // Aids to find faults change no result.
  const uint8_t debug = flags & 8 ? in.Next() : 0;
  pool.debug.no_cache = debug & 1;
  pool.debug.cold_first = debug & 2;
  pool.debug.integrity = debug & 4;
  pool.debug.canaries = debug & 8;
  pool.debug.record_caller = debug & 16;
  pool.debug.strict_misuse = debug & 32;

  sessions.max_waiters = 1 + in.Below(8);
  sessions.max_overtakes = in.OneOf({1u, 2u, 3u, 64u});
  if (const int rank = in.OneOf({0, 50, 150, 250}); rank != 0) {
    sessions.classes = {
        {"declared", in.Below(std::min(pool.capacity, 256u)), rank}};
  }
}

SequentialPool::Rules PoolSetup::Rules() const {
  std::map<int, SequentialPool::Class> by_rank = {
      {kCompleteRank, {.need = 1, .keep = 0}},
      {kPairRank, {.need = 2, .keep = 0}},
      {kReceiveRank, {.need = 1, .keep = ReserveOf(pool)}}};
  for (const WaitClass& c : sessions.classes) {
    by_rank[c.rank] = {.need = 1, .keep = c.keep};
  }
  SequentialPool::Rules rules{.capacity = pool.capacity,
                              .classes = {},
                              .max_waiters = sessions.max_waiters,
                              .max_overtakes = sessions.max_overtakes};
  for (const auto& [rank, rule] : by_rank) rules.classes.push_back(rule);
  return rules;
}

std::string PoolSetup::ToString() const {
  std::string text = absl::StrCat(
      "capacity ", pool.capacity, ", reserve ", ReserveOf(pool),
      ", cache_size ",
      pool.cache_size ? absl::StrCat(*pool.cache_size) : "unset",
      ", max_threads ", pool.max_threads, ", core_pools ", *pool.core_pools,
      pool.bias == Bias::kShared ? ", shared" : "",
      pool.detect_misuse ? "" : ", misuse not detected",
      pool.zero_on_release ? ", zero_on_release" : "",
      pool.debug.no_cache ? ", no_cache" : "",
      pool.debug.cold_first ? ", cold_first" : "",
      pool.debug.integrity ? ", integrity" : "",
      pool.debug.canaries ? ", canaries" : "",
      pool.debug.record_caller ? ", record_caller" : "",
      pool.debug.strict_misuse ? ", strict_misuse" : "");
  absl::StrAppend(&text, "; max_waiters ", sessions.max_waiters,
                  ", max_overtakes ", sessions.max_overtakes);
  for (const WaitClass& c : sessions.classes) {
    absl::StrAppend(&text, "; class of rank ", c.rank, " keeps ", c.keep);
  }
  return text;
}

}  // namespace tandem
