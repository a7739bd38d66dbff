#include "tandem/tests/relay/load.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/log/check.h"

namespace tandem {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kTick(2);

uint64_t UpTo(std::mt19937_64& random, uint64_t most) {
  return std::uniform_int_distribution<uint64_t>(0, most)(random);
}

bool OneIn(std::mt19937_64& random, uint32_t n) {
  return n != 0 && UpTo(random, n - 1) == 0;
}

}  // namespace

StreamSet::StreamSet() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  PCHECK(epoll_.valid());
}

void StreamSet::Add(std::unique_ptr<Stream> stream) {
  const auto fd = static_cast<size_t>(stream->fd());
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.fd = stream->fd();
  PCHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, stream->fd(), &event) == 0);
  if (streams_.size() <= fd) streams_.resize(fd + 1);
  if (stream->slow()) slow_.push_back(stream->fd());
  streams_[fd] = std::move(stream);
  ++open_;
  ++result_.connections;
}

void StreamSet::Also(int fd) {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = -1;
  PCHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0);
}

void StreamSet::Turn() {
  std::array<epoll_event, 256> events;
  const int n = epoll_wait(epoll_.get(), events.data(), events.size(), 1);
  for (int i = 0; i < n; ++i) {
    const int fd = events[i].data.fd;
    if (fd < 0 || streams_[fd] == nullptr) continue;
    Stream* const stream = streams_[fd].get();
    const bool was_slow = stream->slow();
    const Stream::State state = stream->Step();
    // A backend learns from the script that it is slow.
    if (!was_slow && stream->slow()) slow_.push_back(fd);
    Settle(stream, state);
  }
  const auto now = steady_clock::now();
  if (now < next_tick_) return;
  next_tick_ = now + kTick;
  // A copy, because streams that end leave the list.
  for (const int fd : std::vector<int>(slow_)) {
    Stream* const stream = streams_[fd].get();
    Settle(stream, stream->Tick());
  }
}

void StreamSet::Settle(Stream* stream, Stream::State state) {
  if (state == Stream::State::kGoing) return;
  result_.checked += stream->checked();
  if (state == Stream::State::kFailed) {
    if (result_.errors++ == 0) result_.first_error = stream->error();
  } else {
    ++result_.completed;
    if (stream->told() && stream->script().dies()) ++result_.killed;
  }
  std::erase(slow_, stream->fd());
  streams_[stream->fd()] = nullptr;
  --open_;
}

ScriptedBackend::ScriptedBackend() {
  auto listeners = Listen(ResolveAddress("listen", "127.0.0.1:0").value(), 1);
  CHECK_OK(listeners.status());
  listeners_ = *std::move(listeners);
  streams_.Also(listeners_.sockets[0].get());
  thread_ = std::thread([this] { Run(); });
}

void ScriptedBackend::Run() {
  while (!stop_) {
    for (;;) {
      OwnedFd fd(accept4(listeners_.sockets[0].get(), nullptr, nullptr,
                         SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd.valid()) break;
      SetNoDelay(fd.get());
      streams_.Add(std::make_unique<Stream>(std::move(fd)));
    }
    streams_.Turn();
    open_ = streams_.size();
  }
}

LoadResult ScriptedBackend::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  return streams_.result();
}

Script RandomScript(const LoadOptions& options, std::mt19937_64& random) {
  Script script;
  script.seed = random();
  // Mostly short, some long: like requests.
  const uint64_t most = OneIn(random, 4) ? options.max_bytes : 2000;
  script.to_backend = UpTo(random, most);
  script.to_client = UpTo(random, options.max_bytes);
  script.half_close = OneIn(random, 2) ? 1 : 0;
  script.slow_client = OneIn(random, options.slow_one_in) ? 1 : 0;
  script.slow_backend = OneIn(random, options.slow_one_in) ? 1 : 0;
  if (OneIn(random, options.dies_one_in)) {
    const uint64_t at = 1 + UpTo(random, script.to_backend + script.to_client);
    (OneIn(random, 2) ? script.client_dies_at : script.backend_dies_at) = at;
  }
  return script;
}

LoadResult RunLoad(const std::string& address, const LoadOptions& options) {
  const SocketAddress to = ResolveAddress("address", address).value();
  std::mt19937_64 random(options.seed);
  StreamSet streams;
  const auto begin = steady_clock::now();
  auto next_report = begin + std::chrono::seconds(10);
  uint64_t begun = 0;
  bool over = false;
  while (!over || streams.size() != 0) {
    over = begun == options.connections ||
           steady_clock::now() - begin > options.time;
    // A few at a time, so that they fit the backlog.
    for (int i = 0; i < 64 && !over && streams.size() < options.at_once; ++i) {
      OwnedFd fd = OpenSocket(to.family());
      PCHECK(fd.valid());
      SetNoDelay(fd.get());
      PCHECK(connect(fd.get(), to.get(), to.size) == 0 || errno == EINPROGRESS);
      streams.Add(std::make_unique<Stream>(std::move(fd),
                                           RandomScript(options, random)));
      if (++begun == options.connections) break;
    }
    streams.Turn();
    if (options.report && steady_clock::now() > next_report) {
      next_report += std::chrono::seconds(10);
      std::printf("load: %llu connections, %llu bytes checked, %llu errors\n",
                  static_cast<unsigned long long>(begun),
                  static_cast<unsigned long long>(streams.result().checked),
                  static_cast<unsigned long long>(streams.result().errors));
      std::fflush(stdout);
    }
  }
  return streams.result();
}

OwnedFd Connect(const std::string& address) {
  const SocketAddress to = ResolveAddress("address", address).value();
  OwnedFd fd(socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  PCHECK(fd.valid());
  PCHECK(connect(fd.get(), to.get(), to.size) == 0) << address;
  SetNoDelay(fd.get());
  return fd;
}

}  // namespace tandem
