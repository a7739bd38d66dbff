#ifndef TANDEM_TOOLS_RELAY_SOCKET_H_
#define TANDEM_TOOLS_RELAY_SOCKET_H_

#include <sys/socket.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tandem {

// A file descriptor that its owner closes.
class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(other.Release()) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~OwnedFd();

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

// A resolved TCP address.
struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;

  const sockaddr* get() const {
    return reinterpret_cast<const sockaddr*>(&storage);
  }
  int family() const { return storage.ss_family; }
  // HOST:PORT in digits.
  std::string ToString() const;
};

// Resolves HOST:PORT or [ADDRESS]:PORT, blocking. InvalidArgument names `flag`.
// Returns all addresses of the name, at least one, IPv6 first.
absl::StatusOr<std::vector<SocketAddress>> ResolveAddresses(
    std::string_view flag, std::string_view host_port);
// Returns the first of these addresses.
absl::StatusOr<SocketAddress> ResolveAddress(std::string_view flag,
                                             std::string_view host_port);

// `count` sockets that listen on one address, among which the kernel
// distributes connections (SO_REUSEPORT); and the address, with the port that
// was picked for 0. An error if another program listens there.
struct Listeners {
  SocketAddress address;
  std::vector<OwnedFd> sockets;
};
absl::StatusOr<Listeners> Listen(const SocketAddress& address, int count);

// Opens a non-blocking socket to connect with. On failure it is invalid and
// errno is set.
OwnedFd OpenSocket(int family);

// Makes the socket send at once: large chunks need no delay, and small ones are
// urgent.
void SetNoDelay(int fd);

// Makes close(2) reset the connection instead of ending it in order.
void ResetOnClose(int fd);

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_SOCKET_H_
