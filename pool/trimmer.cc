#include "tandem/pool/trimmer.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/pool/no_throw.h"

namespace tandem {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLongest = std::chrono::hours(24);
// The least time between two trims for pressure.
constexpr std::chrono::milliseconds kPause{1'000};
// A stall of 150 ms in a window of 2 s, in microseconds: an unprivileged
// process may request only multiples of 2 s.
constexpr char kTrigger[] = "some 150000 2000000";

// The pressure file of the process's control group of version 2, which is the
// entry without controllers, "0::PATH". Empty if there is none.
std::string GroupPressureFile() {
  FILE* const groups = std::fopen("/proc/self/cgroup", "re");
  if (groups == nullptr) return "";
  std::array<char, 4096> line;
  std::string file;
  while (std::fgets(line.data(), line.size(), groups) != nullptr) {
    if (std::strncmp(line.data(), "0::/", 4) != 0) continue;
    std::string path = line.data() + 3;
    while (path.ends_with('\n') || path.ends_with('/')) path.pop_back();
    // The root group's pressure is in /proc/pressure.
    if (!path.empty()) {
      file = absl::StrCat("/sys/fs/cgroup", path, "/memory.pressure");
    }
  }
  std::fclose(groups);
  return access(file.c_str(), R_OK | W_OK) == 0 ? file : "";
}

absl::StatusOr<int> OpenOrThrow(const std::string& path) {
  std::string file = path.empty() ? GroupPressureFile() : path;
  if (file.empty()) file = "/proc/pressure/memory";
  const int trigger = open(file.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (trigger < 0) return absl::ErrnoToStatus(errno, file);
  // The kernel also expects the terminating zero.
  if (write(trigger, kTrigger, sizeof(kTrigger)) < 0) {
    const int error = errno;
    close(trigger);
    return absl::ErrnoToStatus(error, absl::StrCat(file, ": \"", kTrigger,
                                                   "\" (before Linux 6.5 it "
                                                   "takes CAP_SYS_RESOURCE)"));
  }
  return trigger;
}

absl::Status CheckOptions(const TrimmerOptions& options) {
  if (options.every.count() < 0 || options.every > kLongest) {
    return absl::InvalidArgumentError(
        absl::StrCat("TrimmerOptions.every is ", options.every.count(),
                     " ms; allowed: 0 to ", kLongest.count()));
  }
  if (options.every.count() == 0 && options.pressure_trigger < 0) {
    return absl::InvalidArgumentError(
        "TrimmerOptions.every is 0 and pressure_trigger is -1; allowed: at "
        "least one of them set");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int> OpenPressureTrigger(const std::string& path) noexcept {
  return WithoutThrowing<absl::StatusOr<int>>(
      "no memory to open a pressure file", [&] { return OpenOrThrow(path); });
}

absl::StatusOr<std::unique_ptr<Trimmer>> Trimmer::Create(
    BufferPool* pool, const TrimmerOptions& options) noexcept {
  std::unique_ptr<Trimmer> trimmer(new (std::nothrow) Trimmer(*pool, options));
  if (trimmer == nullptr) {
    if (options.pressure_trigger >= 0) close(options.pressure_trigger);
    return NoMemory();
  }
  absl::Status started = WithoutThrowing<absl::Status>(
      "no memory for a Trimmer", [&] { return trimmer->Start(options); });
  if (!started.ok()) return started;
  return trimmer;
}

absl::Status Trimmer::Start(const TrimmerOptions& options) {
  if (absl::Status valid = CheckOptions(options); !valid.ok()) return valid;
  if (absl::Status trimmed = Trim(); !trimmed.ok()) return trimmed;
  stop_ = eventfd(0, EFD_CLOEXEC);
  if (stop_ < 0) return absl::ErrnoToStatus(errno, "an eventfd for a Trimmer");
  // Signals must not be delivered to this thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = pthread_create(
      &thread_, nullptr,
      [](void* self) -> void* {
        static_cast<Trimmer*>(self)->Run();
        return nullptr;
      },
      this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return absl::ErrnoToStatus(error, "a thread for a Trimmer");
  has_thread_ = true;
  return absl::OkStatus();
}

Trimmer::~Trimmer() {
  if (has_thread_) {
    const uint64_t one = 1;
    (void)!write(stop_, &one, sizeof(one));
    pthread_join(thread_, nullptr);
  }
  if (stop_ >= 0) close(stop_);
  if (pressure_ >= 0) close(pressure_);
}

void Trimmer::Run() {
  using std::chrono::ceil;
  using std::chrono::milliseconds;
  const auto never = Clock::time_point::max();
  auto due = every_.count() != 0 ? Clock::now() + every_ : never;
  auto listen_from = Clock::now();
  bool has_pressure = pressure_ >= 0;
  for (;;) {
    const auto now = Clock::now();
    const bool listens = has_pressure && now >= listen_from;
    auto wake = due;
    if (has_pressure && !listens) wake = std::min(wake, listen_from);
    const int timeout =
        wake == never
            ? -1
            : static_cast<int>(
                  std::max(ceil<milliseconds>(wake - now), milliseconds(0))
                      .count());
    std::array<pollfd, 2> events = {
        {{.fd = stop_, .events = POLLIN, .revents = 0},
         {.fd = listens ? pressure_ : -1, .events = POLLPRI, .revents = 0}}};
    if (poll(events.data(), events.size(), timeout) < 0) continue;
    if (events[0].revents != 0) return;
    // POLLERR: the control group is gone.
    if ((events[1].revents & (POLLERR | POLLNVAL)) != 0) has_pressure = false;
    const bool pressed = (events[1].revents & POLLPRI) != 0;
    const bool is_due = Clock::now() >= due;
    if (!pressed && !is_due) continue;
    (void)Trim();  // only memory can be missing here
    if (pressed) listen_from = Clock::now() + kPause;
    if (is_due) due = Clock::now() + every_;
  }
}

absl::Status Trimmer::Trim() {
  const absl::StatusOr<size_t> given_back = pool_.Trim();
  if (!given_back.ok()) return given_back.status();
  // relaxed, both: see the header.
  bytes_.fetch_add(*given_back, std::memory_order::relaxed);
  trims_.fetch_add(1, std::memory_order::relaxed);
  return absl::OkStatus();
}

}  // namespace tandem
