// The relay between other programs: nginx serves, wrk sends requests.

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tandem/tests/relay/load.h"
#include "tandem/tests/relay/relay_fixture.h"
#include "tandem/tests/relay/relay_process.h"
#include "tandem/tests/relay/stream.h"

namespace tandem {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kNginx[] = "/usr/sbin/nginx";
constexpr char kWrk[] = "/usr/bin/wrk";
constexpr size_t kBody = 100'000;

std::string FreeAddress() { return ManualBackend().address(); }

// nginx, which serves one file from a folder of its own.
class Nginx {
 public:
  Nginx() : address_(FreeAddress()) {
    const std::string folder = ::testing::TempDir();
    body_.resize(kBody);
    FillPattern(1, 0, std::as_writable_bytes(std::span(body_)));
    std::ofstream(folder + "/body") << body_;
    std::ofstream(folder + "/nginx.conf")
        << (geteuid() == 0 ? "user root;\n" : "") << "daemon off;\npid "
        << folder << "/nginx.pid;\nerror_log stderr;\n"
        << "worker_processes 1;\nevents { worker_connections 4000; }\n"
        << "http {\n access_log off; keepalive_requests 1000000;\n";
    std::ofstream conf(folder + "/nginx.conf", std::ios::app);
    for (const char* const kind :
         {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
      conf << " " << kind << "_temp_path " << folder << "/" << kind << ";\n";
    }
    conf << " server { listen " << address_ << " backlog=4096; root " << folder
         << "; }\n}\n";
    conf.close();
    process_.emplace(std::vector<std::string>{
        kNginx, "-e", "stderr", "-p", folder, "-c", folder + "/nginx.conf"});
  }
  ~Nginx() {
    // Ends its workers as well; SIGKILL would leave them behind.
    process_->Signal(SIGTERM);
    process_->Wait();
  }

  const std::string& address() const { return address_; }
  const std::string& body() const { return body_; }
  // True if it has begun to listen.
  bool Answers() const {
    const SocketAddress to = ResolveAddress("nginx", address_).value();
    const OwnedFd fd(socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    return connect(fd.get(), to.get(), to.size) == 0;
  }

 private:
  const std::string address_;
  std::string body_;
  std::optional<Process> process_;
};

bool IsInstalled(const char* program) { return access(program, X_OK) == 0; }

class RelayPeersTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (!IsInstalled(kNginx)) GTEST_SKIP() << "no " << kNginx;
    nginx_.emplace();
    ASSERT_TRUE(Eventually([&] { return nginx_->Answers(); }));
  }

  std::optional<Nginx> nginx_;
};

TEST_P(RelayPeersTest, ABodyArrivesWhole) {
  RelayProcess relay(nginx_->address(),
                     {absl::StrCat("--buffers=", GetParam())});
  const OwnedFd client = Connect(relay.address());
  for (int i = 0; i < 20; ++i) {
    SendAll(client, "GET /body HTTP/1.1\r\nHost: relay\r\n\r\n");
    std::string header;
    while (!absl::EndsWith(header, "\r\n\r\n")) {
      const std::string next = ReceiveUpTo(client, 1);
      ASSERT_NE(next, "") << header;
      header += next;
    }
    EXPECT_THAT(header, HasSubstr("200 OK"));
    EXPECT_EQ(ReceiveUpTo(client, kBody), nginx_->body());
  }
}

TEST_P(RelayPeersTest, ManyClientsSeeNoError) {
  if (!IsInstalled(kWrk)) GTEST_SKIP() << "no " << kWrk;
  RelayProcess relay(nginx_->address(),
                     {absl::StrCat("--buffers=", GetParam()), "--threads=2"});
  Process wrk({kWrk, "-t1", "-c200", "-d2s", "--timeout=60s",
               absl::StrCat("http://", relay.address(), "/body")});
  const std::string report = wrk.ReadRest();
  EXPECT_EQ(wrk.Wait(), 0);
  EXPECT_THAT(report, HasSubstr("Requests/sec"));
  EXPECT_THAT(report, Not(HasSubstr("errors"))) << report;
  EXPECT_THAT(report, Not(HasSubstr("Non-2xx"))) << report;
  EXPECT_EQ(relay.Finish(), 0);
  EXPECT_EQ(relay.Total("refused"), 0u);
  EXPECT_EQ(relay.Total("buffers_in_use"), 0u);
  EXPECT_GT(relay.Total("bytes_to_client"), 200 * kBody);
}

INSTANTIATE_TEST_SUITE_P(Buffers, RelayPeersTest,
                         ::testing::Values(4, 16, 1024));

}  // namespace
}  // namespace tandem
