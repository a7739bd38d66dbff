// The example with io_uring, loaded as the relay is: every byte is checked at
// both ends, while peers are slow, end by halves, or reset their connections.

#include <liburing.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tandem/tests/relay/load.h"
#include "tandem/tests/relay/relay_fixture.h"
#include "tandem/tests/relay/relay_process.h"
#include "tandem/tools/relay/socket.h"

namespace tandem {
namespace {

class UringRelay : public RelayProcess {
 public:
  UringRelay(const std::string& backend, uint32_t buffers)
      : RelayProcess(backend, {absl::StrCat("--buffers=", buffers)},
                     std::nullopt, kUringRelay) {}
};

// One connection through it.
struct Connection {
  Connection(const UringRelay& relay, ManualBackend& backend)
      : client(Connect(relay.address())), server(backend.Accept()) {}

  OwnedFd client;
  OwnedFd server;
};

class UringRelayTest : public ::testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override {
    io_uring ring;
    const int result = io_uring_queue_init(
        8, &ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
    if (result != 0) GTEST_SKIP() << "io_uring_queue_init: " << result;
    io_uring_queue_exit(&ring);
  }
};

TEST_P(UringRelayTest, LosesNothingAndLeaksNothing) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  ScriptedBackend backend;
  UringRelay relay(backend.address(), GetParam());
  const LoadResult clients = RunLoad(relay.address(), {.seed = seed,
                                                       .at_once = 150,
                                                       .connections = 600,
                                                       .max_bytes = 300'000,
                                                       .slow_one_in = 10,
                                                       .dies_one_in = 5});
  EXPECT_EQ(clients.errors, 0u) << clients.first_error;
  EXPECT_EQ(clients.completed, 600u);
  EXPECT_TRUE(Eventually([&] { return backend.open() == 0; }));
  const LoadResult backends = backend.Stop();
  EXPECT_EQ(backends.errors, 0u) << backends.first_error;
  // Those of the rings, and no session's.
  EXPECT_TRUE(Eventually([&] { return relay.Descriptors() < 20; }));
  EXPECT_EQ(relay.Messages(), "");
}

TEST_P(UringRelayTest, EndsByHalves) {
  ManualBackend backend;
  UringRelay relay(backend.address(), GetParam());
  Connection c(relay, backend);
  SendAll(c.client, "question");
  shutdown(c.client.get(), SHUT_WR);
  EXPECT_EQ(ReceiveUpTo(c.server, 100), "question");
  SendAll(c.server, "answer");
  EXPECT_EQ(ReceiveUpTo(c.client, 6), "answer");
  shutdown(c.server.get(), SHUT_WR);
  EXPECT_EQ(EndOf(c.client), 0);
}

TEST_P(UringRelayTest, PassesResetsOn) {
  ManualBackend backend;
  UringRelay relay(backend.address(), GetParam());
  Connection a(relay, backend), b(relay, backend);
  SendAll(a.client, "a");
  EXPECT_EQ(ReceiveUpTo(a.server, 1), "a");
  SendAll(b.client, "b");
  EXPECT_EQ(ReceiveUpTo(b.server, 1), "b");
  ResetOnClose(a.client.get());
  a.client = OwnedFd();
  EXPECT_EQ(EndOf(a.server), ECONNRESET);
  ResetOnClose(b.server.get());
  b.server = OwnedFd();
  EXPECT_EQ(EndOf(b.client), ECONNRESET);
}

TEST_P(UringRelayTest, ResetsWhomTheBackendDoesNotTake) {
  std::string nobody;
  {
    const ManualBackend gone;
    nobody = gone.address();
  }
  UringRelay relay(nobody, GetParam());
  const OwnedFd client = Connect(relay.address());
  EXPECT_EQ(EndOf(client), ECONNRESET);
}

// Silent and slow ones hold no more than their own bytes: others go on.
TEST_P(UringRelayTest, SilentAndSlowPeersLetOthersGoOn) {
  ManualBackend backend;
  UringRelay relay(backend.address(), GetParam());
  std::vector<Connection> silent;
  for (int i = 0; i < 50; ++i) silent.emplace_back(relay, backend);
  // Does not read what fills its sockets and a buffer of the relay's.
  Connection slow(relay, backend);
  const std::string much(32 << 20, 'm');
  std::thread sender([&] { SendAll(slow.server, much); });
  Connection c(relay, backend);
  for (int i = 0; i < 100; ++i) {
    SendAll(c.client, "question");
    ASSERT_EQ(ReceiveUpTo(c.server, 8), "question");
    SendAll(c.server, "answer");
    ASSERT_EQ(ReceiveUpTo(c.client, 6), "answer");
  }
  // The other direction of the slow one, too.
  SendAll(slow.client, "hello");
  EXPECT_EQ(ReceiveUpTo(slow.server, 5), "hello");
  EXPECT_EQ(ReceiveUpTo(slow.client, much.size()), much);
  sender.join();
}

INSTANTIATE_TEST_SUITE_P(, UringRelayTest, ::testing::Values(4, 16, 256),
                         [](const auto& info) {
                           return absl::StrCat("Buffers", info.param);
                         });

}  // namespace
}  // namespace tandem
