// Hundreds of connections at once through few buffers. Every byte is checked at
// both ends, and in the end all buffers are free.

#include <cstdint>
#include <random>
#include <string>

#include "gtest/gtest.h"
#include "tandem/tests/relay/load.h"
#include "tandem/tests/relay/relay_fixture.h"

namespace tandem {
namespace {

struct LoadCase {
  const char* name;
  uint32_t threads;
  uint32_t buffers;
  uint32_t buffer_size;
  uint32_t slow_one_in;
  uint32_t dies_one_in;
  uint64_t max_bytes = 60'000;
};

class RelayLoadTest : public ::testing::TestWithParam<LoadCase> {};

TEST_P(RelayLoadTest, LosesNothingAndLeaksNothing) {
  const LoadCase& param = GetParam();
  const uint32_t seed = std::random_device()();
  RecordProperty("seed", std::to_string(seed));
  SCOPED_TRACE(seed);
  ScriptedBackend backend;
  TestRelay relay({.backend = backend.address(),
                   .threads = param.threads,
                   .buffers = param.buffers,
                   .buffer_size = param.buffer_size});
  const LoadResult clients =
      RunLoad(relay.address(), {.seed = seed,
                                .at_once = 150,
                                .connections = 600,
                                .max_bytes = param.max_bytes,
                                .slow_one_in = param.slow_one_in,
                                .dies_one_in = param.dies_one_in});
  EXPECT_EQ(clients.errors, 0u) << clients.first_error;
  EXPECT_EQ(clients.completed, 600u);
  EXPECT_TRUE(Eventually([&] { return backend.open() == 0; }));
  const LoadResult backends = backend.Stop();
  EXPECT_EQ(backends.errors, 0u) << backends.first_error;
  EXPECT_TRUE(Eventually([&] { return relay.total().finished == 600; }));
  const RelaySnapshot end = relay.Finish();
  EXPECT_EQ(end.total.refused, 0u);
  EXPECT_EQ(end.total.kept_buffers, 0u);
  EXPECT_EQ(end.sessions.pool.in_use, 0u);
  EXPECT_EQ(end.sessions.pool.waiting, 0u);
  uint64_t waits = 0;
  for (const WaitClassSnapshot& c : end.sessions.classes) {
    EXPECT_EQ(c.waits, c.grants + c.cancels) << c.name;
    waits += c.waits;
  }
  RecordProperty("waits", std::to_string(waits));
}

INSTANTIATE_TEST_SUITE_P(
    , RelayLoadTest,
    ::testing::Values(LoadCase{"FewestBuffers", 4, 3, 4096, 10, 0},
                      LoadCase{"FourBuffers", 4, 4, 16384, 10, 10},
                      LoadCase{"TinyBuffers", 4, 4, 64, 0, 10},
                      LoadCase{"SomeKept", 2, 12, 4096, 3, 10},
                      LoadCase{"Plenty", 2, 1000, 16384, 3, 3},
                      // Visits with spare buffers, which slow peers keep.
                      LoadCase{"SparesKept", 2, 1000, 1024, 3, 5, 200'000},
                      LoadCase{"SparesNowAndThen", 2, 32, 512, 5, 5}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace tandem
