// A server with one thread and epoll(7). It serves any number of connections
// with the number of buffers in its argument. The notifier's descriptor tells
// the loop about waits for buffers.

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <span>

#include "tandem/examples/upper.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/session/event_notifier.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"

namespace tandem {
namespace {

class Connection : private EventNotifier::Node {
 public:
  Connection(int epoll, int fd, SessionAllocator& allocator,
             EventNotifier& notifier)
      : epoll_(epoll), fd_(fd), notifier_(notifier), session_(allocator) {
    on_ready = [](Node& node) { static_cast<Connection&>(node).GoOn(); };
    Watch(EPOLLIN, EPOLL_CTL_ADD);
  }
  ~Connection() { close(fd_); }

  // Sends, processes and receives as far as possible. If buffers or the socket
  // are not ready, the loop calls this again when they are. At the end of the
  // connection, this object is destroyed.
  void GoOn() {
    Allocation got = Allocation::kGranted;
    ssize_t n = 1;
    while (n > 0 && got == Allocation::kGranted) {
      const RingBuffer request = session_.ring(Side::kRequest);
      const RingBuffer response = session_.ring(Side::kResponse);
      if (!response.empty()) {
        const std::span<const std::byte> bytes = response.readable()[0];
        n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n > 0) response.Consume(n);
      } else if (!request.empty()) {
        got = session_.AllocateBuffers(notifier_.WakerFor(*this));
        if (got == Allocation::kGranted) AnswerInCapitals(session_);
      } else {
        session_.ReleaseBuffers();
        got = session_.AllocateReceiveBuffer(Side::kRequest,
                                             notifier_.WakerFor(*this));
        if (got == Allocation::kGranted) n = Receive();
      }
    }
    if (got == Allocation::kWaiting) return;
    session_.ReleaseBuffers();  // No empty buffer is held during a socket wait.
    if (got == Allocation::kGranted && n < 0 && errno == EAGAIN) {
      Watch(session_.ring(Side::kResponse).empty() ? EPOLLIN : EPOLLOUT,
            EPOLL_CTL_MOD);
      return;
    }
    delete this;
  }

 private:
  ssize_t Receive() {
    const RingBuffer request = session_.ring(Side::kRequest);
    const std::span<std::byte> room = request.writable()[0];
    const ssize_t n = recv(fd_, room.data(), room.size(), 0);
    if (n > 0) request.Commit(n);
    return n;
  }

  void Watch(uint32_t events, int operation) {
    epoll_event event = {.events = events | EPOLLONESHOT,
                         .data = {.ptr = this}};
    epoll_ctl(epoll_, operation, fd_, &event);
  }

  const int epoll_;
  const int fd_;
  EventNotifier& notifier_;
  SessionBuffers session_;
};

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  auto pool =
      tandem::BufferPool::Create({.capacity = tandem::CapacityFrom(argc, argv)})
          .value();
  auto allocator = tandem::SessionAllocator::Create(pool.get()).value();
  auto notifier = tandem::EventNotifier::Create().value();
  int listener = tandem::Listen(SOCK_NONBLOCK);
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event = {.events = EPOLLIN, .data = {.ptr = &listener}};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  event.data.ptr = notifier.get();
  epoll_ctl(epoll, EPOLL_CTL_ADD, notifier->fd(), &event);
  for (;;) {
    if (epoll_wait(epoll, &event, 1, -1) != 1) continue;
    if (event.data.ptr == &listener) {
      const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
      if (fd >= 0) new tandem::Connection(epoll, fd, *allocator, *notifier);
    } else if (event.data.ptr == notifier.get()) {
      notifier->Dispatch();
    } else {
      static_cast<tandem::Connection*>(event.data.ptr)->GoOn();
    }
  }
}
