// A TCP relay whose sessions share a bounded pool of buffers. They wait for
// buffers in order where others fail or freeze.
//
//   bazel run -c opt //tools:relay --
//       --listen=0.0.0.0:8080 --backend=127.0.0.1:80 --threads=2 --buffers=64
//
// SIGTERM or SIGINT: the relay accepts no more connections and ends when its
// sessions have ended, or after --drain-timeout; a second signal ends them.
// Exit code: 0 after that; 1, with one line, if it could not start.

#include <sys/resource.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "tandem/tools/out_of_memory.h"
#include "tandem/tools/relay/relay.h"
#include "tandem/tools/relay/relay_options.h"
#include "tandem/tools/relay/relay_snapshot.h"
#include "tandem/tools/relay/stats/stats_server.h"

ABSL_FLAG(std::string, listen, "", "HOST:PORT to accept connections at");
ABSL_FLAG(std::string, backend, "", "HOST:PORT to connect each of them to");
ABSL_FLAG(uint32_t, threads, tandem::RelayOptions().threads, "event loops");
ABSL_FLAG(uint32_t, buffers, tandem::RelayOptions().buffers,
          "buffers for all sessions together");
ABSL_FLAG(uint32_t, buffer_size, tandem::RelayOptions().buffer_size,
          "bytes in a buffer");
ABSL_FLAG(uint32_t, reserve, tandem::RelayOptions().reserve,
          "buffers that only sessions that take both may take");
ABSL_FLAG(uint32_t, max_waiters, tandem::RelayOptions().max_waiters,
          "sessions that may wait for buffers; beyond, new ones are refused");
// A string: g++ 12 cannot compile the lock of a flag of type Duration for
// ThreadSanitizer.
ABSL_FLAG(std::string, idle_timeout,
          absl::FormatDuration(tandem::RelayOptions().idle_timeout),
          "close a session that has moved nothing for so long");
ABSL_FLAG(std::string, connect_timeout,
          absl::FormatDuration(tandem::RelayOptions().connect_timeout),
          "how long each of the backend's addresses has to take a connection");
ABSL_FLAG(std::string, drain_timeout,
          absl::FormatDuration(tandem::RelayOptions().drain_timeout),
          "after a signal, how long sessions have to end");
ABSL_FLAG(std::string, stats, "",
          "HOST:PORT to tell at what it does: / for people, /metrics for "
          "Prometheus");

namespace tandem {
namespace {

// Raises the limit to as many descriptors as the system allows.
void RaiseDescriptorLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

void PrintTotals(const RelaySnapshot& snapshot) {
  const auto& total = snapshot.total;
  uint64_t waits = 0;
  for (const WaitClassSnapshot& c : snapshot.sessions.classes) waits += c.waits;
  absl::PrintF(
      "relay: accepted=%d refused=%d finished=%d open=%d connect_failures=%d "
      "resets=%d idle_timeouts=%d bytes_to_backend=%d bytes_to_client=%d "
      "waits=%d retries=%d accept_pauses=%d buffers_in_use=%d waiting=%d\n",
      total.accepted, total.refused, total.finished, total.open(),
      total.connect_failures, total.resets, total.idle_timeouts,
      total.bytes_to_backend, total.bytes_to_client, waits, total.retries,
      total.accept_pauses, snapshot.sessions.pool.in_use,
      snapshot.sessions.pool.waiting);
}

int Fail(const absl::Status& status) {
  absl::FPrintF(stderr, "relay: %s\n", status.message());
  return 1;
}

int Serve(const RelayOptions& options, const std::string& stats_address) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  absl::StatusOr<std::unique_ptr<Relay>> created = Relay::Create(options);
  if (!created.ok()) return Fail(created.status());
  Relay& relay = **created;
  std::unique_ptr<StatsServer> stats;
  if (!stats_address.empty()) {
    auto server = StatsServer::Create(stats_address, relay, options);
    if (!server.ok()) return Fail(server.status());
    stats = *std::move(server);
  }
  if (absl::Status started = relay.Start(); !started.ok()) return Fail(started);
  absl::PrintF("relay: %s to %s, %d threads, %d buffers of %d bytes\n",
               relay.address().ToString(), options.backend, options.threads,
               options.buffers, options.buffer_size);
  if (stats) {
    absl::PrintF("relay: tells at http://%s/\n", stats->address().ToString());
  }
  std::fflush(stdout);
  // From here on the relay continues even if a resource is refused.
  Begun(/*goes_on=*/true);

  int signal_number;
  sigwait(&signals, &signal_number);
  if (stats) stats->SetDraining();
  relay.Drain();
  while (relay.running()) {
    const timespec moment = {.tv_sec = 0, .tv_nsec = 20'000'000};
    if (sigtimedwait(&signals, nullptr, &moment) > 0) relay.Abort();
  }
  relay.Join();
  // No session is left that a failure could harm.
  Begun(/*goes_on=*/false);
  PrintTotals(relay.Snapshot());
  return 0;
}

// Abseil's flags have underscores in their names; this program also accepts
// dashes: --buffer-size.
void DashesToUnderscores(int argc, char** argv) {
  for (char* arg : std::span(argv, argc).subspan(1)) {
    if (!absl::StartsWith(arg, "--") || arg[2] == '\0') continue;
    for (char* c = arg + 2; *c != '\0' && *c != '='; ++c) {
      if (*c == '-') *c = '_';
    }
  }
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "--listen=HOST:PORT --backend=HOST:PORT [--threads=N] [--buffers=B]");
  tandem::DashesToUnderscores(argc, argv);
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  if (rest.size() > 1) {
    absl::FPrintF(stderr, "relay: \"%s\" is no flag\n", rest[1]);
    return 1;
  }
  tandem::RaiseDescriptorLimit();
  tandem::RelayOptions options = {
      .listen = absl::GetFlag(FLAGS_listen),
      .backend = absl::GetFlag(FLAGS_backend),
      .threads = absl::GetFlag(FLAGS_threads),
      .buffers = absl::GetFlag(FLAGS_buffers),
      .buffer_size = absl::GetFlag(FLAGS_buffer_size),
      .reserve = absl::GetFlag(FLAGS_reserve),
      .max_waiters = absl::GetFlag(FLAGS_max_waiters)};
  for (const auto& [flag, text, time] :
       {std::tuple("idle", absl::GetFlag(FLAGS_idle_timeout),
                   &options.idle_timeout),
        std::tuple("connect", absl::GetFlag(FLAGS_connect_timeout),
                   &options.connect_timeout),
        std::tuple("drain", absl::GetFlag(FLAGS_drain_timeout),
                   &options.drain_timeout)}) {
    if (absl::ParseDuration(text, time)) continue;
    absl::FPrintF(stderr,
                  "relay: --%s-timeout is \"%s\"; allowed: a time such as "
                  "500ms, 30s or 5m\n",
                  flag, text);
    return 1;
  }
  return tandem::Serve(options, absl::GetFlag(FLAGS_stats));
}
