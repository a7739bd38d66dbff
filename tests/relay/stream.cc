#include "tandem/tests/relay/stream.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tandem {
namespace {

constexpr size_t kChunk = 64 * 1024;
// The bytes that a slow end moves in a tick.
constexpr size_t kSlowChunk = 3000;

uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

bool WouldBlock() { return errno == EAGAIN || errno == EWOULDBLOCK; }

}  // namespace

void FillPattern(uint64_t seed, uint64_t at, std::span<std::byte> out) {
  while (!out.empty()) {
    const uint64_t word = Mix(seed + at / sizeof(word));
    const size_t skip = at % sizeof(word);
    const size_t n = std::min(sizeof(word) - skip, out.size());
    std::memcpy(out.data(), reinterpret_cast<const char*>(&word) + skip, n);
    at += n;
    out = out.subspan(n);
  }
}

Stream::Stream(OwnedFd fd, const Script& script)
    : fd_(std::move(fd)),
      client_(true),
      script_(script),
      script_read_(sizeof(script)) {}

Stream::Stream(OwnedFd fd)
    : fd_(std::move(fd)), client_(false), script_sent_(sizeof(Script)) {}

bool Stream::slow() const {
  return told() && (client_ ? script_.slow_client : script_.slow_backend) != 0;
}

Stream::State Stream::Step() {
  if (slow()) return state_;
  return Move(kChunk);
}

Stream::State Stream::Tick() {
  if (!slow()) return state_;
  return Move(kSlowChunk);
}

Stream::State Stream::Move(size_t most) {
  while (state_ == State::kGoing) {
    bool moved = false;
    if (!told()) moved = ReceiveScript();
    if (told() && state_ == State::kGoing) {
      if (SendScript()) moved = true;
      if (Receive(most)) moved = true;
      if (state_ == State::kGoing && Send(most)) moved = true;
      EndHalf();
    }
    if (state_ != State::kGoing || !moved || slow()) break;
  }
  return state_;
}

Stream::State Stream::Fail(std::string why) {
  error_ = absl::StrCat(client_ ? "client" : "backend", ", seed ", script_.seed,
                        ", sent ", sent_, " of ", to_send(), ", received ",
                        received_, " of ", to_receive(), ": ", why);
  return state_ = State::kFailed;
}

Stream::State Stream::Broken(const char* call) {
  if (told() && script_.dies()) return state_ = State::kDone;
  return Fail(absl::StrCat(call, ": ", std::strerror(errno)));
}

bool Stream::ReceiveScript() {
  auto* const to = reinterpret_cast<char*>(&script_) + script_read_;
  const ssize_t n = recv(fd(), to, sizeof(script_) - script_read_, 0);
  if (n > 0) {
    script_read_ += static_cast<size_t>(n);
    if (told() && script_.magic != Script().magic) Fail("no script");
    return true;
  }
  // A client that died before it could send its script, or never did.
  if (n == 0 || !WouldBlock()) state_ = State::kDone;
  return false;
}

bool Stream::SendScript() {
  if (script_sent_ == sizeof(script_)) return false;
  const ssize_t n =
      send(fd(), reinterpret_cast<const char*>(&script_) + script_sent_,
           sizeof(script_) - script_sent_, MSG_NOSIGNAL);
  if (n < 0) {
    if (!WouldBlock()) Broken("send");
    return false;
  }
  script_sent_ += static_cast<size_t>(n);
  return true;
}

bool Stream::Receive(size_t most) {
  if (received_end_) return false;
  std::array<std::byte, kChunk> bytes;
  const ssize_t n = recv(fd(), bytes.data(), most, 0);
  if (n < 0) {
    if (!WouldBlock()) Broken("recv");
    return false;
  }
  if (n == 0) {
    received_end_ = true;
    if (received_ != to_receive()) {
      errno = 0;
      Broken("end");
    } else if (ended_) {
      state_ = State::kDone;
    }
    return true;
  }
  std::array<std::byte, kChunk> expected;
  const auto size = static_cast<size_t>(n);
  const uint64_t seed = client_ ? ~script_.seed : script_.seed;
  FillPattern(seed, received_, std::span(expected).first(size));
  if (std::memcmp(bytes.data(), expected.data(), size) != 0) {
    Fail("other bytes than were sent");
    return false;
  }
  received_ += size;
  if (received_ > to_receive()) Fail("more bytes than were sent");
  if (Dies()) state_ = State::kDone;
  return true;
}

bool Stream::Send(size_t most) {
  if (script_sent_ < sizeof(script_) || ended_) return false;
  const uint64_t left = to_send() - sent_;
  if (left == 0) return false;
  std::array<std::byte, kChunk> bytes;
  const auto size = static_cast<size_t>(std::min<uint64_t>(left, most));
  FillPattern(client_ ? script_.seed : ~script_.seed, sent_,
              std::span(bytes).first(size));
  const ssize_t n = send(fd(), bytes.data(), size, MSG_NOSIGNAL);
  if (n < 0) {
    if (!WouldBlock()) Broken("send");
    return false;
  }
  sent_ += static_cast<size_t>(n);
  if (Dies()) state_ = State::kDone;
  return true;
}

bool Stream::Dies() const {
  const uint64_t at =
      client_ ? script_.client_dies_at : script_.backend_dies_at;
  if (sent_ + received_ < at) return false;
  ResetOnClose(fd());
  return true;
}

void Stream::EndHalf() {
  if (state_ != State::kGoing || ended_ || script_sent_ < sizeof(script_) ||
      sent_ != to_send()) {
    return;
  }
  // Without half-closing, the backend ends when it has received all, and the
  // client when the backend has ended.
  const bool ends = script_.half_close != 0 ||
                    (client_ ? received_end_ : received_ == to_receive());
  if (!ends) return;
  shutdown(fd(), SHUT_WR);
  ended_ = true;
  if (received_end_) state_ = State::kDone;
}

}  // namespace tandem
