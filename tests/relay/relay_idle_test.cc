// Thousands of idle connections share four buffers.

#include <fcntl.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/tests/relay/load.h"
#include "tandem/tests/relay/relay_fixture.h"
#include "tandem/tests/relay/relay_process.h"

namespace tandem {
namespace {

TEST(RelayIdleTest, ThousandsOfIdleConnectionsHoldNoBuffer) {
  const uint32_t seed = std::random_device()();
  RecordProperty("seed", std::to_string(seed));
  SCOPED_TRACE(seed);
  // Two sockets of each connection are in this process, and two in the relay.
  const rlim_t limit = RaiseDescriptorLimit();
  if (limit < 2000) GTEST_SKIP() << "no more than " << limit << " descriptors";
  const size_t count = std::min<size_t>(10'000, (limit - 1000) / 2);
  RecordProperty("connections", static_cast<int>(count));
  ScriptedBackend backend;
  RelayProcess relay(backend.address(), {"--threads=2", "--buffers=4"});
  std::vector<OwnedFd> idle;
  while (idle.size() < count) idle.push_back(Connect(relay.address()));
  ASSERT_TRUE(Eventually([&] { return backend.open() == count; }));

  // Others work meanwhile,
  const LoadOptions options = {
      .seed = seed, .at_once = 50, .connections = 200, .max_bytes = 20'000};
  const LoadResult others = RunLoad(relay.address(), options);
  EXPECT_EQ(others.errors, 0u) << others.first_error;
  EXPECT_EQ(others.completed, 200u);

  // and the idle ones live: all at once they begin to work.
  StreamSet woken;
  std::mt19937_64 random(seed);
  for (OwnedFd& fd : idle) {
    PCHECK(fcntl(fd.get(), F_SETFL, O_NONBLOCK) == 0);
    woken.Add(std::make_unique<Stream>(
        std::move(fd), RandomScript({.max_bytes = 3000}, random)));
  }
  while (woken.size() != 0) woken.Turn();
  EXPECT_EQ(woken.result().errors, 0u) << woken.result().first_error;
  EXPECT_EQ(woken.result().completed, count);

  EXPECT_EQ(relay.Finish(), 0);
  EXPECT_EQ(relay.Total("finished"), count + 200);
  EXPECT_EQ(relay.Total("refused"), 0u);
  EXPECT_EQ(relay.Total("buffers_in_use"), 0u);
}

}  // namespace
}  // namespace tandem
