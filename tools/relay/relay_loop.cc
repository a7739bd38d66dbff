#include "tandem/tools/relay/relay_loop.h"

#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iterator>
#include <limits>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tandem {
namespace {

using std::chrono::milliseconds;

// How long to accept nothing when descriptors have run out.
constexpr milliseconds kPause(100);

// Descriptors that connections leave to the rest of the program, such as those
// who ask what it does.
constexpr int kKeptBack = 8;

// The first descriptor that connections must not have: the system gives the
// lowest one that is free.
int DescriptorLimit() {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur,
                                           std::numeric_limits<int>::max())) -
         kKeptBack;
}

// Connections accepted in a row, at most: sessions wait.
constexpr int kAcceptBatch = 64;

// Idle for so long, a session does not hold up a drain.
constexpr milliseconds kIdleInDrain(1000);

bool IsShortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS ||
         error == ENOMEM;
}

// An operation's end, whatever it was.
template <class Operation>
asio::awaitable<void> EndOf(Operation operation) {
  asio::error_code ignored;
  co_await operation(asio::redirect_error(asio::use_awaitable, ignored));
}

void Rethrow(std::exception_ptr error) {
  if (error) std::rethrow_exception(error);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RelayLoop>> RelayLoop::Create(
    SessionAllocator& allocator, OwnedFd listener, const SocketAddress& backend,
    Limits limits, Shortage& shortage) {
  std::unique_ptr<RelayLoop> loop(
      new RelayLoop(allocator, std::move(listener), backend, limits, shortage));
  auto waits = AsioLoop::Create(loop->context_);
  if (!waits.ok()) return std::move(waits).status();
  loop->waits_ = *std::move(waits);
  return loop;
}

RelayLoop::RelayLoop(SessionAllocator& allocator, OwnedFd listener,
                     const SocketAddress& backend, Limits limits,
                     Shortage& shortage)
    : allocator_(allocator),
      backend_(backend),
      limits_(limits),
      context_(ASIO_CONCURRENCY_HINT_UNSAFE_IO),
      listener_(context_, listener.Release()),
      pause_(context_),
      idle_timer_(context_),
      shortage_(shortage) {}

RelayLoop::~RelayLoop() = default;

void RelayLoop::Run() {
  asio::co_spawn(context_, Accept(), Rethrow);
  asio::co_spawn(context_, EndIdleSessions(), Rethrow);
  context_.run();
}

void RelayLoop::Drain() {
  asio::post(context_, [this] {
    draining_ = true;
    limits_.idle_timeout =
        std::min<Clock::duration>(limits_.idle_timeout, kIdleInDrain);
    idle_timer_.cancel();
    pause_.cancel();
    listener_.cancel();
  });
}

void RelayLoop::Abort() {
  asio::post(context_, [this] {
    for (auto at = sessions_.begin(); at != sessions_.end();) {
      // Its end may come at once.
      (at++)->session->Abort();
    }
  });
}

asio::awaitable<void> RelayLoop::Accept() {
  for (;;) {
    if (!draining_) {
      co_await EndOf([this](auto token) {
        return listener_.async_wait(asio::posix::descriptor_base::wait_read,
                                    token);
      });
    }
    switch (AcceptSome()) {
      case Arrived::kMore:
        break;
      case Arrived::kNone:
        SetShort(false);
        if (!draining_) break;
        listener_.close();
        StopIfDrained();
        co_return;
      case Arrived::kNoDescriptor:
        SetShort(true);
        counters_.accept_pauses.Add(1);
        pause_.expires_after(kPause);
        co_await EndOf([this](auto token) { return pause_.async_wait(token); });
        break;
    }
  }
}

RelayLoop::Arrived RelayLoop::AcceptSome() {
  static const int descriptor_limit = DescriptorLimit();
  for (int i = 0; i < kAcceptBatch; ++i) {
    if (!spare_.valid()) spare_ = OpenSocket(backend_.family());
    if (spare_.get() >= descriptor_limit) {
      spare_ = OwnedFd();
      errno = EMFILE;
    }
    const bool no_spare = !spare_.valid();
    OwnedFd client;
    if (!no_spare) {
      client = OwnedFd(accept4(listener_.native_handle(), nullptr, nullptr,
                               SOCK_NONBLOCK | SOCK_CLOEXEC));
    }
    if (client.valid()) {
      Begin(std::move(client));
      continue;
    }
    if (!no_spare && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return Arrived::kNone;
    }
    if (no_spare || IsShortage(errno)) return Arrived::kNoDescriptor;
    // That connection is gone, or not for us: accept(2).
  }
  return Arrived::kMore;
}

void RelayLoop::Begin(OwnedFd client) {
  counters_.accepted.Add(1);
  if (allocator_.waiting() >= limits_.max_waiters) {
    counters_.refused.Add(1);
    ResetOnClose(client.get());
    return;
  }
  const auto place = sessions_.insert(
      sessions_.end(), {.session = nullptr, .active_since = Clock::now()});
  place->session = std::make_unique<RelaySession>(
      *this, place, std::move(client), std::exchange(spare_, OwnedFd()));
  asio::co_spawn(context_, place->session->Run(),
                 [this, place](std::exception_ptr error) {
                   Rethrow(error);
                   sessions_.erase(place);
                   // There are two descriptors.
                   if (short_) pause_.cancel();
                   StopIfDrained();
                 });
}

void RelayLoop::SetShort(bool is_short) {
  if (std::exchange(short_, is_short) == is_short) return;
  if (!is_short) {
    --shortage_;
  } else if (shortage_++ == 0) {
    std::fprintf(stderr, "relay: accepting pauses: %s\n", std::strerror(errno));
  }
}

asio::awaitable<void> RelayLoop::EndIdleSessions() {
  for (;;) {
    const auto period = std::clamp<Clock::duration>(
        limits_.idle_timeout / 4, milliseconds(5), milliseconds(1000));
    idle_timer_.expires_after(period);
    co_await EndOf(
        [this](auto token) { return idle_timer_.async_wait(token); });
    const auto until = Clock::now() - limits_.idle_timeout;
    for (auto at = sessions_.begin();
         at != sessions_.end() && at->active_since <= until;) {
      const auto next = std::next(at);
      if (at->session->waits_for_buffers()) {
        Touch(at);
      } else {
        counters_.idle_timeouts.Add(1);
        Touch(at);
        at->session->Abort();
      }
      at = next;
    }
  }
}

void RelayLoop::Touch(RelayEntries::iterator place) {
  place->active_since = Clock::now();
  sessions_.splice(sessions_.end(), sessions_, place);
}

void RelayLoop::StopIfDrained() {
  if (draining_ && !listener_.is_open() && sessions_.empty()) context_.stop();
}

}  // namespace tandem
