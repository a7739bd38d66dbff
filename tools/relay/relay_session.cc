#include "tandem/tools/relay/relay_session.h"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "absl/log/check.h"
#include "tandem/session/session_allocator.h"

namespace tandem {
namespace {

using std::chrono::milliseconds;

// The bytes of one visit in a direction, in buffers: other sessions wait.
constexpr uint64_t kBuffersOfAVisit = 8;

// How long a running session sleeps before it asks again, when so many sessions
// wait that it may not join them. Doubles each time, up to the second value.
constexpr milliseconds kRetryAfter(5);
constexpr milliseconds kRetryAtMost(80);

// The most time that a reset waits for earlier bytes to arrive, and how often
// it checks.
constexpr std::chrono::seconds kLinger(2);
constexpr milliseconds kLingerLook(2);

// True if sent bytes are unacknowledged and the connection is alive.
bool Unsent(const OwnedFd& fd) {
  int bytes = 0;
  pollfd broken = {.fd = fd.get(), .events = 0, .revents = 0};
  return ioctl(fd.get(), SIOCOUTQ, &bytes) == 0 && bytes > 0 &&
         poll(&broken, 1, 0) == 0;
}

bool WouldBlock(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

}  // namespace

RelaySession::RelaySession(RelayContext& context, OwnedFd&& client,
                           OwnedFd&& backend)
    : context_(context),
      buffers_(context.allocator),
      client_{*this, std::move(client)},
      backend_{*this, std::move(backend)},
      directions_{Direction{client_, backend_, Side::kRequest,
                            context.counters.bytes_to_backend,
                            SpareBuffers(context.allocator)},
                  Direction{backend_, client_, Side::kResponse,
                            context.counters.bytes_to_client,
                            SpareBuffers(context.allocator)}},
      active_since_(context.now),
      pause_(kRetryAfter) {
  on_ready = [](EventNotifier::Node& node) {
    static_cast<RelaySession&>(node).OnGranted();
  };
  on_expired = [](DeadlineList::Node& node) {
    static_cast<RelaySession&>(node).OnDeadline();
  };
}

void RelaySession::Start(Place place) {
  place_ = place;
  SetNoDelay(client_.fd.get());
  if (Watch(client_)) {
    Connect();
  } else {
    Abort();
  }
}

bool RelaySession::Watch(Peer& peer) {
  epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                       .data = {.ptr = &peer}};
  return epoll_ctl(context_.epoll.get(), EPOLL_CTL_ADD, peer.fd.get(),
                   &event) == 0;
}

void RelaySession::Note(void* watched, uint32_t events) {
  Peer& peer = *static_cast<Peer*>(watched);
  constexpr uint32_t kBroken = EPOLLHUP | EPOLLERR;
  if ((events & (EPOLLIN | EPOLLRDHUP | kBroken)) != 0) peer.readable = true;
  if ((events & (EPOLLRDHUP | kBroken)) != 0) peer.ended = true;
  if ((events & (EPOLLOUT | kBroken)) != 0) peer.writable = true;
  peer.session.context_.ready.Add(peer.session);
}

void RelaySession::Turn() {
  switch (phase_) {
    case Phase::kConnecting:
      return FinishConnect();
    case Phase::kMoving:
      return Visit();
    case Phase::kLingering:
      return Linger();
    case Phase::kWaiting:
    case Phase::kPausing:
    case Phase::kOver:
      return;
  }
}

void RelaySession::OnGranted() {
  const WaitStatus status = buffers_.FinishWait();
  CHECK(status == WaitStatus::kGranted);
  phase_ = Phase::kMoving;
  // If the session was aborted, the abort came too late to end the wait.
  MustEnd() ? Close() : Serve();
}

void RelaySession::OnDeadline() {
  switch (phase_) {
    case Phase::kConnecting:
      return ConnectNext();
    case Phase::kPausing:
      phase_ = Phase::kMoving;
      return Visit();
    case Phase::kLingering:
      return Linger();
    case Phase::kMoving:
    case Phase::kWaiting:
    case Phase::kOver:
      return;
  }
}

void RelaySession::Abort() {
  if (is_over() || end_ >= End::kNow) return;
  bool loses = end_ == End::kReset || phase_ == Phase::kConnecting;
  for (const Direction& direction : directions_) {
    loses |= !IsEmpty(direction) || direction.from.readable;
  }
  if (phase_ == Phase::kConnecting) context_.counters.connect_failures.Add(1);
  end_ = loses ? End::kResetNow : End::kNow;
  // A granted wait ends when its wake-up comes.
  if (phase_ != Phase::kWaiting || buffers_.CancelWait()) Close();
}

void RelaySession::Touch() {
  active_since_ = context_.now;
  context_.sessions.splice(context_.sessions.end(), context_.sessions, place_);
}

void RelaySession::Connect() {
  for (; address_ < context_.backends.size(); ++address_) {
    const SocketAddress& to = context_.backends[address_];
    if (!backend_.fd.valid()) backend_.fd = OpenSocket(to.family());
    SetNoDelay(backend_.fd.get());
    if ((connect(backend_.fd.get(), to.get(), to.size) == 0 ||
         errno == EINPROGRESS) &&
        Watch(backend_)) {
      context_.deadlines.Add(*this,
                             context_.now + context_.limits.connect_timeout);
      return;
    }
    backend_.fd = OwnedFd();
  }
  Abort();
}

void RelaySession::FinishConnect() {
  if (!backend_.writable) return;
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(backend_.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return ConnectNext();
  context_.deadlines.Remove(*this);
  phase_ = Phase::kMoving;
  client_.writable = true;
  Visit();
}

void RelaySession::ConnectNext() {
  backend_.fd = OwnedFd();
  backend_.readable = backend_.writable = backend_.ended = false;
  ++address_;
  Connect();
}

void RelaySession::Visit() {
  if (MustEnd()) return Close();
  if (CanMove() && Allocate()) Serve();
}

bool RelaySession::Allocate() {
  if (kept_ == 0) {
    const Direction& first = directions_[CanMove(directions_[0]) ? 0 : 1];
    // Do not wait here; on refusal wait for the pair below.
    (void)buffers_.AllocateReceiveBuffer(first.side);
  }
  switch (buffers_.AllocateBuffers(context_.notifier->WakerFor(*this))) {
    case Allocation::kGranted:
      return true;
    case Allocation::kWaiting:
      phase_ = Phase::kWaiting;
      return false;
    case Allocation::kExhausted:
    case Allocation::kOverloaded:
      break;
  }
  if (!begun_) {
    end_ = End::kRefused;
    Close();
    return false;
  }
  context_.counters.retries.Add(1);
  phase_ = Phase::kPausing;
  context_.deadlines.Add(*this, context_.now + pause_);
  pause_ = std::min(2 * pause_, kRetryAtMost);
  return false;
}

void RelaySession::Serve() {
  pause_ = kRetryAfter;
  context_.kept -= kept_;
  for (Direction& direction : directions_) Move(direction);
  kept_ = static_cast<uint8_t>(Held(directions_[0]) + Held(directions_[1]));
  buffers_.ReleaseBuffers();
  context_.kept += kept_;
  context_.counters.kept_buffers.Set(context_.kept);
  Touch();
  if (MustEnd()) {
    Close();
  } else if (CanMove()) {
    // More bytes remain after a whole visit: all other sessions go first.
    context_.ready.Add(*this);
  }
}

void RelaySession::Close() {
  context_.deadlines.Remove(*this);
  context_.kept -= std::exchange(kept_, 0);
  context_.counters.kept_buffers.Set(context_.kept);
  for (Direction& direction : directions_) Discard(direction);
  buffers_.ReleaseBuffers();
  if (end_ != End::kReset) return Finish();
  phase_ = Phase::kLingering;
  Touch();
  Linger();
}

void RelaySession::Linger() {
  if (context_.now < active_since_ + kLinger &&
      (Unsent(client_.fd) || Unsent(backend_.fd))) {
    context_.deadlines.Add(*this, context_.now + kLingerLook);
  } else {
    Finish();
  }
}

void RelaySession::Finish() {
  context_.deadlines.Remove(*this);
  const bool in_order = end_ == End::kInOrder || end_ == End::kNow;
  for (Peer* const peer : {&client_, &backend_}) {
    if (!in_order) ResetOnClose(peer->fd.get());
    peer->fd = OwnedFd();
  }
  RelayCounters& counters = context_.counters;
  (end_ == End::kRefused ? counters.refused : counters.finished).Add(1);
  phase_ = Phase::kOver;
  context_.ready.Add(*this);
}

bool RelaySession::IsEmpty(const Direction& direction) const {
  return ring(direction.side).empty() && direction.spares.empty();
}

uint32_t RelaySession::Held(const Direction& direction) const {
  return (ring(direction.side).empty() ? 0 : 1) + direction.spares.kept();
}

void RelaySession::Discard(Direction& direction) {
  ring(direction.side).Consume(ring(direction.side).size());
  direction.spares.Clear();
}

bool RelaySession::CanMove(const Direction& direction) const {
  return !direction.over && direction.to.writable &&
         (!IsEmpty(direction) || direction.from.readable);
}

bool RelaySession::CanMove() const {
  return CanMove(directions_[0]) || CanMove(directions_[1]);
}

bool RelaySession::MustEnd() const {
  return end_ >= End::kNow || (directions_[0].over && directions_[1].over);
}

void RelaySession::Move(Direction& direction) {
  const uint64_t before = direction.moved;
  const uint64_t most =
      kBuffersOfAVisit * context_.allocator.pool().buffer_size();
  do {
    if (!CanMove(direction)) break;
    if (IsEmpty(direction) && MayKeep(direction) == 0) {
      Pass(direction);
    } else {
      Receive(direction);
      Send(direction);
    }
    EndIfDone(direction);
  } while (direction.moved - before < most);
  direction.spares.Release();
}

void RelaySession::Receive(Direction& direction) {
  // Bytes in the spares come after those in the ring: send the ring first.
  if (!direction.spares.empty()) return;
  RingBuffer bytes = ring(direction.side);
  std::array<iovec, 1 + SpareBuffers::kMost> room;
  size_t parts = 0;
  size_t size = 0;
  if (const std::span<std::byte> free = bytes.writable()[0]; !free.empty()) {
    room[parts++] = {.iov_base = free.data(), .iov_len = free.size()};
    size = free.size();
  }
  // The ring is full, so continue in the spares.
  const bool fills = size == bytes.space();
  if (fills) {
    parts += static_cast<size_t>(direction.spares.WritableIovecs(
        std::span(room).subspan(parts).first<SpareBuffers::kMost>()));
  }
  if (parts == 0) return;
  const size_t n = Receive(direction, std::span(room).first(parts), 0);
  bytes.Commit(std::min(n, size));
  if (n > size) direction.spares.Commit(n - size);
  if (!bytes.full() || !direction.from.readable ||
      direction.spares.count() != 0) {
    return;
  }
  TakeSpares(direction);
  parts = static_cast<size_t>(direction.spares.WritableIovecs(
      std::span(room).first<SpareBuffers::kMost>()));
  if (parts != 0) {
    direction.spares.Commit(
        Receive(direction, std::span(room).first(parts), 0));
  }
}

void RelaySession::TakeSpares(Direction& direction) {
  // The spares and the ring may hold data at the end of the visit.
  if (MayKeep(direction) < 1 + SpareBuffers::kMost) return;
  (void)direction.spares.Take(SpareBuffers::kMost);
}

size_t RelaySession::Receive(Direction& direction, std::span<iovec> room,
                             int flags) {
  Peer& from = direction.from;
  if (!from.readable || direction.received_end) return 0;
  size_t size = 0;
  for (const iovec& part : room) size += part.iov_len;
  msghdr message = {};
  message.msg_iov = room.data();
  message.msg_iovlen = room.size();
  const ssize_t n = room.size() == 1
                        ? recv(from.fd.get(), room[0].iov_base, size, flags)
                        : recvmsg(from.fd.get(), &message, flags);
  if (n > 0) {
    // A short receive means that no more bytes were there, but perhaps an end.
    from.readable = static_cast<size_t>(n) == size || from.ended;
    return static_cast<size_t>(n);
  }
  from.readable = false;
  if (n == 0) {
    direction.received_end = true;
  } else if (!WouldBlock(errno)) {
    // The peer is gone: no byte comes from it, and none can go to it.
    Break();
    direction.received_end = true;
    Direction& opposite = Opposite(direction);
    opposite.received_end = opposite.over = true;
    Discard(opposite);
  }
  return 0;
}

size_t RelaySession::Send(Direction& direction) {
  if (IsEmpty(direction)) return 0;
  RingBuffer bytes = ring(direction.side);
  std::array<iovec, 2 + SpareBuffers::kMost> content;
  auto parts =
      static_cast<size_t>(bytes.ReadableIovecs(std::span(content).first<2>()));
  parts += static_cast<size_t>(direction.spares.ReadableIovecs(
      std::span(content).subspan(parts).first<SpareBuffers::kMost>()));
  const size_t size = bytes.size() + direction.spares.size();
  msghdr message = {};
  message.msg_iov = content.data();
  message.msg_iovlen = parts;
  const int fd = direction.to.fd.get();
  const ssize_t n = parts == 1
                        ? send(fd, content[0].iov_base, size, MSG_NOSIGNAL)
                        : sendmsg(fd, &message, MSG_NOSIGNAL);
  if (n < 0 && !WouldBlock(errno)) {
    // The peer takes no more bytes. Bytes that it sent before may still come.
    Break();
    direction.received_end = direction.over = true;
    Discard(direction);
    return 0;
  }
  const size_t sent = n < 0 ? 0 : static_cast<size_t>(n);
  direction.to.writable = sent == size;
  const size_t of_ring = std::min(sent, bytes.size());
  bytes.Consume(of_ring);
  direction.spares.Consume(sent - of_ring);
  direction.moved.Add(sent);
  begun_ = true;
  return sent;
}

void RelaySession::Break() {
  if (end_ != End::kInOrder) return;
  end_ = End::kReset;
  context_.counters.resets.Add(1);
}

void RelaySession::Pass(Direction& direction) {
  RingBuffer bytes = ring(direction.side);
  const std::span<std::byte> free = bytes.writable()[0];
  iovec room = {.iov_base = free.data(), .iov_len = free.size()};
  bytes.Commit(Receive(direction, {&room, 1}, MSG_PEEK));
  if (bytes.empty()) return;
  const size_t sent = Send(direction);
  if (!bytes.empty()) {
    direction.from.readable = true;
    bytes.Consume(bytes.size());
  }
  // MSG_TRUNC: removes without copying.
  for (size_t removed = 0; removed < sent;) {
    const ssize_t n =
        recv(direction.from.fd.get(), free.data(), sent - removed, MSG_TRUNC);
    if (n <= 0) {
      end_ = End::kResetNow;
      return;
    }
    removed += static_cast<size_t>(n);
  }
}

void RelaySession::EndIfDone(Direction& direction) {
  if (direction.over || !direction.received_end || !IsEmpty(direction)) return;
  if (end_ == End::kInOrder) shutdown(direction.to.fd.get(), SHUT_WR);
  direction.over = true;
}

size_t RelaySession::MayKeep(const Direction& direction) const {
  const Direction& other =
      directions_[direction.side == Side::kRequest ? 1 : 0];
  const size_t others = context_.kept + Held(other);
  return context_.limits.quota - std::min(others, context_.limits.quota);
}

}  // namespace tandem
