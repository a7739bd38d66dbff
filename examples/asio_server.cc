// A server with one thread and Asio, and a coroutine for each connection. It
// serves any number of connections with the number of buffers in its argument.

#include <asio.hpp>
#include <cstddef>
#include <span>
#include <utility>

#include "tandem/examples/upper.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/session/asio_wait.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"

namespace tandem {
namespace {

using asio::use_awaitable;
using asio::ip::tcp;

// Ends with an Asio exception when the client has disconnected.
asio::awaitable<void> Serve(tcp::socket client, SessionAllocator& allocator,
                            AsioLoop& loop) {
  SessionBuffers session(allocator);
  for (;;) {
    // The session holds no buffer while the client is silent.
    co_await client.async_wait(tcp::socket::wait_read, use_awaitable);
    if (co_await ReceiveBufferFor(session, Side::kRequest, loop) !=
        Allocation::kGranted) {
      co_return;
    }
    const RingBuffer request = session.ring(Side::kRequest);
    const std::span<std::byte> room = request.writable()[0];
    request.Commit(co_await client.async_read_some(
        asio::buffer(room.data(), room.size()), use_awaitable));

    if (co_await BuffersFor(session, loop) != Allocation::kGranted) co_return;
    AnswerInCapitals(session);
    session.ReleaseBuffers();  // the request's buffer

    const RingBuffer response = session.ring(Side::kResponse);
    while (!response.empty()) {
      const std::span<const std::byte> bytes = response.readable()[0];
      response.Consume(co_await client.async_write_some(
          asio::buffer(bytes.data(), bytes.size()), use_awaitable));
    }
    session.ReleaseBuffers();
  }
}

asio::awaitable<void> Accept(tcp::acceptor acceptor,
                             SessionAllocator& allocator, AsioLoop& loop) {
  for (;;) {
    tcp::socket client = co_await acceptor.async_accept(use_awaitable);
    asio::co_spawn(acceptor.get_executor(),
                   Serve(std::move(client), allocator, loop), asio::detached);
  }
}

}  // namespace
}  // namespace tandem

// NOLINTNEXTLINE(bugprone-exception-escape): Asio reports failures by
// exceptions.
int main(int argc, char** argv) {
  auto pool =
      tandem::BufferPool::Create({.capacity = tandem::CapacityFrom(argc, argv)})
          .value();
  auto allocator = tandem::SessionAllocator::Create(pool.get()).value();
  asio::io_context context;
  auto loop = tandem::AsioLoop::Create(context).value();
  tandem::tcp::acceptor acceptor(context, tandem::tcp::v4(), tandem::Listen());
  asio::co_spawn(context,
                 tandem::Accept(std::move(acceptor), *allocator, *loop),
                 asio::detached);
  context.run();
}
