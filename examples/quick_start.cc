// The example of docs/quick_start.md: copies its input to its output in
// capitals, by way of the two buffers of a session.

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdio>
#include <span>

#include "tandem/pool/buffer.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/session/blocking_wait.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"

namespace {

// Receives once, and sends the answer. False at the end of the input.
bool Turn(tandem::SessionBuffers& session, int input, int output) {
  switch (session.AllocateBuffers(tandem::BlockingWaker())) {
    case tandem::Allocation::kGranted:  // the session has both buffers
      break;
    case tandem::Allocation::kWaiting:  // they come with the wake-up
      tandem::BlockUntilServed(session);
      break;
    case tandem::Allocation::kOverloaded:  // too many sessions wait already
    case tandem::Allocation::kExhausted:   // only if the caller passes no waker
      return false;
  }
  const tandem::RingBuffer request = session.ring(tandem::Side::kRequest);
  const tandem::RingBuffer response = session.ring(tandem::Side::kResponse);

  // Receive: n bytes come into the request's ring.
  const std::span<std::byte> room = request.writable()[0];
  const ssize_t n = read(input, room.data(), room.size());
  if (n <= 0) return false;
  request.Commit(n);

  // Answer: take them out of one ring, and put capitals into the other.
  const std::span<const std::byte> from = request.readable()[0];
  const std::span<std::byte> to = response.writable()[0];
  std::ranges::transform(from, to.begin(), [](std::byte byte) {
    return std::byte(std::toupper(std::to_integer<int>(byte)));
  });
  response.Commit(from.size());
  request.Consume(from.size());

  // Send: what the output takes leaves the response's ring.
  while (!response.empty()) {
    const std::span<const std::byte> bytes = response.readable()[0];
    const ssize_t sent = write(output, bytes.data(), bytes.size());
    if (sent <= 0) return false;
    response.Consume(sent);
  }
  session.ReleaseBuffers();  // each buffer that holds no data goes back
  return true;
}

}  // namespace

int main() {
  auto pool = tandem::BufferPool::Create({.capacity = 4});
  if (!pool.ok()) {  // the status names the option, its value and the range
    std::fprintf(stderr, "%s\n", pool.status().ToString().c_str());
    return 1;
  }

  if (tandem::Buffer buffer = (*pool)->AcquireBuffer()) {  // false: exhausted
    std::ranges::fill(buffer.bytes(), std::byte{0});
  }  // released here

  auto allocator = tandem::SessionAllocator::Create(pool->get()).value();
  tandem::SessionBuffers session(*allocator);  // one for each connection
  while (Turn(session, STDIN_FILENO, STDOUT_FILENO)) {
  }
}
