// A relay's work with one connection, and with too few buffers.

#include "tandem/tools/relay/relay.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tandem/tests/relay/load.h"
#include "tandem/tests/relay/relay_fixture.h"

namespace tandem {
namespace {

class RelayTest : public ::testing::Test {
 protected:
  RelayOptions Options(uint32_t buffers = 4) {
    return {.backend = backend_.address(), .threads = 2, .buffers = buffers};
  }

  ManualBackend backend_;
};

// A client that is connected to its backend.
struct Pipe {
  Pipe(TestRelay& relay, ManualBackend& server)
      : client(Connect(relay.address())), backend(server.Accept()) {}
  OwnedFd client;
  OwnedFd backend;
};

TEST(SocketAddressTest, ReadsBothFamilies) {
  for (const char* const address : {"127.0.0.1:80", "[::1]:8080"}) {
    const auto resolved = ResolveAddress("backend", address);
    ASSERT_TRUE(resolved.ok()) << resolved.status();
    EXPECT_EQ(resolved->ToString(), address);
  }
}

TEST_F(RelayTest, CarriesBytesBothWays) {
  TestRelay relay(Options());
  Pipe pipe(relay, backend_);
  SendAll(pipe.client, "ping");
  EXPECT_EQ(ReceiveUpTo(pipe.backend, 4), "ping");
  SendAll(pipe.backend, "pong!");
  EXPECT_EQ(ReceiveUpTo(pipe.client, 5), "pong!");
  EXPECT_TRUE(Eventually([&] { return relay.total().bytes_to_client == 5; }));
  EXPECT_EQ(relay.total().bytes_to_backend, 4u);
  EXPECT_EQ(relay.total().open(), 1u);
}

TEST_F(RelayTest, AHalfThatEndsLeavesTheOther) {
  TestRelay relay(Options());
  Pipe pipe(relay, backend_);
  SendAll(pipe.client, "all");
  shutdown(pipe.client.get(), SHUT_WR);
  EXPECT_EQ(ReceiveUpTo(pipe.backend, 3), "all");
  EXPECT_EQ(EndOf(pipe.backend), 0);
  SendAll(pipe.backend, "still here");
  EXPECT_EQ(ReceiveUpTo(pipe.client, 10), "still here");
  shutdown(pipe.backend.get(), SHUT_WR);
  EXPECT_EQ(EndOf(pipe.client), 0);
  EXPECT_TRUE(Eventually([&] { return relay.total().finished == 1; }));
  EXPECT_EQ(relay.total().resets, 0u);
}

TEST_F(RelayTest, AResetReachesTheOtherEnd) {
  TestRelay relay(Options());
  for (const bool by_client : {true, false}) {
    Pipe pipe(relay, backend_);
    SendAll(pipe.client, "x");
    ASSERT_EQ(ReceiveUpTo(pipe.backend, 1), "x");
    OwnedFd& dying = by_client ? pipe.client : pipe.backend;
    OwnedFd& living = by_client ? pipe.backend : pipe.client;
    ResetOnClose(dying.get());
    dying = OwnedFd();
    EXPECT_EQ(EndOf(living), ECONNRESET);
  }
  EXPECT_TRUE(Eventually([&] { return relay.total().finished == 2; }));
  EXPECT_EQ(relay.total().resets, 2u);
}

TEST_F(RelayTest, WhatABackendSentBeforeItWentStillArrives) {
  TestRelay relay(Options());
  Pipe pipe(relay, backend_);
  const std::string answer(300'000, 'a');
  std::thread backend([&] {
    SendAll(pipe.backend, answer);
    shutdown(pipe.backend.get(), SHUT_WR);
  });
  EXPECT_EQ(ReceiveUpTo(pipe.client, answer.size()), answer);
  EXPECT_EQ(EndOf(pipe.client), 0);
  backend.join();
}

TEST_F(RelayTest, WhatWasSentBeforeAResetStillArrives) {
  TestRelay relay(Options());
  Pipe pipe(relay, backend_);
  const std::string answer(400'000, 'a');
  SendAll(pipe.backend, answer);
  // All bytes are on their way to the client, or wait for it in the system.
  ASSERT_TRUE(Eventually(
      [&] { return relay.total().bytes_to_client == answer.size(); }));
  ResetOnClose(pipe.backend.get());
  pipe.backend = OwnedFd();
  ASSERT_TRUE(Eventually([&] { return relay.total().resets == 1; }));
  EXPECT_EQ(ReceiveUpTo(pipe.client, answer.size()), answer);
  EXPECT_EQ(EndOf(pipe.client), ECONNRESET);
}

TEST_F(RelayTest, AResetOfAHalfThatOnlySendsIsNoticed) {
  TestRelay relay(Options());
  Pipe pipe(relay, backend_);
  shutdown(pipe.client.get(), SHUT_WR);
  ASSERT_EQ(EndOf(pipe.backend), 0);
  ResetOnClose(pipe.client.get());
  pipe.client = OwnedFd();
  // The relay notices when it sends.
  const std::string chunk(1000, 'x');
  EXPECT_TRUE(Eventually([&] {
    return send(pipe.backend.get(), chunk.data(), chunk.size(), MSG_NOSIGNAL) <
           0;
  }));
  EXPECT_TRUE(Eventually([&] { return relay.total().finished == 1; }));
  EXPECT_EQ(relay.total().resets, 1u);
}

TEST_F(RelayTest, AClientWithoutABackendIsReset) {
  // A port without a listener.
  const std::string nobody = [] { return ManualBackend().address(); }();
  TestRelay relay({.backend = nobody, .buffers = 4});
  const OwnedFd client = Connect(relay.address());
  EXPECT_EQ(EndOf(client), ECONNRESET);
  EXPECT_TRUE(Eventually([&] { return relay.total().finished == 1; }));
  EXPECT_EQ(relay.total().connect_failures, 1u);
}

TEST_F(RelayTest, IdleSessionsHoldNoBuffer) {
  TestRelay relay(Options());
  std::vector<std::unique_ptr<Pipe>> pipes;
  for (int i = 0; i < 50; ++i) {
    pipes.push_back(std::make_unique<Pipe>(relay, backend_));
    SendAll(pipes.back()->client, "x");
    ASSERT_EQ(ReceiveUpTo(pipes.back()->backend, 1), "x");
  }
  EXPECT_TRUE(Eventually([&] { return relay.in_use() == 0; }));
  EXPECT_EQ(relay.total().open(), 50u);
}

TEST_F(RelayTest, AnIdleSessionIsClosedAfterItsTimeout) {
  RelayOptions options = Options();
  options.idle_timeout = absl::Milliseconds(50);
  TestRelay relay(options);
  const Pipe pipe(relay, backend_);
  EXPECT_EQ(EndOf(pipe.client), 0);
  EXPECT_EQ(EndOf(pipe.backend), 0);
  EXPECT_TRUE(Eventually([&] { return relay.total().finished == 1; }));
  EXPECT_EQ(relay.total().idle_timeouts, 1u);
}

// Sends until the peer takes no more.
size_t Stuff(const OwnedFd& to) {
  const std::string chunk(64 * 1024, 's');
  size_t sent = 0;
  for (;;) {
    pollfd ready = {.fd = to.get(), .events = POLLOUT, .revents = 0};
    if (poll(&ready, 1, 200) == 0) return sent;
    const ssize_t n =
        send(to.get(), chunk.data(), chunk.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) sent += static_cast<size_t>(n);
  }
}

TEST_F(RelayTest, S6PeersThatTakeNothingStarveNobody) {
  for (const uint32_t buffers : {4, 12}) {
    TestRelay relay(Options(buffers));
    std::vector<std::unique_ptr<Pipe>> stuck;
    std::vector<size_t> sent;
    for (int i = 0; i < 12; ++i) {
      stuck.push_back(std::make_unique<Pipe>(relay, backend_));
      sent.push_back(Stuff(stuck.back()->backend));
    }
    // No more buffers are held than the quotas allow; otherwise all 12 sessions
    // would be stuck.
    EXPECT_LE(relay.total().kept_buffers, buffers - 3);
    EXPECT_TRUE(Eventually([&] { return relay.in_use() <= buffers - 3; }));
    Pipe pipe(relay, backend_);
    const std::string request(100'000, 'r');
    std::thread backend([&] {
      EXPECT_EQ(ReceiveUpTo(pipe.backend, request.size()), request);
      SendAll(pipe.backend, request);
    });
    SendAll(pipe.client, request);
    EXPECT_EQ(ReceiveUpTo(pipe.client, request.size()), request);
    backend.join();
    // And nothing is lost for slow clients.
    for (size_t i = 0; i < stuck.size(); ++i) {
      EXPECT_EQ(ReceiveUpTo(stuck[i]->client, sent[i]),
                std::string(sent[i], 's'));
    }
    EXPECT_TRUE(Eventually([&] { return relay.in_use() == 0; }));
    EXPECT_EQ(relay.total().kept_buffers, 0u);
  }
}

// A relay all of whose buffers the test holds.
class ShortRelayTest : public RelayTest {
 protected:
  void Exhaust(TestRelay& relay) {
    buffers_.resize(relay->pool().capacity());
    EXPECT_TRUE(
        Eventually([&] { return relay->pool().AcquireMany(buffers_); }));
  }
  void Replenish(TestRelay& relay) { relay->pool().ReleaseMany(buffers_); }

  std::vector<std::byte*> buffers_;
};

TEST_F(ShortRelayTest, S4SessionsWaitAndAreNotDropped) {
  RelayOptions options = Options();
  options.idle_timeout = absl::Milliseconds(500);
  TestRelay relay(options);
  Exhaust(relay);
  // These sessions have work from the start, and are never idle.
  std::vector<OwnedFd> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(Connect(relay.address()));
    SendAll(clients.back(), "patience");
  }
  EXPECT_TRUE(Eventually([&] { return relay.waiting() == 20; }));
  // Several times the idle timeout: a session that waits for buffers is
  // not idle.
  std::this_thread::sleep_for(std::chrono::milliseconds(2000));
  EXPECT_EQ(relay.waiting(), 20u);
  Replenish(relay);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(ReceiveUpTo(backend_.Accept(), 8), "patience");
  }
}

TEST_F(ShortRelayTest, S7NewWorkIsRefusedWhenTooManyWait) {
  RelayOptions options = Options();
  options.max_waiters = 2;
  TestRelay relay(options);
  // Three sessions that have begun; the pool lets two of them wait.
  std::vector<std::unique_ptr<Pipe>> begun;
  for (int i = 0; i < 3; ++i) {
    begun.push_back(std::make_unique<Pipe>(relay, backend_));
    SendAll(begun.back()->client, "1");
    ASSERT_EQ(ReceiveUpTo(begun.back()->backend, 1), "1");
  }
  // A session that is connected, but new.
  const Pipe fresh(relay, backend_);
  Exhaust(relay);
  for (const auto& pipe : begun) SendAll(pipe->client, "2");
  EXPECT_TRUE(Eventually(
      [&] { return relay.waiting() == 2 && relay.total().retries > 0; }));
  SendAll(fresh.client, "x");
  EXPECT_EQ(EndOf(fresh.client), ECONNRESET);
  const OwnedFd late = Connect(relay.address());
  EXPECT_EQ(EndOf(late), ECONNRESET);
  EXPECT_TRUE(Eventually([&] { return relay.total().refused == 2; }));
  Replenish(relay);
  for (const auto& pipe : begun) {
    EXPECT_EQ(ReceiveUpTo(pipe->backend, 1), "2");
  }
  EXPECT_TRUE(Eventually([&] { return relay.in_use() == 0; }));
}

TEST_F(ShortRelayTest, AnAbortEndsThoseThatWait) {
  TestRelay relay(Options());
  Exhaust(relay);
  const Pipe pipe(relay, backend_);
  SendAll(pipe.client, "x");
  EXPECT_TRUE(Eventually([&] { return relay.waiting() == 1; }));
  const RelaySnapshot end = relay.Finish();
  EXPECT_EQ(end.total.open(), 0u);
  EXPECT_EQ(end.sessions.pool.waiting, 0u);
  Replenish(relay);
}

TEST_F(RelayTest, ADrainLetsSessionsEnd) {
  TestRelay relay(Options());
  Pipe pipe(relay, backend_);
  SendAll(pipe.client, "x");
  ASSERT_EQ(ReceiveUpTo(pipe.backend, 1), "x");
  relay->Drain();
  SendAll(pipe.backend, "answer");
  shutdown(pipe.backend.get(), SHUT_WR);
  EXPECT_EQ(ReceiveUpTo(pipe.client, 6), "answer");
  EXPECT_EQ(EndOf(pipe.client), 0);
  shutdown(pipe.client.get(), SHUT_WR);
  EXPECT_TRUE(Eventually([&] { return !relay->running(); }));
  const RelaySnapshot end = relay.Finish();
  EXPECT_EQ(end.total.finished, 1u);
  EXPECT_EQ(end.total.idle_timeouts, 0u);
}

TEST_F(RelayTest, ADrainDoesNotWaitForTheIdle) {
  TestRelay relay(Options());
  const Pipe pipe(relay, backend_);
  relay->Drain();
  EXPECT_TRUE(Eventually([&] { return !relay->running(); }));
  EXPECT_EQ(relay.Finish().total.idle_timeouts, 1u);
}

TEST_F(RelayTest, ATotalIsTheSumOfItsThreads) {
  TestRelay relay(Options());
  for (int i = 0; i < 20; ++i) {
    Pipe pipe(relay, backend_);
    SendAll(pipe.client, "0123456789");
    ASSERT_EQ(ReceiveUpTo(pipe.backend, 10), "0123456789");
  }
  EXPECT_TRUE(Eventually([&] { return relay.total().finished == 20; }));
  const RelaySnapshot snapshot = relay->Snapshot();
  ASSERT_EQ(snapshot.threads.size(), 2u);
  uint64_t bytes = 0;
  for (const auto& thread : snapshot.threads) bytes += thread.bytes_to_backend;
  EXPECT_EQ(bytes, 200u);
  EXPECT_EQ(snapshot.total.bytes_to_backend, 200u);
}

}  // namespace
}  // namespace tandem
