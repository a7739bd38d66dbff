#ifndef TANDEM_TOOLS_RELAY_STATS_STATS_SERVER_H_
#define TANDEM_TOOLS_RELAY_STATS_STATS_SERVER_H_

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tandem/tools/relay/relay.h"
#include "tandem/tools/relay/relay_options.h"
#include "tandem/tools/relay/socket.h"
#include "tandem/tools/relay/stats/relay_status.h"

struct MHD_Connection;
struct MHD_Daemon;

namespace tandem {

// Serves a relay's status by HTTP:
//
//   /             a page for people, which reads /status.json each second
//   /status.json  the same for programs
//   /metrics      the same for Prometheus
//
// Anybody who can reach the address can read all of it, so the address should
// not be public.
//
// Threads:  a thread of its own answers. It takes at most one snapshot a
//           second, so any number of readers cost the relay the same. Any
//           thread may call SetDraining.
// Limits:   64 connections at once. A connection that is idle for 5 seconds is
//           closed. If a new connection finds no place or no descriptor, the
//           one that has been idle for longest is closed at once. One
//           descriptor is kept back, so that the status can be read even when
//           the relay's sessions have taken all others.
// Lifetime: the relay must outlive it.
class StatsServer {
 public:
  // Listens and answers. An error names the flag --stats, or the address that
  // is busy.
  static absl::StatusOr<std::unique_ptr<StatsServer>> Create(
      std::string_view address, const Relay& relay,
      const RelayOptions& options);
  ~StatsServer();

  // From now on the status says that the relay drains. relaxed: a statistic, it
  // orders nothing.
  void SetDraining() { draining_.store(true, std::memory_order::relaxed); }

  const SocketAddress& address() const { return listeners_.address; }

 private:
  using Clock = std::chrono::steady_clock;

  struct Document {
    const char* type;
    std::string body;
  };

  StatsServer(Listeners listeners, const Relay& relay,
              const RelayOptions& options);
  absl::Status Start();
  void Run();
  void Accept();
  // Makes room for one more connection.
  void CloseTheOldest();

  // The answer for a path, if there is one.
  std::optional<Document> Get(std::string_view path);
  // A status that is at most a second old.
  const RelayStatus& Status();

  Listeners listeners_;
  const Relay& relay_;
  const Clock::time_point begin_ = Clock::now();
  std::atomic<bool> draining_{false};
  // For the server's thread only.
  RelayStatus status_;
  std::optional<Clock::time_point> taken_;
  MHD_Daemon* daemon_ = nullptr;
  // The open connections, in the order in which they came. Each is closed with
  // its first answer, so those on the list have asked for nothing yet.
  std::vector<MHD_Connection*> connections_;
  OwnedFd spare_;
  OwnedFd stop_;  // an eventfd(2)
  std::thread thread_;
};

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_STATS_STATS_SERVER_H_
