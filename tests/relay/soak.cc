// Sends connections through a relay for the given time. Some are slow, some are
// killed; every byte is checked at both ends, and nothing is leaked at the end.
//
//   bazel run -c opt //tests/relay:soak -- --seconds=600
//   bazel run -c opt //tests/relay:uring_soak -- --seconds=120
//
// Exit code: 1 if anything was wrong.

#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <thread>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tandem/tests/relay/load.h"
#include "tandem/tests/relay/relay_fixture.h"
#include "tandem/tests/relay/relay_process.h"

ABSL_FLAG(uint32_t, seconds, 600, "how long to open new connections");
ABSL_FLAG(uint32_t, threads, 4, "of the relay");
ABSL_FLAG(uint32_t, buffers, 4, "of the relay");
ABSL_FLAG(uint32_t, at_once, 400, "connections at the same time");
ABSL_FLAG(uint64_t, max_bytes, 60'000, "of one connection, each way");
ABSL_FLAG(uint32_t, seed, 0, "0 for any");
ABSL_FLAG(bool, uring, false, "//examples:uring_relay instead of the relay");

namespace tandem {
namespace {

bool failed = false;

// Prints a result, and remembers if it is wrong.
void Report(const char* what, uint64_t found, uint64_t wanted) {
  absl::PrintF("soak: %s: %d%s\n", what, found,
               found == wanted ? "" : absl::StrCat(", NOT ", wanted));
  if (found != wanted) failed = true;
}

void Report(const char* who, const LoadResult& result) {
  absl::PrintF(
      "soak: %s: %d connections, %d of them killed on purpose, %d bytes "
      "checked\n",
      who, result.connections, result.killed, result.checked);
  if (result.errors == 0) return;
  absl::PrintF("soak: %s: %d ERRORS, the first: %s\n", who, result.errors,
               result.first_error);
  failed = true;
}

int Run() {
  uint32_t seed = absl::GetFlag(FLAGS_seed);
  if (seed == 0) seed = std::random_device()();
  absl::PrintF("soak: seed %d\n", seed);
  RaiseDescriptorLimit();
  ScriptedBackend backend;
  const bool uring = absl::GetFlag(FLAGS_uring);
  RelayProcess relay(backend.address(),
                     {absl::StrCat("--threads=", absl::GetFlag(FLAGS_threads)),
                      absl::StrCat("--buffers=", absl::GetFlag(FLAGS_buffers))},
                     std::nullopt, uring ? kUringRelay : kRelay);
  LoadOptions options = {.seed = seed,
                         .at_once = absl::GetFlag(FLAGS_at_once),
                         .connections = ~uint64_t{0},
                         .time = std::chrono::seconds(5),
                         .max_bytes = absl::GetFlag(FLAGS_max_bytes),
                         .slow_one_in = 20,
                         .dies_one_in = 5,
                         .report = true};
  // Until everything has been used once, memory may grow.
  const LoadResult warm_up = RunLoad(relay.address(), options);
  const bool settled = Eventually([&] { return backend.open() == 0; });
  Report("sessions left after the warm-up", settled ? 0 : backend.open(), 0);
  const uint64_t memory = relay.Memory("VmRSS");
  const size_t descriptors = relay.Descriptors();

  ++options.seed;
  options.time = std::chrono::seconds(absl::GetFlag(FLAGS_seconds));
  const LoadResult clients = RunLoad(relay.address(), options);
  Eventually([&] { return backend.open() == 0; });
  const LoadResult backends = backend.Stop();
  Report("warm-up", warm_up);
  Report("clients", clients);
  Report("backends", backends);
  const uint64_t memory_after = relay.Memory("VmRSS");
  absl::PrintF("soak: the relay's memory: %d kB before, %d kB after\n", memory,
               memory_after);
  if (memory_after > memory + memory / 4) {
    absl::PrintF("soak: the relay's memory GREW\n");
    failed = true;
  }
  Report("the relay's descriptors", relay.Descriptors(), descriptors);
  // The example has no totals, and does not end by itself.
  if (!uring) {
    Report("the relay's exit code", static_cast<uint64_t>(relay.Finish()), 0);
    absl::PrintF("%s", relay.totals());
    Report("sessions finished", relay.Total("finished"),
           relay.Total("accepted"));
    Report("buffers in use", relay.Total("buffers_in_use"), 0);
    Report("sessions waiting", relay.Total("waiting"), 0);
  }
  absl::PrintF("soak: %s\n", failed ? "FAILED" : "passed");
  return failed ? 1 : 0;
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  return tandem::Run();
}
