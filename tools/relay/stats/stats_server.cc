#include "tandem/tools/relay/stats/stats_server.h"

#include <microhttpd.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tandem/tools/relay/stats/metrics.h"
#include "tandem/tools/relay/stats/page.h"
#include "tandem/tools/relay/stats/status_json.h"

namespace tandem {
namespace {

constexpr auto kFreshness = std::chrono::seconds(1);
constexpr unsigned kConnections = 64;
constexpr unsigned kIdleSeconds = 5;

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
  // The page loads nothing from anywhere else, whatever is written into it.
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
  if (daemon_ != nullptr) MHD_stop_daemon(daemon_);
}

absl::Status StatsServer::Start() {
  const MHD_AccessHandlerCallback handle =
      [](void* self, MHD_Connection* connection, const char* path,
         const char* method, const char*, const char*, size_t*, void**) {
        constexpr char kText[] = "text/plain; charset=utf-8";
        if (std::string_view(method) != MHD_HTTP_METHOD_GET &&
            std::string_view(method) != MHD_HTTP_METHOD_HEAD) {
          return Respond(connection, MHD_HTTP_METHOD_NOT_ALLOWED, kText,
                         "GET and HEAD only\n");
        }
        const auto document = static_cast<StatsServer*>(self)->Get(path);
        if (!document) {
          return Respond(connection, MHD_HTTP_NOT_FOUND, kText,
                         "There are /, /status.json and /metrics\n");
        }
        return Respond(connection, MHD_HTTP_OK, document->type, document->body);
      };
  daemon_ = MHD_start_daemon(
      MHD_USE_EPOLL_INTERNAL_THREAD, 0, nullptr, nullptr, handle, this,
      MHD_OPTION_LISTEN_SOCKET, listeners_.sockets[0].get(),
      MHD_OPTION_CONNECTION_LIMIT, kConnections, MHD_OPTION_CONNECTION_TIMEOUT,
      kIdleSeconds, MHD_OPTION_END);
  if (daemon_ == nullptr) return absl::InternalError("--stats: can't begin");
  listeners_.sockets[0].Release();  // It closes that itself.
  return absl::OkStatus();
}

std::optional<StatsServer::Document> StatsServer::Get(std::string_view path) {
  if (path == "/metrics") return Document{kMetricsType, Metrics(Status())};
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
