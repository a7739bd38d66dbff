#include "tandem/tools/relay/stats/stats_server.h"

#include <fcntl.h>
#include <microhttpd.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "tandem/metrics/exposition.h"
#include "tandem/tools/relay/stats/metrics.h"
#include "tandem/tools/relay/stats/page.h"
#include "tandem/tools/relay/stats/status_json.h"

namespace tandem {
namespace {

constexpr auto kFreshness = std::chrono::seconds(1);
constexpr unsigned kConnections = 64;
constexpr unsigned kLeaving = 4;  // closed, but not yet gone
constexpr unsigned kIdleSeconds = 5;
constexpr int kPauseMillis = 100;

MHD_Result Respond(MHD_Connection* connection, unsigned code, const char* type,
                   std::string_view body) {
  MHD_Response* response = MHD_create_response_from_buffer(
      body.size(), const_cast<char*>(body.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  const auto header = [&](const char* name, const char* value) {
    MHD_add_response_header(response, name, value);
  };
  header("Content-Type", type);
  header("Cache-Control", "no-store");
  // The page loads nothing from elsewhere, whatever its text contains.
  header("Content-Security-Policy", "default-src 'self'");
  header("X-Content-Type-Options", "nosniff");
  if (code == MHD_HTTP_METHOD_NOT_ALLOWED) header("Allow", "GET, HEAD");
  const MHD_Result queued = MHD_queue_response(connection, code, response);
  MHD_destroy_response(response);
  return queued;
}

}  // namespace

absl::StatusOr<std::unique_ptr<StatsServer>> StatsServer::Create(
    std::string_view address, const Relay& relay, const RelayOptions& options) {
  const auto resolved = ResolveAddress("stats", address);
  if (!resolved.ok()) return resolved.status();
  auto listeners = Listen(*resolved, 1);
  if (!listeners.ok()) return std::move(listeners).status();
  auto server =
      absl::WrapUnique(new StatsServer(*std::move(listeners), relay, options));
  if (absl::Status status = server->Start(); !status.ok()) return status;
  return server;
}

StatsServer::StatsServer(Listeners listeners, const Relay& relay,
                         const RelayOptions& options)
    : listeners_(std::move(listeners)),
      relay_(relay),
      status_{.listen = relay.address().ToString(),
              .backend = options.backend,
              .buffer_size = options.buffer_size,
              .max_waiters = options.max_waiters,
              .snapshot = {}} {}

StatsServer::~StatsServer() {
  if (thread_.joinable()) {
    eventfd_write(stop_.get(), 1);
    thread_.join();
  }
  if (daemon_ != nullptr) MHD_stop_daemon(daemon_);
}

absl::Status StatsServer::Start() {
  const MHD_AccessHandlerCallback handle = [](void* context,
                                              MHD_Connection* connection,
                                              const char* path,
                                              const char* method, const char*,
                                              const char*, size_t*, void**) {
    constexpr char kText[] = "text/plain; charset=utf-8";
    auto* const self = static_cast<StatsServer*>(context);
    if (std::string_view(method) != MHD_HTTP_METHOD_GET &&
        std::string_view(method) != MHD_HTTP_METHOD_HEAD) {
      return Respond(connection, MHD_HTTP_METHOD_NOT_ALLOWED, kText,
                     "GET and HEAD only\n");
    }
    try {
      const auto document = self->Get(path);
      if (!document) {
        return Respond(connection, MHD_HTTP_NOT_FOUND, kText,
                       "There are /, /status.json and /metrics\n");
      }
      return Respond(connection, MHD_HTTP_OK, document->type, document->body);
    } catch (const std::bad_alloc&) {
      return Respond(connection, MHD_HTTP_SERVICE_UNAVAILABLE, kText,
                     "There is too little memory\n");
    }
  };
  const MHD_NotifyConnectionCallback notice =
      [](void* context, MHD_Connection* connection, void**,
         MHD_ConnectionNotificationCode what) {
        auto& connections = static_cast<StatsServer*>(context)->connections_;
        if (what == MHD_CONNECTION_NOTIFY_STARTED) {
          connections.push_back(connection);
        } else {
          std::erase(connections, connection);
        }
      };
  // Later there must be no allocation: MHD, which is C, calls this function.
  connections_.reserve(kConnections + kLeaving);
  // Without MHD's own accepting, which would spin while descriptors are short.
  // With room for one connection more than the limit: a new connection comes
  // before the old one goes.
  daemon_ = MHD_start_daemon(
      MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, nullptr, nullptr, handle,
      this, MHD_OPTION_CONNECTION_LIMIT, kConnections + kLeaving,
      MHD_OPTION_CONNECTION_TIMEOUT, kIdleSeconds, MHD_OPTION_NOTIFY_CONNECTION,
      notice, this, MHD_OPTION_END);
  stop_ = OwnedFd(eventfd(0, EFD_CLOEXEC));
  if (daemon_ == nullptr || !stop_.valid()) {
    return absl::InternalError("--stats: there are too few file descriptors");
  }
  try {
    thread_ = std::thread([this] { Run(); });
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "--stats: cannot start a thread: ", error.code().message()));
  }
  return absl::OkStatus();
}

void StatsServer::Run() {
  const int events =
      MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
  while (true) {
    if (!spare_.valid()) {
      spare_ = OwnedFd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    }
    // If there is no spare descriptor, and no idle connection to close for one,
    // connections wait for the next try.
    const bool room = spare_.valid() || !connections_.empty();
    const nfds_t watched = room ? 3 : 2;
    std::array<pollfd, 3> fds = {{
        {.fd = stop_.get(), .events = POLLIN, .revents = 0},
        {.fd = events, .events = POLLIN, .revents = 0},
        {.fd = listeners_.sockets[0].get(), .events = POLLIN, .revents = 0},
    }};
    MHD_UNSIGNED_LONG_LONG idle;
    int timeout = -1;
    if (MHD_get_timeout(daemon_, &idle) == MHD_YES) {
      timeout = idle < 1000 ? static_cast<int>(idle) : 1000;
    }
    if (!room && (timeout < 0 || timeout > kPauseMillis)) {
      timeout = kPauseMillis;
    }
    poll(fds.data(), watched, timeout);
    if (fds[0].revents != 0) return;
    if (fds[2].revents != 0) {
      if (spare_.valid()) {
        Accept();
      } else {
        CloseTheOldest();
      }
    }
    MHD_run(daemon_);
    if (connections_.size() > kConnections) {
      CloseTheOldest();
      MHD_run(daemon_);
    }
  }
}

void StatsServer::CloseTheOldest() {
  const auto* const info = MHD_get_connection_info(
      connections_.front(), MHD_CONNECTION_INFO_CONNECTION_FD);
  // The server notices that the connection has ended.
  shutdown(info->connect_fd, SHUT_RDWR);
}

void StatsServer::Accept() {
  spare_ = OwnedFd();  // The connection has its place, should it be the last.
  sockaddr_storage peer;
  socklen_t size = sizeof(peer);
  auto* const address = reinterpret_cast<sockaddr*>(&peer);
  const int fd = accept4(listeners_.sockets[0].get(), address, &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd >= 0) MHD_add_connection(daemon_, fd, address, size);
}

std::optional<StatsServer::Document> StatsServer::Get(std::string_view path) {
  if (path == "/metrics") return Document{kExpositionType, Metrics(Status())};
  if (path == "/status.json") {
    return Document{"application/json", StatusJson(Status())};
  }
  for (const PageFile& file : kPageFiles) {
    if (path == file.path) return Document{file.type, std::string(file.text)};
  }
  return std::nullopt;
}

const RelayStatus& StatsServer::Status() {
  const Clock::time_point now = Clock::now();
  if (!taken_ || now - *taken_ >= kFreshness) {
    status_.snapshot = relay_.Snapshot();
    status_.uptime = std::chrono::duration<double>(now - begin_).count();
    taken_ = now;
  }
  status_.draining = draining_.load(std::memory_order::relaxed);
  return status_;
}

}  // namespace tandem
