// What the relay tells about itself, asked by HTTP.

#include "tandem/tools/relay/stats/stats_server.h"

#include <signal.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tandem/tests/relay/load.h"
#include "tandem/tests/relay/relay_fixture.h"
#include "tandem/tests/relay/relay_process.h"
#include "tandem/tests/relay/stats/http.h"

namespace tandem {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class StatsServerTest : public ::testing::Test {
 protected:
  HttpReply Get(std::string_view path) {
    return Http(stats_->address().ToString(), "GET", path);
  }
  nlohmann::json Status() {
    return nlohmann::json::parse(Get("/status.json").body);
  }

  ManualBackend backend_;
  const RelayOptions options_ = {.backend = backend_.address(), .buffers = 16};
  TestRelay relay_{options_};
  std::unique_ptr<StatsServer> stats_ =
      StatsServer::Create("127.0.0.1:0", *relay_, options_).value();
};

TEST_F(StatsServerTest, TellsWhatTheRelayDoes) {
  const OwnedFd client = Connect(relay_.address());
  const OwnedFd server = backend_.Accept();
  SendAll(client, "hello");
  ASSERT_EQ(ReceiveUpTo(server, 5), "hello");
  // Once its last snapshot is a second old.
  ASSERT_TRUE(
      Eventually([&] { return Status()["total"]["bytes_to_backend"] == 5; }));
  const nlohmann::json status = Status();
  EXPECT_EQ(status["listen"], relay_.address());
  EXPECT_EQ(status["backend"], backend_.address());
  EXPECT_EQ(status["total"]["open"], 1);
  EXPECT_EQ(status["loops"].size(), 2u);
  EXPECT_EQ(status["pool"]["capacity"], 16);
  EXPECT_EQ(status["pool"]["in_use"], 0);
  EXPECT_EQ(status["classes"].size(), 3u);
  EXPECT_EQ(status["classes"][1]["name"], "pair");

  const HttpReply metrics = Get("/metrics");
  EXPECT_EQ(metrics.code, 200);
  EXPECT_THAT(metrics.head,
              HasSubstr("Content-Type: text/plain; version=0.0.4"));
  EXPECT_THAT(metrics.body, HasSubstr("\ntandem_pool_capacity 16\n"));
}

TEST_F(StatsServerTest, ManyReadersCostOneSnapshot) {
  const double first = Status()["uptime"];
  int same = 0;
  for (int i = 0; i < 20; ++i) same += Status()["uptime"] == first;
  EXPECT_GT(same, 0);
}

TEST_F(StatsServerTest, TellsAtOnceThatItDrains) {
  EXPECT_EQ(Status()["draining"], false);
  stats_->SetDraining();
  EXPECT_EQ(Status()["draining"], true);
}

TEST_F(StatsServerTest, ThePageIsOfOnePiece) {
  const HttpReply page = Get("/");
  EXPECT_EQ(page.code, 200);
  EXPECT_THAT(page.head, HasSubstr("Content-Security-Policy: default-src "
                                   "'self'"));
  EXPECT_THAT(page.body, StartsWith("<!DOCTYPE html>"));
  for (const char* const file :
       {"/status.css", "/status.js", "/plot.js", "/icon.svg"}) {
    EXPECT_THAT(page.body, HasSubstr(absl::StrCat("\"", file, "\"")));
    EXPECT_EQ(Get(file).code, 200) << file;
    EXPECT_THAT(Get(file).body, EndsWith("\n")) << file;
  }
}

TEST_F(StatsServerTest, AnswersNothingElse) {
  EXPECT_EQ(Get("/etc/passwd").code, 404);
  EXPECT_EQ(Get("/../status.json").code, 404);
  const std::string address = stats_->address().ToString();
  EXPECT_EQ(Http(address, "POST", "/", "text").code, 405);
  EXPECT_EQ(Http(address, "DELETE", "/metrics").code, 405);
  EXPECT_EQ(Http(address, "HEAD", "/").code, 200);
}

TEST_F(StatsServerTest, FieldAScrapeFindsRoomAmongIdleConnections) {
  // More connections than the 64 that may be open.
  std::vector<OwnedFd> idle;
  while (idle.size() < 80)
    idle.push_back(Connect(stats_->address().ToString()));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Get("/metrics").code, 200) << i;
  // Only the connections that have been idle for longest were closed.
  EXPECT_EQ(EndOf(idle.front()), 0);
  SendAll(idle.back(), "GET /metrics HTTP/1.1\r\nHost: relay\r\n\r\n");
  EXPECT_EQ(ReceiveUpTo(idle.back(), 12), "HTTP/1.1 200");
}

TEST(StatsFlagTest, FieldIdleConnectionsGiveWayWhenNoDescriptorIsLeft) {
  ManualBackend backend;
  RelayProcess relay(backend.address(), {"--stats=127.0.0.1:0"},
                     /*descriptors=*/64);
  const std::string line = relay.ReadLine();
  const size_t start = line.find("//") + 2;
  const std::string address = line.substr(start, line.rfind('/') - start);
  std::vector<OwnedFd> clients;
  for (int i = 0; i < 100; ++i) clients.push_back(Connect(relay.address()));
  ASSERT_TRUE(Eventually([&] { return relay.Descriptors() >= 54; }));
  std::vector<OwnedFd> idle;
  for (int i = 0; i < 20; ++i) idle.push_back(Connect(address));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Http(address, "GET", "/metrics").code, 200);
  }
  relay.Signal(SIGKILL);
  relay.Wait();
}

TEST(StatsFlagTest, TheProgramSaysWhereItTells) {
  const ManualBackend backend;
  RelayProcess relay(backend.address(), {"--stats=127.0.0.1:0"});
  const std::string line = relay.ReadLine();
  const std::string before = "relay: tells at http://";
  ASSERT_THAT(line, StartsWith(before));
  const std::string address =
      line.substr(before.size(), line.rfind('/') - before.size());
  EXPECT_THAT(Http(address, "GET", "/metrics").body,
              HasSubstr("tandem_relay_draining 0"));
  EXPECT_EQ(relay.Finish(), 0);
}

TEST(StatsFlagTest, TellsWhenNoDescriptorIsLeft) {
  ManualBackend backend;
  RelayProcess relay(backend.address(), {"--stats=127.0.0.1:0"},
                     /*descriptors=*/64);
  const std::string line = relay.ReadLine();
  const size_t start = line.find("//") + 2;
  const std::string address = line.substr(start, line.rfind('/') - start);
  std::vector<OwnedFd> clients;
  for (int i = 0; i < 100; ++i) clients.push_back(Connect(relay.address()));
  ASSERT_TRUE(Eventually([&] { return relay.Descriptors() >= 54; }));
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(Http(address, "GET", "/metrics").body,
                HasSubstr("tandem_relay_accept_pauses_total{loop=\"0\"} "));
  }
  relay.Signal(SIGKILL);
  relay.Wait();
}

TEST(StatsFlagTest, AWrongOrBusyAddressGivesOneLine) {
  const ManualBackend busy;
  const std::pair<std::string, std::string> cases[] = {
      {"nowhere", "relay: --stats is \"nowhere\": no port"},
      {busy.address(), "relay: cannot listen on " + busy.address()},
  };
  for (const auto& [address, message] : cases) {
    Process relay(RelayCommand({"--listen=127.0.0.1:0", "--backend=127.0.0.1:1",
                                absl::StrCat("--stats=", address)}));
    EXPECT_EQ(relay.Wait(), 1);
    EXPECT_THAT(relay.Messages(), StartsWith(message));
    EXPECT_EQ(relay.Messages().find('\n'), relay.Messages().size() - 1);
  }
}

}  // namespace
}  // namespace tandem
