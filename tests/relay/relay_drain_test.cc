// The relay as a program ends on a signal, whatever is going on.

#include <signal.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tandem/tests/relay/load.h"
#include "tandem/tests/relay/relay_fixture.h"
#include "tandem/tests/relay/relay_process.h"

namespace tandem {
namespace {

// While it lives: clients that connect again and again, and a backend that
// sometimes sends a byte to each of them and receives nothing.
class DrippingClients {
 public:
  DrippingClients(const ManualBackend& backend, int count)
      : backend_(backend), count_(count) {
    backend_thread_ = std::thread([this] { Drip(); });
  }
  ~DrippingClients() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    backend_thread_.join();
  }

  // `stays`: clients stay connected; otherwise each connects again after the
  // first byte.
  void Start(const std::string& address, bool stays) {
    const SocketAddress to = ResolveAddress("relay", address).value();
    for (int i = 0; i < count_; ++i) {
      threads_.emplace_back([this, to, stays] {
        while (!stop_) {
          const OwnedFd fd(socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
          const timeval patience = {.tv_sec = 0, .tv_usec = 50'000};
          setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience,
                     sizeof(patience));
          if (connect(fd.get(), to.get(), to.size) != 0) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
            continue;
          }
          char byte;
          for (ssize_t n = -1; !stop_ && (n < 0 || stays);) {
            n = recv(fd.get(), &byte, 1, 0);
            if (n == 0 || (n < 0 && errno != EAGAIN)) break;
            if (n > 0) ++received_;
          }
        }
      });
    }
  }

  uint64_t received() const { return received_; }

 private:
  void Drip() {
    std::vector<OwnedFd> connections;
    while (!stop_) {
      for (OwnedFd fd; (fd = backend_.TryAccept()).valid();) {
        connections.push_back(std::move(fd));
      }
      std::erase_if(connections, [](const OwnedFd& fd) {
        return send(fd.get(), "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0;
      });
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  const ManualBackend& backend_;
  const int count_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> received_{0};
  std::vector<std::thread> threads_;
  std::thread backend_thread_;
};

class RelayDrainTest : public ::testing::Test {
 protected:
  // Returns its exit code, -SIGKILL if it does not end.
  static int Exit(RelayProcess& relay) {
    auto code = std::async(std::launch::async, [&] { return relay.Wait(); });
    if (code.wait_for(std::chrono::seconds(15)) != std::future_status::ready) {
      ADD_FAILURE() << "it does not end";
      relay.Signal(SIGKILL);
    }
    return code.get();
  }

  ManualBackend backend_;
};

TEST_F(RelayDrainTest, FieldEndsThoughDescriptorsAreShort) {
  DrippingClients clients(backend_, 60);
  RelayProcess relay(backend_.address(), {"--threads=2", "--buffers=16"},
                     /*descriptors=*/40);
  clients.Start(relay.address(), /*stays=*/false);
  ASSERT_TRUE(Eventually([&] { return relay.Messages() != ""; }));
  ASSERT_TRUE(Eventually([&] { return clients.received() > 100; }));
  relay.Signal(SIGTERM);
  EXPECT_EQ(Exit(relay), 0);
}

TEST_F(RelayDrainTest, FieldASecondSignalEndsAll) {
  DrippingClients clients(backend_, 60);
  RelayProcess relay(backend_.address(), {"--threads=2", "--buffers=16"},
                     /*descriptors=*/40);
  clients.Start(relay.address(), /*stays=*/true);
  ASSERT_TRUE(Eventually([&] { return relay.Messages() != ""; }));
  ASSERT_TRUE(Eventually([&] { return clients.received() > 100; }));
  relay.Signal(SIGTERM);
  // Connections that the relay has not accepted by then are refused.
  const uint64_t before = clients.received();
  ASSERT_TRUE(Eventually([&] { return clients.received() > before + 100; }));
  relay.Signal(SIGINT);
  EXPECT_EQ(Exit(relay), 0);
}

TEST_F(RelayDrainTest, FieldTheDrainTimeoutEndsWhatIsLeft) {
  DrippingClients clients(backend_, 10);
  RelayProcess relay(backend_.address(), {"--drain-timeout=300ms"});
  clients.Start(relay.address(), /*stays=*/true);
  ASSERT_TRUE(Eventually([&] { return clients.received() > 100; }));
  relay.Signal(SIGTERM);
  EXPECT_EQ(Exit(relay), 0);
}

TEST_F(RelayDrainTest, FieldEndsThoughItIsItsOwnBackend) {
  const std::string address = ManualBackend().address();
  RelayProcess relay(address, {absl::StrCat("--listen=", address)},
                     /*descriptors=*/64);
  const OwnedFd client = Connect(relay.address());
  SendAll(client, "who are you?");
  ASSERT_TRUE(Eventually([&] { return relay.Messages() != ""; }));
  relay.Signal(SIGTERM);
  EXPECT_EQ(Exit(relay), 0);
  EXPECT_NE(EndOf(client), EINVAL);
}

}  // namespace
}  // namespace tandem
