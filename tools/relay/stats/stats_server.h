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

// Tells what a relay does, by HTTP:
//
//   /             a page for people, which reads /status.json each second
//   /status.json  the same for programs
//   /metrics      the same for Prometheus
//
// Whoever reaches the address may read all that: it is for an address that is
// not the public's.
//
// Threads:  one of its own answers; it takes no snapshot within a second of the
//           last, so any number of readers cost the relay the same. SetDraining
//           may be called by any.
// Limits:   64 connections at once; one that is idle for 5 seconds is closed,
//           and the one that has been for longest as soon as another comes for
//           whom there is no place or no descriptor. One descriptor is kept
//           back for them: that can be looked at, too, when the relay's
//           sessions have taken all.
// Lifetime: the relay must outlive it.
class StatsServer {
 public:
  // Listens and answers. An error names the flag --stats, or the address that
  // is busy.
  static absl::StatusOr<std::unique_ptr<StatsServer>> Create(
      std::string_view address, const Relay& relay,
      const RelayOptions& options);
  ~StatsServer();

  // From now on it says that the relay drains.
  // relaxed: a statistic, it orders nothing.
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
  // Makes room for a connection.
  void CloseTheOldest();

  // What stands at a path, if anything does.
  std::optional<Document> Get(std::string_view path);
  // At most a second old.
  const RelayStatus& Status();

  Listeners listeners_;
  const Relay& relay_;
  const Clock::time_point begin_ = Clock::now();
  std::atomic<bool> draining_{false};
  // The server's thread's alone.
  RelayStatus status_;
  std::optional<Clock::time_point> taken_;
  MHD_Daemon* daemon_ = nullptr;
  // Those that are open, in the order in which they came. They ask for nothing:
  // each one is closed with its first answer.
  std::vector<MHD_Connection*> connections_;
  OwnedFd spare_;
  OwnedFd stop_;  // an eventfd(2)
  std::thread thread_;
};

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_STATS_STATS_SERVER_H_
