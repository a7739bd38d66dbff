// A TCP relay with io_uring(7): a ring for each thread, and buffers only while
// there is something to receive or to send. Sessions wait for them in order.
//
//   uring_relay --listen=0.0.0.0:8080 --backend=127.0.0.1:80 --buffers=64
//
// A peer that takes no bytes pins a buffer that holds its bytes. //tools:relay
// bounds that; this example does not.

#include <liburing.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/str_format.h"
#include "tandem/examples/uring.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"
#include "tandem/session/uring_buffers.h"
#include "tandem/session/uring_wait.h"
#include "tandem/tools/relay/socket.h"

ABSL_FLAG(std::string, listen, "127.0.0.1:0", "HOST:PORT to accept at");
ABSL_FLAG(std::string, backend, "", "HOST:PORT to connect to");
ABSL_FLAG(uint32_t, threads, 2, "each with a ring");
ABSL_FLAG(uint32_t, buffers, 64, "for all sessions together");

namespace tandem {
namespace {

enum Operation : unsigned { kConnect, kPoll, kReceive, kSend, kOperations };

// The bytes on their way from one peer to the other.
struct Direction {
  bool CanReceive() const { return readable && !lent && !over; }

  const Side side;
  const int from, to;
  LentBuffer lent{};      // to the kernel, for a receive or a send
  bool readable = false;  // perhaps
  bool over = false;      // the end has been passed on
};

// A client's connection and the backend's. Owns itself.
class Session final : public Ring::Handler, private Ring::Task {
 public:
  Session(Ring& ring, SessionAllocator& allocator, const SocketAddress& backend,
          int client)
      : ring_(ring),
        pool_(allocator.pool()),
        client_(client),
        backend_(socket(backend.family(), SOCK_STREAM, 0)),
        buffers_(allocator),
        wait_(ring.loop(), buffers_, OnBuffers, this) {
    SetNoDelay(client_.get());
    SetNoDelay(backend_.get());
    io_uring_prep_connect(Submit(directions_[0], kConnect), backend_.get(),
                          backend.get(), backend.size);
  }

  void OnCompletion(unsigned request, const io_uring_cqe& cqe) override {
    ring_.Later(*this);
    Direction& direction = directions_[request / kOperations];
    const auto operation = Operation(request % kOperations);
    const bool more = (cqe.flags & IORING_CQE_F_MORE) != 0;
    if (!more) --requests_;
    if (operation == kReceive || operation == kSend) direction.lent.Return();
    if (operation == kReceive) {
      buffers_.SetContent(direction.side, 0, std::max(cqe.res, 0));
      direction.readable = (cqe.flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
    }
    if (closing_) return;
    const RingBuffer bytes = buffers_.ring(direction.side);
    if (operation == kConnect && cqe.res == 0) {
      for (const Direction& each : directions_) Poll(each);
    } else if (operation == kPoll && cqe.res > 0 && (cqe.res & POLLERR) == 0) {
      direction.readable = true;
      if (!more) Poll(direction);
    } else if (operation == kReceive && cqe.res > 0) {
      const auto data = bytes.readable()[0];
      // Completes when the peer has taken all bytes.
      io_uring_prep_send(Lend(direction, kSend), direction.to, data.data(),
                         data.size(), MSG_NOSIGNAL | MSG_WAITALL);
    } else if (operation == kReceive && cqe.res == 0) {
      direction.over = true;
      shutdown(direction.to, SHUT_WR);
    } else if (operation == kSend &&
               cqe.res == static_cast<int>(bytes.size())) {
      bytes.Consume(bytes.size());
    } else if (operation != kReceive || cqe.res != -EAGAIN) {
      Close(/*reset=*/true);
    }
  }

 private:
  static void OnBuffers(void* session, Allocation) {
    auto& self = *static_cast<Session*>(session);
    if (!self.closing_) self.Receive();
  }

  void GoOn() override {
    buffers_.ReleaseBuffers();  // those that hold no data, nor are to receive
    if (!closing_ && directions_[0].over && directions_[1].over) Close(false);
    if (!closing_) Receive();
    if (closing_ && requests_ == 0) delete this;
  }

  void Receive() {
    if (!directions_[0].CanReceive() && !directions_[1].CanReceive()) return;
    const Allocation got = wait_.AllocateBuffers();
    if (got == Allocation::kOverloaded) Close(/*reset=*/true);
    if (got != Allocation::kGranted) return;
    for (Direction& direction : directions_) {
      if (!direction.CanReceive()) continue;
      const RingBuffer bytes = buffers_.ring(direction.side);
      const auto room = bytes.writable()[0];
      bytes.Commit(room.size());  // Meanwhile it is no empty buffer.
      io_uring_prep_recv(Lend(direction, kReceive), direction.from, room.data(),
                         room.size(), MSG_DONTWAIT);
    }
  }

  // Ends all requests, which keep the connections open, and then the session.
  void Close(bool reset) {
    closing_ = true;
    for (const int fd : {client_.get(), backend_.get()}) {
      if (reset) ResetOnClose(fd);
      if (requests_ == 0) continue;
      io_uring_prep_cancel_fd(ring_.NewRequest(nullptr, 0), fd,
                              IORING_ASYNC_CANCEL_ALL);
    }
  }

  io_uring_sqe* Submit(const Direction& direction, Operation operation) {
    ++requests_;
    return ring_.NewRequest(
        this, static_cast<unsigned>(direction.side) * kOperations + operation);
  }
  // The same for a request that uses the direction's buffer.
  io_uring_sqe* Lend(Direction& direction, Operation operation) {
    direction.lent = LentBuffer(pool_, buffers_.buffer(direction.side));
    return Submit(direction, operation);
  }
  void Poll(const Direction& direction) {
    io_uring_prep_poll_multishot(Submit(direction, kPoll), direction.from,
                                 POLLIN | POLLRDHUP);
  }

  Ring& ring_;
  BufferPool& pool_;
  const OwnedFd client_, backend_;
  SessionBuffers buffers_;
  UringWait wait_;
  std::array<Direction, 2> directions_{
      Direction{Side::kRequest, client_.get(), backend_.get()},
      Direction{Side::kResponse, backend_.get(), client_.get()}};
  int requests_ = 0;  // that will complete
  bool closing_ = false;
};

void Serve() {
  auto pool =
      BufferPool::Create({.capacity = absl::GetFlag(FLAGS_buffers)}).value();
  auto allocator =
      SessionAllocator::Create(pool.get(), {.max_waiters = 65536}).value();
  const auto to =
      ResolveAddress("backend", absl::GetFlag(FLAGS_backend)).value();
  const auto at = ResolveAddress("listen", absl::GetFlag(FLAGS_listen)).value();
  auto listeners = Listen(at, static_cast<int>(absl::GetFlag(FLAGS_threads)));
  absl::PrintF("relay: %s to %s\n", listeners.value().address.ToString(),
               to.ToString());
  std::fflush(stdout);
  std::vector<std::jthread> threads;
  for (const OwnedFd& listener : listeners->sockets) {
    threads.emplace_back([&] {
      Ring ring;
      ring.Serve(listener.get(), [&](int client) {
        new Session(ring, *allocator, to, client);
      });
    });
  }
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  tandem::Serve();
}
