#include "tandem/tools/relay/relay_loop.h"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <limits>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tandem {
namespace {

using std::chrono::milliseconds;

// How long to accept no connection after descriptors have run out.
constexpr milliseconds kPause(100);

// Descriptors that connections leave to the rest of the program.
constexpr int kKeptBack = 8;

// The most connections to accept in a row, because sessions wait meanwhile.
constexpr int kAcceptBatch = 64;

// A session that is idle for this long does not delay a drain.
constexpr milliseconds kIdleInDrain(1000);

constexpr size_t kEvents = 256;  // in one turn

bool IsShortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS ||
         error == ENOMEM;
}

}  // namespace

int DescriptorLimit() {
  // The system always returns the lowest free descriptor.
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur,
                                           std::numeric_limits<int>::max())) -
         kKeptBack;
}

absl::StatusOr<std::unique_ptr<RelayLoop>> RelayLoop::Create(
    SessionAllocator& allocator, OwnedFd listener,
    const std::vector<SocketAddress>& backends, const RelayLimits& limits,
    Shortage& shortage) {
  auto loop = absl::WrapUnique(new RelayLoop(allocator, std::move(listener),
                                             backends, limits, shortage));
  if (absl::Status status = loop->Prepare(); !status.ok()) return status;
  return loop;
}

RelayLoop::RelayLoop(SessionAllocator& allocator, OwnedFd listener,
                     const std::vector<SocketAddress>& backends,
                     const RelayLimits& limits, Shortage& shortage)
    : context_{.allocator = allocator, .backends = backends, .limits = limits},
      listener_(std::move(listener)),
      shortage_(shortage) {
  drain_.loop = abort_.loop = this;
  drain_.on_ready = [](EventNotifier::Node& node) {
    static_cast<Request&>(node).loop->BeginDrain();
  };
  abort_.on_ready = [](EventNotifier::Node& node) {
    static_cast<Request&>(node).loop->EndAll();
  };
}

absl::Status RelayLoop::Prepare() {
  auto notifier = EventNotifier::Create();
  if (!notifier.ok()) return std::move(notifier).status();
  context_.notifier = *std::move(notifier);
  context_.epoll = OwnedFd(epoll_create1(EPOLL_CLOEXEC));
  if (!context_.epoll.valid()) return absl::ErrnoToStatus(errno, "epoll");
  epoll_event event = {.events = EPOLLIN,
                       .data = {.ptr = context_.notifier.get()}};
  if (epoll_ctl(context_.epoll.get(), EPOLL_CTL_ADD, context_.notifier->fd(),
                &event) != 0) {
    return absl::ErrnoToStatus(errno, "epoll");
  }
  return WatchListener(EPOLL_CTL_ADD, true)
             ? absl::OkStatus()
             : absl::ErrnoToStatus(errno, "epoll");
}

void RelayLoop::Run() {
  std::array<epoll_event, kEvents> events;
  while (listener_.valid() || !context_.sessions.empty()) {
    const int count = epoll_wait(context_.epoll.get(), events.data(),
                                 events.size(), TimeToSleep());
    context_.now = Clock::now();
    bool told = false;
    for (int i = 0; i < count; ++i) {
      void* const watched = events[i].data.ptr;
      if (watched == this) {
        Accept();
      } else if (watched == context_.notifier.get()) {
        told = true;
      } else {
        RelaySession::Note(watched, events[i].events);
      }
    }
    if (told) context_.notifier->Dispatch();
    context_.deadlines.Expire(context_.now);
    if (context_.now >= accept_again_) Accept();
    if (context_.now >= drain_until_) EndAll();
    EndIdleSessions();
    VisitReady();
  }
}

void RelayLoop::Drain() { Make(drain_); }

void RelayLoop::Abort() { Make(abort_); }

void RelayLoop::Make(Request& request) {
  if (!request.made.exchange(true)) context_.notifier->Post(request);
}

int RelayLoop::TimeToSleep() const {
  if (!context_.ready.empty()) return 0;
  Clock::time_point until =
      std::min({context_.deadlines.earliest(), accept_again_, drain_until_});
  if (!context_.sessions.empty()) {
    until = std::min(until, context_.sessions.front().active_since() +
                                context_.limits.idle_timeout);
  }
  if (until == Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 60'000));
}

void RelayLoop::VisitReady() {
  // Sessions that become ready during this turn get their visit in the next
  // one.
  ReadyQueue batch = std::exchange(context_.ready, ReadyQueue());
  while (ReadyQueue::Node* const node = batch.Take()) {
    auto& session = static_cast<RelaySession&>(*node);
    if (!session.is_over()) {
      session.Turn();
      continue;
    }
    context_.sessions.erase(session.place());
    // Two descriptors have become free.
    if (short_) accept_again_ = context_.now;
  }
}

void RelayLoop::BeginDrain() {
  if (!listener_.valid()) return;
  // More connections may arrive during this loop, even from the relay itself.
  // Accept no more than the listen queue can have held.
  for (int taken = 0; taken < SOMAXCONN; taken += kAcceptBatch) {
    if (AcceptSome() != Arrived::kMore) break;
  }
  listener_ = OwnedFd();
  SetShort(false);
  accept_again_ = Clock::time_point::max();
  drain_until_ = context_.now + context_.limits.drain_timeout;
  context_.limits.idle_timeout =
      std::min<Clock::duration>(context_.limits.idle_timeout, kIdleInDrain);
}

void RelayLoop::EndAll() {
  listener_ = OwnedFd();
  accept_again_ = drain_until_ = Clock::time_point::max();
  for (RelaySession& session : context_.sessions) session.Abort();
}

void RelayLoop::Accept() {
  if (!listener_.valid()) return;
  const bool paused = accept_again_ != Clock::time_point::max();
  switch (AcceptSome()) {
    case Arrived::kMore:
      break;
    case Arrived::kNone:
      SetShort(false);
      break;
    case Arrived::kNoDescriptor:
      SetShort(true);
      context_.counters.accept_pauses.Add(1);
      accept_again_ = context_.now + kPause;
      if (!paused) WatchListener(EPOLL_CTL_MOD, false);
      return;
  }
  if (!paused) return;
  accept_again_ = Clock::time_point::max();
  WatchListener(EPOLL_CTL_MOD, true);
}

RelayLoop::Arrived RelayLoop::AcceptSome() {
  static const int descriptor_limit = DescriptorLimit();
  for (int i = 0; i < kAcceptBatch; ++i) {
    if (!spare_.valid()) {
      spare_ = OpenSocket(context_.backends.front().family());
    }
    if (spare_.get() >= descriptor_limit) {
      spare_ = OwnedFd();
      errno = EMFILE;
    }
    const bool no_spare = !spare_.valid();
    OwnedFd client;
    if (!no_spare) {
      client = OwnedFd(accept4(listener_.get(), nullptr, nullptr,
                               SOCK_NONBLOCK | SOCK_CLOEXEC));
    }
    if (client.valid()) {
      if (Begin(std::move(client))) continue;
      errno = ENOMEM;
      return Arrived::kNoDescriptor;
    }
    if (!no_spare && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return Arrived::kNone;
    }
    if (no_spare || IsShortage(errno)) return Arrived::kNoDescriptor;
    // That connection is gone, or is not for this relay: accept(2).
  }
  return Arrived::kMore;
}

bool RelayLoop::Begin(OwnedFd client) {
  context_.counters.accepted.Add(1);
  const auto refuse = [this](const OwnedFd& fd) {
    context_.counters.refused.Add(1);
    ResetOnClose(fd.get());
  };
  if (context_.allocator.waiting() >= context_.limits.max_waiters) {
    refuse(client);
    return true;
  }
  try {
    // The session takes the sockets only once it has memory.
    context_.sessions.emplace_back(context_, std::move(client),
                                   std::move(spare_));
  } catch (const std::bad_alloc&) {
    refuse(client);
    return false;
  }
  const auto place = std::prev(context_.sessions.end());
  place->Start(place);
  return true;
}

bool RelayLoop::WatchListener(int operation, bool on) {
  epoll_event event = {.events = on ? uint32_t{EPOLLIN} : 0,
                       .data = {.ptr = this}};
  return epoll_ctl(context_.epoll.get(), operation, listener_.get(), &event) ==
         0;
}

void RelayLoop::SetShort(bool is_short) {
  if (std::exchange(short_, is_short) == is_short) return;
  if (!is_short) {
    --shortage_;
  } else if (shortage_++ == 0) {
    std::fprintf(stderr, "relay: accepting pauses: %s\n", std::strerror(errno));
  }
}

void RelayLoop::EndIdleSessions() {
  auto& sessions = context_.sessions;
  const auto until = context_.now - context_.limits.idle_timeout;
  while (!sessions.empty() && sessions.front().active_since() <= until) {
    RelaySession& session = sessions.front();
    session.Touch();
    if (session.is_over() || session.waits_for_buffers()) continue;
    context_.counters.idle_timeouts.Add(1);
    session.Abort();
  }
}

}  // namespace tandem
