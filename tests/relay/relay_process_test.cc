// The relay as a program: flags, ports, signals, descriptors.

#include "tandem/tests/relay/relay_process.h"

#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tandem/tests/relay/load.h"
#include "tandem/tests/relay/relay_fixture.h"

namespace tandem {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

void ExpectOneLine(const std::string& text) {
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  EXPECT_THAT(text, EndsWith("\n"));
}

TEST(RelayProcessTest, AWrongFlagGivesOneLine) {
  const struct {
    const char* flag;
    const char* message;
  } cases[] = {
      {"--listen=nowhere", "--listen is \"nowhere\": no port"},
      {"--listen=:8080", "--listen is \":8080\": no host"},
      {"--backend=127.0.0.1:99999", "no port from 0 to 65535"},
      {"--backend=127.0.0.1:http", "no port from 0 to 65535"},
      {"--threads=0", "--threads is 0; allowed: 1 to 256"},
      {"--buffers=2", "--buffers is 2; allowed: 3 to"},
      {"--buffer-size=100", "--buffer-size is 100; allowed: multiples of 64"},
      {"--reserve=0", "--reserve is 0; allowed: 1 to"},
      {"--max-waiters=0", "--max-waiters is 0; allowed: 1 to 1048575"},
      {"--idle-timeout=-1s", "--idle-timeout is -1s; allowed: more than 0"},
      {"--idle-timeout=soon", "--idle-timeout is \"soon\"; allowed: a time"},
      {"--connect-timeout=0", "--connect-timeout is 0; allowed: more than 0"},
      {"--drain-timeout=-5s", "--drain-timeout is -5s; allowed: more than 0"},
      {"--drain-timeout=late", "--drain-timeout is \"late\"; allowed: a time"},
      {"--bufers=4", "Unknown command line flag 'bufers'"},
      {"--buffers=many", "Illegal value 'many' specified for flag 'buffers'"},
      {"listen=127.0.0.1:0", "\"listen=127.0.0.1:0\" is no flag"},
  };
  for (const auto& [flag, message] : cases) {
    Process relay(
        RelayCommand({"--listen=127.0.0.1:0", "--backend=127.0.0.1:1", flag}));
    EXPECT_EQ(relay.Wait(), 1) << flag;
    EXPECT_THAT(relay.Messages(), HasSubstr(message));
    ExpectOneLine(relay.Messages());
  }
}

TEST(RelayProcessTest, ABusyPortGivesOneLine) {
  const ManualBackend somebody;
  RelayProcess first(somebody.address(), {});
  for (const std::string& busy : {somebody.address(), first.address()}) {
    Process relay(RelayCommand(
        {absl::StrCat("--listen=", busy), "--backend=127.0.0.1:1"}));
    EXPECT_EQ(relay.Wait(), 1);
    EXPECT_THAT(relay.Messages(),
                StartsWith(absl::StrCat("relay: cannot listen on ", busy)));
    ExpectOneLine(relay.Messages());
  }
  EXPECT_EQ(first.Finish(), 0);
}

TEST(RelayProcessTest, SigtermLetsSessionsEnd) {
  ManualBackend backend;
  RelayProcess relay(backend.address(), {"--threads=2", "--buffers=4"});
  const OwnedFd client = Connect(relay.address());
  const OwnedFd server = backend.Accept();
  SendAll(client, "x");
  ASSERT_EQ(ReceiveUpTo(server, 1), "x");
  relay.Signal(SIGTERM);
  SendAll(server, "answer");
  EXPECT_EQ(ReceiveUpTo(client, 6), "answer");
  shutdown(server.get(), SHUT_WR);
  EXPECT_EQ(EndOf(client), 0);
  shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(relay.Finish(), 0);
  EXPECT_EQ(relay.Total("finished"), 1u);
  EXPECT_EQ(relay.Total("open"), 0u);
  EXPECT_EQ(relay.Total("bytes_to_client"), 6u);
  EXPECT_EQ(relay.Total("buffers_in_use"), 0u);
  EXPECT_EQ(relay.Messages(), "");
}

TEST(RelayProcessTest, ASecondSigtermEndsThem) {
  ManualBackend backend;
  RelayProcess relay(backend.address(), {"--idle-timeout=1h"});
  const OwnedFd client = Connect(relay.address());
  const OwnedFd server = backend.Accept();
  relay.Signal(SIGTERM);
  relay.Signal(SIGINT);
  EXPECT_EQ(relay.Wait(), 0);
  EXPECT_NE(EndOf(client), EINVAL);
}

TEST(RelayProcessTest, WithoutDescriptorsConnectionsWaitAndNoneIsLost) {
  const uint32_t seed = std::random_device()();
  RecordProperty("seed", std::to_string(seed));
  SCOPED_TRACE(seed);
  ScriptedBackend backend;
  RelayProcess relay(backend.address(), {"--threads=2", "--buffers=4"},
                     /*descriptors=*/64);
  const LoadResult result = RunLoad(
      relay.address(),
      {.seed = seed, .at_once = 150, .connections = 300, .max_bytes = 50'000});
  EXPECT_EQ(result.errors, 0u) << result.first_error;
  EXPECT_EQ(result.completed, 300u);
  EXPECT_EQ(relay.Finish(), 0);
  EXPECT_GT(relay.Total("accept_pauses"), 0u);
  EXPECT_EQ(relay.Total("finished"), 300u);
  EXPECT_EQ(relay.Messages(), "relay: accepting pauses: Too many open files\n");
}

}  // namespace
}  // namespace tandem
