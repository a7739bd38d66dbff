// Many threads do random operations on one pool, while the program checks every
// invariant.
//
//   bazel run -c opt //tools:stress -- --seconds=60 --threads=8
//   bazel run --config=tsan //tools:stress -- --seconds=600
//
// Exit code 0: no violation. 1: a violation, or memory, threads or descriptors
// ran out; a message says which. 2: a flag is wrong. The same seed gives every
// thread the same decisions; their effects depend on the machine.

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tandem/pool/options.h"
#include "tandem/tools/out_of_memory.h"
#include "tandem/tools/stress/invariants.h"
#include "tandem/tools/stress/worker.h"
#include "tandem/tools/stress/world.h"

ABSL_FLAG(int64_t, seconds, 10, "how long: 1 to 1,000,000");
ABSL_FLAG(int64_t, threads, 4, "workers at once: 1 to 256");
ABSL_FLAG(int64_t, capacity, 64, "buffers in the pool: 2 to 1,000,000");
ABSL_FLAG(
    std::string, bias, "any",
    "thread caches: auto (biased where they can be), shared, or any of the "
    "two, as the seed decides");
ABSL_FLAG(uint64_t, seed, 0, "of all decisions; 0: a random one");

namespace tandem::stress {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr auto kStall = seconds(20);

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

int64_t Checked(std::string_view flag, int64_t value, int64_t min,
                int64_t max) {
  if (value >= min && value <= max) return value;
  absl::FPrintF(stderr, "--%s is %d; allowed: %d to %d\n", flag, value, min,
                max);
  std::exit(2);
}

std::optional<Bias> BiasFromFlag() {
  const std::string bias = absl::GetFlag(FLAGS_bias);
  if (bias == "any") return std::nullopt;
  if (bias == "auto") return Bias::kAuto;
  if (bias == "shared") return Bias::kShared;
  absl::FPrintF(stderr, "--bias is \"%s\"; allowed: any, auto, shared\n", bias);
  std::exit(2);
}

Options OptionsFromFlags() {
  uint64_t seed = absl::GetFlag(FLAGS_seed);
  if (seed == 0) seed = std::random_device()();
  return {.seconds = static_cast<int>(
              Checked("seconds", absl::GetFlag(FLAGS_seconds), 1, 1'000'000)),
          .threads = static_cast<uint32_t>(
              Checked("threads", absl::GetFlag(FLAGS_threads), 1, 256)),
          .capacity = static_cast<uint32_t>(
              Checked("capacity", absl::GetFlag(FLAGS_capacity), 2, 1'000'000)),
          .bias = BiasFromFlag(),
          .seed = seed};
}

// The totals of all workers.
struct Totals {
  explicit Totals(const World& world) {
    for (const Tally& tally : world.tallies) {
      const auto add = [](uint64_t& to, const std::atomic<uint64_t>& from) {
        to += from.load(std::memory_order::relaxed);
      };
      add(ops, tally.ops);
      add(allocations, tally.allocations);
      add(waits, tally.waits);
      add(overloads, tally.overloads);
      add(grants, tally.grants);
      add(cancels, tally.cancels);
      add(fifo_checks, tally.fifo_checks);
      add(births, tally.births);
    }
    for (const auto& thread : world.pool->Snapshot().threads) {
      steals += thread.steals;
    }
  }

  uint64_t ops = 0;
  uint64_t allocations = 0;
  uint64_t waits = 0;
  uint64_t overloads = 0;
  uint64_t grants = 0;
  uint64_t cancels = 0;
  uint64_t fifo_checks = 0;
  uint64_t births = 0;
  uint64_t steals = 0;
};

void PrintTotals(std::string_view head, const World& world) {
  const Totals t(world);
  absl::PrintF(
      "%s  ops %d  allocations %d  waits %d  wake-ups %d  cancels %d  "
      "overloads %d  steals %d  births %d  fifo checks %d  rests %d\n",
      head, t.ops, t.allocations, t.waits, t.grants, t.cancels, t.overloads,
      t.steals, t.births, t.fifo_checks, world.rounds.load());
  std::fflush(stdout);
}

// Until the time is over: prints a line each second, and ends the program if no
// operation completes.
void Watch(World& world) {
  const auto start = steady_clock::now();
  auto next_line = start + seconds(1);
  auto moved = start;
  uint64_t last = 0;
  while (!world.finished) {
    std::this_thread::sleep_for(milliseconds(20));
    const auto now = steady_clock::now();
    if (interrupted || now - start >= seconds(world.options.seconds)) {
      world.stop = true;
    }
    const uint64_t progress = Totals(world).ops + world.rounds;
    if (progress != last) {
      last = progress;
      moved = now;
    } else if (now - moved >= kStall) {
      Violated("somebody always gets on (S6, P4)",
               absl::StrCat("no progress for ", kStall.count(), " s"));
    }
    if (now < next_line) continue;
    PrintTotals(absl::StrFormat("%5d s", (now - start) / seconds(1)), world);
    next_line += seconds(1);
  }
}

// Ends the program with one line, whichever threads come here at once.
[[noreturn]] void EndWithoutThread(const std::system_error& error) {
  static std::atomic_flag told;
  while (told.test_and_set()) std::this_thread::sleep_for(seconds(1));
  absl::FPrintF(stderr, "stress: no thread: %s\n", error.code().message());
  std::_Exit(1);
}

// Creates a thread; ends the program if that fails.
template <class... Args>
std::thread StartThread(Args&&... args) {
  try {
    return std::thread(std::forward<Args>(args)...);
  } catch (const std::system_error& error) {
    EndWithoutThread(error);
  }
}

// False if it could not start; prints the reason.
bool Run(const Options& options) {
  absl::StatusOr<std::unique_ptr<World>> created = World::Create(options);
  if (!created.ok()) {
    absl::FPrintF(stderr, "stress: %s\n", created.status().message());
    return false;
  }
  const std::unique_ptr<World> world = *std::move(created);
  DescribeOnFailure(world->pool.get());
  const PoolSnapshot fresh = world->pool->Snapshot();
  absl::PrintF("thread caches: %d buffers, %s\n", fresh.cache_limit,
               fresh.biased ? "biased" : "shared");
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<std::thread> lives;
  for (uint32_t i = 0; i < options.threads; ++i) {
    workers.push_back(std::make_unique<Worker>(*world, i));
    // This thread never uses the pool itself; one thread after the other does.
    lives.push_back(
        StartThread([&world = *world, &worker = *workers.back(), i] {
          while (!world.finished) {
            Tally::Count(world.tallies[i].births);
            StartThread(&Worker::Live, &worker).join();
          }
        }));
  }
  Begun(/*goes_on=*/false);
  Watch(*world);
  for (std::thread& life : lives) life.join();
  for (const auto& worker : workers) worker->ReleaseAll();
  const PoolSnapshot snapshot = world->pool->Snapshot();
  if (snapshot.in_use != 0) {
    Violated("all buffers come back (P1)",
             absl::StrCat(snapshot.in_use, " are missing"));
  }
  PrintTotals("in all:", *world);
  DescribeOnFailure(nullptr);
  return true;
}

}  // namespace
}  // namespace tandem::stress

int main(int argc, char** argv) {
  using namespace tandem::stress;
  absl::SetProgramUsageMessage(
      "puts a pool under stress; exit code 1 if an invariant is violated");
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  if (rest.size() > 1) {
    absl::FPrintF(stderr, "\"%s\" is not a flag; see --help\n", rest[1]);
    return 2;
  }
  const Options options = OptionsFromFlags();
  std::signal(SIGINT, [](int) {
    interrupted = true;
    std::signal(SIGINT, SIG_DFL);
  });
  absl::PrintF("stress: %d s, %d threads, capacity %d, --bias=%s --seed=%d\n",
               options.seconds, options.threads, options.capacity,
               absl::GetFlag(FLAGS_bias), options.seed);
  if (!Run(options)) return 1;
  absl::PrintF("OK: no invariant was violated\n");
  return 0;
}
