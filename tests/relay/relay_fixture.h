#ifndef TANDEM_TESTS_RELAY_RELAY_FIXTURE_H_
#define TANDEM_TESTS_RELAY_RELAY_FIXTURE_H_

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/log/check.h"
#include "tandem/tests/relay/load.h"
#include "tandem/tools/relay/relay.h"

namespace tandem {

// Checks again and again, for as long as a test may take.
inline bool Eventually(const std::function<bool()>& holds) {
  const auto until =
      std::chrono::steady_clock::now() + std::chrono::seconds(40);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// A relay in this process, in front of `options.backend`.
class TestRelay {
 public:
  explicit TestRelay(RelayOptions options) {
    options.listen = "127.0.0.1:0";
    auto relay = Relay::Create(options);
    CHECK_OK(relay.status());
    relay_ = *std::move(relay);
    CHECK_OK(relay_->Start());
  }
  ~TestRelay() { Finish(); }

  // Ends the relay and its sessions.
  RelaySnapshot Finish() {
    if (relay_->running()) {
      relay_->Drain();
      relay_->Abort();
    }
    relay_->Join();
    return relay_->Snapshot();
  }

  Relay& operator*() { return *relay_; }
  Relay* operator->() { return relay_.get(); }
  std::string address() const { return relay_->address().ToString(); }
  RelayNumbers<uint64_t> total() const { return relay_->Snapshot().total; }
  uint32_t in_use() const { return relay_->Snapshot().sessions.pool.in_use; }
  uint32_t waiting() const { return relay_->Snapshot().sessions.pool.waiting; }

 private:
  std::unique_ptr<Relay> relay_;
};

// A backend whose part the test itself plays, with blocking calls.
class ManualBackend {
 public:
  ManualBackend()
      : listeners_(Listen(ResolveAddress("listen", "127.0.0.1:0").value(), 1)
                       .value()) {
    // Accept blocks.
    const int flags = fcntl(fd(), F_GETFL);
    PCHECK(fcntl(fd(), F_SETFL, flags & ~O_NONBLOCK) == 0);
  }

  std::string address() const { return listeners_.address.ToString(); }
  OwnedFd Accept() {
    OwnedFd accepted(accept4(fd(), nullptr, nullptr, SOCK_CLOEXEC));
    PCHECK(accepted.valid());
    return accepted;
  }
  // A connection that has arrived, if there is one.
  OwnedFd TryAccept() const {
    pollfd arrived = {.fd = fd(), .events = POLLIN, .revents = 0};
    if (poll(&arrived, 1, 0) <= 0) return OwnedFd();
    return OwnedFd(accept4(fd(), nullptr, nullptr, SOCK_CLOEXEC));
  }

 private:
  int fd() const { return listeners_.sockets[0].get(); }
  Listeners listeners_;
};

inline void SendAll(const OwnedFd& to, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(to.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    PCHECK(n > 0);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

// Receives this many bytes, fewer if the stream ends before.
inline std::string ReceiveUpTo(const OwnedFd& from, size_t size) {
  std::string bytes(size, '\0');
  size_t have = 0;
  while (have < size) {
    const ssize_t n = recv(from.get(), &bytes[have], size - have, 0);
    if (n <= 0) break;
    have += static_cast<size_t>(n);
  }
  bytes.resize(have);
  return bytes;
}

// 0: the peer has ended its half. Otherwise the error of a receive, or EINVAL
// if bytes came.
inline int EndOf(const OwnedFd& from) {
  char byte;
  const ssize_t n = recv(from.get(), &byte, 1, 0);
  if (n == 0) return 0;
  return n < 0 ? errno : EINVAL;
}

}  // namespace tandem

#endif  // TANDEM_TESTS_RELAY_RELAY_FIXTURE_H_
