#include "tandem/tools/relay/socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace tandem {
namespace {

void SetOption(int fd, int level, int option) {
  const int on = 1;
  setsockopt(fd, level, option, &on, sizeof(on));
}

absl::StatusOr<OwnedFd> Bind(const SocketAddress& address, bool shared) {
  OwnedFd fd = OpenSocket(address.family());
  if (!fd.valid()) return absl::ErrnoToStatus(errno, "socket");
  SetOption(fd.get(), SOL_SOCKET, SO_REUSEADDR);
  if (shared) SetOption(fd.get(), SOL_SOCKET, SO_REUSEPORT);
  if (bind(fd.get(), address.get(), address.size) != 0 ||
      listen(fd.get(), SOMAXCONN) != 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot listen on ", address.ToString()));
  }
  return fd;
}

}  // namespace

OwnedFd::~OwnedFd() {
  if (fd_ >= 0) close(fd_);
}

std::string SocketAddress::ToString() const {
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (getnameinfo(get(), size, host, sizeof(host), port, sizeof(port),
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "?";
  }
  if (family() == AF_INET6) return absl::StrCat("[", host, "]:", port);
  return absl::StrCat(host, ":", port);
}

absl::StatusOr<std::vector<SocketAddress>> ResolveAddresses(
    std::string_view flag, std::string_view host_port) {
  const auto bad = [&](std::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("--", flag, " is \"", host_port, "\": ", why,
                     "; allowed: HOST:PORT or [ADDRESS]:PORT"));
  };
  const size_t colon = host_port.rfind(':');
  if (colon == std::string_view::npos) return bad("no port");
  std::string_view host = host_port.substr(0, colon);
  const std::string port(host_port.substr(colon + 1));
  if (port.empty() || port.size() > 5 ||
      port.find_first_not_of("0123456789") != std::string::npos ||
      std::stoi(port) > 65535) {
    return bad("no port from 0 to 65535");
  }
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.empty() || host.find(':') != std::string_view::npos) {
    return bad("no host");
  }
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(std::string(host).c_str(), port.c_str(), &hints, &found);
  if (error != 0) return bad(gai_strerror(error));
  std::vector<SocketAddress> addresses;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    SocketAddress& address = addresses.emplace_back();
    std::memcpy(&address.storage, at->ai_addr, at->ai_addrlen);
    address.size = at->ai_addrlen;
  }
  freeaddrinfo(found);
  std::stable_partition(
      addresses.begin(), addresses.end(),
      [](const SocketAddress& a) { return a.family() == AF_INET6; });
  return addresses;
}

absl::StatusOr<SocketAddress> ResolveAddress(std::string_view flag,
                                             std::string_view host_port) {
  auto addresses = ResolveAddresses(flag, host_port);
  if (!addresses.ok()) return std::move(addresses).status();
  return addresses->front();
}

absl::StatusOr<Listeners> Listen(const SocketAddress& address, int count) {
  // A socket of another program could share the port if that program allows it.
  // So try to bind the port alone first.
  if (auto alone = Bind(address, /*shared=*/false); !alone.ok()) {
    return std::move(alone).status();
  }
  Listeners listeners{.address = address, .sockets = {}};
  for (int i = 0; i < count; ++i) {
    auto fd = Bind(listeners.address, /*shared=*/true);
    if (!fd.ok()) return std::move(fd).status();
    if (i == 0) {
      getsockname(fd->get(),
                  reinterpret_cast<sockaddr*>(&listeners.address.storage),
                  &listeners.address.size);
    }
    listeners.sockets.push_back(*std::move(fd));
  }
  return listeners;
}

OwnedFd OpenSocket(int family) {
  return OwnedFd(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

void SetNoDelay(int fd) { SetOption(fd, IPPROTO_TCP, TCP_NODELAY); }

void ResetOnClose(int fd) {
  const linger now = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

}  // namespace tandem
