#ifndef TANDEM_EXAMPLES_UPPER_H_
#define TANDEM_EXAMPLES_UPPER_H_

// Common parts of these servers: they send a client's bytes back in capitals.

#include <arpa/inet.h>
#include <err.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

#include "tandem/session/session_buffers.h"

namespace tandem {

// Buffers in the pool: the first argument, or 4.
inline uint32_t CapacityFrom(int argc, char** argv) {
  return argc > 1 ? static_cast<uint32_t>(std::strtoul(argv[1], nullptr, 10))
                  : 4;
}

// Listens on a free port, which the system picks, and prints it.
inline int Listen(int flags = 0) {
  std::signal(SIGPIPE, SIG_IGN);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
  if (bind(fd, generic, length) != 0 || listen(fd, 1024) != 0 ||
      getsockname(fd, generic, &length) != 0) {
    err(1, "listen");
  }
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  return fd;
}

// Takes bytes out of the request's ring, and puts their capitals into the
// response's. The session has both buffers.
inline void AnswerInCapitals(SessionBuffers& session) {
  const RingBuffer request = session.ring(Side::kRequest);
  const RingBuffer response = session.ring(Side::kResponse);
  const std::span<const std::byte> from = request.readable()[0];
  const std::span<std::byte> to = response.writable()[0];
  const size_t n = std::min(from.size(), to.size());
  for (size_t i = 0; i < n; ++i) {
    to[i] = std::byte(std::toupper(std::to_integer<int>(from[i])));
  }
  request.Consume(n);
  response.Commit(n);
}

}  // namespace tandem

#endif  // TANDEM_EXAMPLES_UPPER_H_
