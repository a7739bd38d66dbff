// The example of README.md: a thread for each connection, which takes both of
// its buffers when there is something to read. thread_server.cc holds fewer
// buffers for less time.

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <span>
#include <thread>

#include "tandem/examples/upper.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/session/blocking_wait.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"

namespace {

// Sends the response; false if the client has disconnected.
bool Send(int fd, tandem::SessionBuffers& session) {
  const tandem::RingBuffer response = session.ring(tandem::Side::kResponse);
  while (!response.empty()) {
    const std::span<const std::byte> bytes = response.readable()[0];
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n <= 0) return false;
    response.Consume(n);
  }
  return true;
}

// clang-format off: as README.md shows it
void Serve(tandem::SessionAllocator& allocator, int fd) {
  tandem::SessionBuffers session(allocator);  // one for each connection
  for (ssize_t n = 1; n > 0;) {
    pollfd readable = {.fd = fd, .events = POLLIN, .revents = 0};
    poll(&readable, 1, -1);  // a silent client holds no buffer
    const auto got = session.AllocateBuffers(tandem::BlockingWaker());
    if (got == tandem::Allocation::kOverloaded) break;  // too many wait already
    if (got == tandem::Allocation::kWaiting) {
      tandem::BlockUntilServed(session);  // both buffers come with the wake-up
    }
    const tandem::RingBuffer request = session.ring(tandem::Side::kRequest);
    const std::span<std::byte> room = request.writable()[0];
    n = read(fd, room.data(), room.size());
    if (n > 0) request.Commit(n);
    AnswerInCapitals(session);  // yours: fills the response's ring
    if (!Send(fd, session)) break;
    session.ReleaseBuffers();  // each buffer that holds no data goes back
  }
  close(fd);
}
// clang-format on

}  // namespace

int main(int argc, char** argv) {
  const uint32_t capacity = tandem::CapacityFrom(argc, argv);
  // clang-format off
  auto pool = tandem::BufferPool::Create({.buffer_size = 16 * 1024, .capacity = capacity}).value();
  auto allocator = tandem::SessionAllocator::Create(pool.get()).value();
  // clang-format on
  const int listener = tandem::Listen();
  for (;;) {
    const int fd = accept(listener, nullptr, nullptr);
    if (fd >= 0) std::thread(Serve, std::ref(*allocator), fd).detach();
  }
}
