// A server with a blocking thread for each connection. It serves any number of
// connections with the number of buffers in its argument. A connection whose
// client is silent holds no buffer; one whose client does not read holds one.

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <functional>
#include <span>
#include <thread>

#include "tandem/examples/upper.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/session/blocking_wait.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"

namespace tandem {
namespace {

// Sleeps until the session has its buffers. False if too many sessions wait.
bool HasBuffers(SessionBuffers& session, Allocation got) {
  if (got == Allocation::kWaiting) {
    return BlockUntilServed(session) == WaitStatus::kGranted;
  }
  return got == Allocation::kGranted;
}

// Receives, processes and sends once. False if the connection is finished.
bool Turn(SessionBuffers& session, int fd) {
  pollfd readable = {.fd = fd, .events = POLLIN, .revents = 0};
  poll(&readable, 1, -1);
  if (!HasBuffers(session, session.AllocateReceiveBuffer(Side::kRequest,
                                                         BlockingWaker()))) {
    return false;
  }
  const RingBuffer request = session.ring(Side::kRequest);
  const std::span<std::byte> room = request.writable()[0];
  const ssize_t received = recv(fd, room.data(), room.size(), 0);
  if (received <= 0) return false;
  request.Commit(received);

  if (!HasBuffers(session, session.AllocateBuffers(BlockingWaker()))) {
    return false;
  }
  AnswerInCapitals(session);
  session.ReleaseBuffers();  // the request's buffer

  const RingBuffer response = session.ring(Side::kResponse);
  while (!response.empty()) {
    const std::span<const std::byte> bytes = response.readable()[0];
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    response.Consume(sent);
  }
  session.ReleaseBuffers();
  return true;
}

void Serve(SessionAllocator& allocator, int fd) {
  SessionBuffers session(allocator);
  while (Turn(session, fd)) {
  }
  close(fd);
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  auto pool =
      tandem::BufferPool::Create({.capacity = tandem::CapacityFrom(argc, argv)})
          .value();
  auto allocator = tandem::SessionAllocator::Create(pool.get()).value();
  const int listener = tandem::Listen();
  for (;;) {
    const int fd = accept(listener, nullptr, nullptr);
    if (fd < 0) continue;
    std::thread(tandem::Serve, std::ref(*allocator), fd).detach();
  }
}
