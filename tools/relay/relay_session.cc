#include "tandem/tools/relay/relay_session.h"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <span>
#include <utility>

#include "absl/log/check.h"
#include "tandem/session/asio_wait.h"
#include "tandem/session/session_allocator.h"
#include "tandem/tools/relay/relay_loop.h"

namespace tandem {
namespace {

using asio::posix::descriptor_base;

// Buffers' worth that one direction moves in a visit, at most: others wait.
constexpr int kRounds = 4;

// How long a session under way sleeps before it asks again, when so many wait
// that it may not even do that: twice as long each time, up to the second.
constexpr std::chrono::milliseconds kRetryAfter(5);
constexpr std::chrono::milliseconds kRetryAtMost(80);

// How long a reset waits for what was sent before it to arrive, at most; and
// how often it looks.
constexpr std::chrono::seconds kLinger(2);
constexpr std::chrono::milliseconds kLingerLook(2);

// Whether the peer has yet to acknowledge something, and still may.
bool Unsent(int fd) {
  int bytes = 0;
  pollfd broken = {.fd = fd, .events = 0, .revents = 0};
  return ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 &&
         poll(&broken, 1, 0) == 0;
}

bool WouldBlock(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

}  // namespace

bool RelaySession::Peer::Attach() {
  asio::error_code error;
  descriptor.assign(fd, error);
  if (error) return false;
  unattached.Release();
  return true;
}

RelaySession::RelaySession(RelayLoop& loop, RelayEntries::iterator place,
                           OwnedFd client, OwnedFd backend)
    : loop_(loop),
      place_(place),
      buffers_(loop.allocator_),
      client_(loop.context_, std::move(client)),
      backend_(loop.context_, std::move(backend)),
      directions_{Direction{client_, backend_, Side::kRequest,
                            loop.counters_.bytes_to_backend},
                  Direction{backend_, client_, Side::kResponse,
                            loop.counters_.bytes_to_client}},
      event_(loop.context_) {}

asio::awaitable<void> RelaySession::Run() {
  // One co_await a statement: g++ 12.2 compiles some conditions that await
  // wrong (session/coroutine_frame.h).
  bool goes_on = co_await Connect();
  while (goes_on) {
    goes_on = co_await Movable();
    if (goes_on) goes_on = co_await Allocate();
    if (goes_on) Move();
  }
  co_await Close();
}

void RelaySession::Abort() {
  aborted_ = true;
  for (const Direction& direction : directions_) {
    if (!ring(direction.side).empty() || direction.from.readable) reset_ = true;
  }
  buffers_.CancelWait();
  event_.Complete();
}

asio::awaitable<bool> RelaySession::Connect() {
  SetNoDelay(client_.fd);
  SetNoDelay(backend_.fd);
  const SocketAddress& address = loop_.backend_;
  int error = 0;
  if (connect(backend_.fd, address.get(), address.size) != 0) error = errno;
  if (!client_.Attach() || !backend_.Attach()) aborted_ = reset_ = true;
  if (error == EINPROGRESS) {
    WatchWrite(backend_);
    while (!backend_.writable && !aborted_) {
      co_await event_.AsyncWait(asio::use_awaitable);
    }
    socklen_t size = sizeof(error);
    getsockopt(backend_.fd, SOL_SOCKET, SO_ERROR, &error, &size);
  }
  if (error == 0 && !aborted_) {
    client_.writable = backend_.writable = true;
    co_return true;
  }
  loop_.counters_.connect_failures.Add(1);
  reset_ = true;
  co_return false;
}

asio::awaitable<bool> RelaySession::Movable() {
  // Still more after a whole visit: everybody else comes first.
  if (CanMove()) {
    co_await asio::post(loop_.context_, asio::use_awaitable);
  }
  while (!IsOver() && !CanMove()) {
    Watch();
    co_await event_.AsyncWait(asio::use_awaitable);
  }
  co_return !IsOver();
}

asio::awaitable<bool> RelaySession::Allocate() {
  if (kept_ == 0) {
    const Direction& first = directions_[CanMove(directions_[0]) ? 0 : 1];
    // Not worth waiting for: who is refused it waits for both.
    (void)buffers_.AllocateReceiveBuffer(first.side);
  }
  waits_for_buffers_ = true;
  for (auto pause = kRetryAfter;; pause = std::min(2 * pause, kRetryAtMost)) {
    const Allocation got = co_await BuffersFor(buffers_, *loop_.waits_);
    if (aborted_) co_return false;
    if (got == Allocation::kGranted) break;
    CHECK(got == Allocation::kOverloaded);
    if (!begun_) {
      aborted_ = reset_ = refused_ = true;
      co_return false;
    }
    loop_.counters_.retries.Add(1);
    asio::steady_timer timer(loop_.context_, pause);
    co_await timer.async_wait(asio::use_awaitable);
  }
  waits_for_buffers_ = false;
  co_return true;
}

asio::awaitable<void> RelaySession::Close() {
  loop_.kept_ -= std::exchange(kept_, 0);
  for (const Side side : kSides) ring(side).Consume(ring(side).size());
  buffers_.ReleaseBuffers();
  if (reset_ && !aborted_) co_await Linger();
  for (Peer* const peer : {&client_, &backend_}) {
    if (reset_) ResetOnClose(peer->fd);
    asio::error_code ignored;
    peer->descriptor.close(ignored);
  }
  while (IsWatched()) co_await event_.AsyncWait(asio::use_awaitable);
  RelayCounters& counters = loop_.counters_;
  (refused_ ? counters.refused : counters.finished).Add(1);
}

asio::awaitable<void> RelaySession::Linger() {
  const auto until = std::chrono::steady_clock::now() + kLinger;
  asio::steady_timer timer(loop_.context_);
  while (!aborted_ && std::chrono::steady_clock::now() < until &&
         (Unsent(client_.fd) || Unsent(backend_.fd))) {
    timer.expires_after(kLingerLook);
    co_await timer.async_wait(asio::use_awaitable);
  }
}

bool RelaySession::CanMove(const Direction& direction) const {
  return !direction.over && direction.to.writable &&
         (!ring(direction.side).empty() || direction.from.readable);
}

bool RelaySession::CanMove() const {
  return CanMove(directions_[0]) || CanMove(directions_[1]);
}

bool RelaySession::IsOver() const {
  return aborted_ || (directions_[0].over && directions_[1].over);
}

void RelaySession::Move() {
  loop_.kept_ -= kept_;
  for (Direction& direction : directions_) Move(direction);
  kept_ = 0;
  for (const Side side : kSides) kept_ += ring(side).empty() ? 0 : 1;
  buffers_.ReleaseBuffers();
  loop_.kept_ += kept_;
  loop_.counters_.kept_buffers.Set(loop_.kept_);
  loop_.Touch(place_);
}

void RelaySession::Move(Direction& direction) {
  for (int round = 0; round < kRounds && CanMove(direction); ++round) {
    const RingBuffer bytes = ring(direction.side);
    if (bytes.empty() && !MayKeep(direction.side)) {
      Pass(direction);
    } else {
      if (!bytes.full()) Receive(direction, 0);
      Send(direction);
    }
    EndIfDone(direction);
  }
}

void RelaySession::Receive(Direction& direction, int flags) {
  if (!direction.from.readable || direction.received_end) return;
  const RingBuffer bytes = ring(direction.side);
  const std::span<std::byte> room = bytes.writable()[0];
  const ssize_t n = recv(direction.from.fd, room.data(), room.size(), flags);
  if (n > 0) {
    bytes.Commit(n);
    // If it was less than could have been, there was no more.
    direction.from.readable = static_cast<size_t>(n) == room.size();
  } else if (n == 0) {
    direction.received_end = true;
    direction.from.readable = false;
  } else if (WouldBlock(errno)) {
    direction.from.readable = false;
  } else {
    // The peer is gone: nothing comes from it, and nothing can go to it.
    Break();
    direction.received_end = true;
    direction.from.readable = false;
    Direction& opposite = directions_[direction.side == Side::kRequest ? 1 : 0];
    opposite.received_end = opposite.over = true;
    ring(opposite.side).Consume(ring(opposite.side).size());
  }
}

size_t RelaySession::Send(Direction& direction) {
  const RingBuffer bytes = ring(direction.side);
  if (bytes.empty()) return 0;
  const std::span<const std::byte> next = bytes.readable()[0];
  const ssize_t n =
      send(direction.to.fd, next.data(), next.size(), MSG_NOSIGNAL);
  if (n < 0 && !WouldBlock(errno)) {
    // The peer takes no more. What it has sent before may still come.
    Break();
    direction.received_end = direction.over = true;
    bytes.Consume(bytes.size());
    return 0;
  }
  const size_t sent = n < 0 ? 0 : static_cast<size_t>(n);
  direction.to.writable = sent == next.size();
  bytes.Consume(sent);
  direction.bytes.Add(sent);
  begun_ = true;
  return sent;
}

void RelaySession::Break() {
  if (!std::exchange(reset_, true)) loop_.counters_.resets.Add(1);
}

void RelaySession::Pass(Direction& direction) {
  const RingBuffer bytes = ring(direction.side);
  std::byte* const start = bytes.writable()[0].data();
  Receive(direction, MSG_PEEK);
  if (bytes.empty()) return;
  const size_t sent = Send(direction);
  if (!bytes.empty()) {
    direction.from.readable = true;
    bytes.Consume(bytes.size());
  }
  // MSG_TRUNC: removes without copying.
  for (size_t removed = 0; removed < sent;) {
    const ssize_t n = recv(direction.from.fd, start, sent - removed, MSG_TRUNC);
    if (n <= 0) {
      aborted_ = reset_ = true;
      return;
    }
    removed += static_cast<size_t>(n);
  }
}

void RelaySession::EndIfDone(Direction& direction) {
  if (direction.over || !direction.received_end ||
      !ring(direction.side).empty()) {
    return;
  }
  if (!reset_) shutdown(direction.to.fd, SHUT_WR);
  direction.over = true;
}

bool RelaySession::MayKeep(Side side) const {
  const Side other = side == Side::kRequest ? Side::kResponse : Side::kRequest;
  const size_t others = ring(other).empty() ? 0 : 1;
  return loop_.kept_ + others < loop_.limits_.quota;
}

void RelaySession::Watch() {
  for (const Direction& direction : directions_) {
    if (direction.over) continue;
    if (!direction.from.readable && !direction.received_end) {
      WatchRead(direction.from);
    }
    if (!direction.to.writable) WatchWrite(direction.to);
  }
}

void RelaySession::WatchRead(Peer& peer) {
  if (std::exchange(peer.watches_read, true)) return;
  peer.descriptor.async_wait(descriptor_base::wait_read,
                             [this, &peer](asio::error_code error) {
                               peer.watches_read = false;
                               peer.readable = !error;
                               event_.Complete();
                             });
}

void RelaySession::WatchWrite(Peer& peer) {
  if (std::exchange(peer.watches_write, true)) return;
  peer.descriptor.async_wait(descriptor_base::wait_write,
                             [this, &peer](asio::error_code error) {
                               peer.watches_write = false;
                               peer.writable = !error;
                               event_.Complete();
                             });
}

bool RelaySession::IsWatched() const {
  return client_.watches_read || client_.watches_write ||
         backend_.watches_read || backend_.watches_write;
}

}  // namespace tandem
