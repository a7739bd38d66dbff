#ifndef TANDEM_POOL_TRIMMER_H_
#define TANDEM_POOL_TRIMMER_H_

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tandem/pool/buffer_pool.h"

namespace tandem {

// When a Trimmer trims.
struct TrimmerOptions {
  // Every so often: 1 ms to a day. 0: not by time.
  std::chrono::milliseconds every{0};
  // Whenever this descriptor shows POLLPRI, as one of OpenPressureTrigger does
  // while memory is short. The Trimmer closes it. -1: not by pressure.
  int pressure_trigger = -1;
};

// A descriptor that shows POLLPRI when tasks have waited for memory for 150 ms
// within 2 s, at most once in those: a trigger of the kernel's pressure stall
// information (PSI, Linux 4.20). `path` is the file to set it up in: a control
// group's memory.pressure, or /proc/pressure/memory for the whole machine.
// Empty: that of the control group (version 2) that the process is in, where it
// has one, else the machine's. Needs no privilege from Linux 6.5 on, before
// that CAP_SYS_RESOURCE. The system's error, with the path, where it can't be
// had.
absl::StatusOr<int> OpenPressureTrigger(const std::string& path = "") noexcept;

// Trims a pool by itself, in a thread of its own: at once, then every so often,
// and when the system reports that memory is short. Pools do none of it unless
// one is made.
//
//   absl::StatusOr<int> pressure = OpenPressureTrigger();
//   absl::StatusOr<std::unique_ptr<Trimmer>> trimmer = Trimmer::Create(
//       pool, {.every = std::chrono::minutes(1),
//              .pressure_trigger = pressure.value_or(-1)});
//
// Threads:  any may ask what it has done; one destroys it.
// Cost:     that of BufferPool::Trim, at most once in 1 s for pressure. The
//           thread sleeps otherwise; it blocks all signals.
// Lifetime: goes before the pool does. Destruction waits for a trim under way.
class Trimmer {
 public:
  // InvalidArgument for a wrong option; the system's error for a thread or a
  // descriptor that can't be had, FailedPrecondition if the pool refuses Trim.
  // Closes the trigger in any case.
  static absl::StatusOr<std::unique_ptr<Trimmer>> Create(
      BufferPool* pool, const TrimmerOptions& options) noexcept;

  ~Trimmer();
  Trimmer(const Trimmer&) = delete;
  Trimmer& operator=(const Trimmer&) = delete;

  // Times that it has trimmed, and bytes that it has given back, so far.
  // relaxed: statistics.
  uint64_t trims() const { return trims_.load(std::memory_order::relaxed); }
  uint64_t bytes() const { return bytes_.load(std::memory_order::relaxed); }

 private:
  Trimmer(BufferPool& pool, const TrimmerOptions& options)
      : pool_(pool),
        every_(options.every),
        pressure_(options.pressure_trigger) {}

  // What else Create does.
  absl::Status Start(const TrimmerOptions& options);

  // The thread: until somebody writes to stop_.
  void Run();
  void Trim();

  BufferPool& pool_;
  const std::chrono::milliseconds every_;
  int pressure_;
  int stop_ = -1;  // an eventfd
  bool has_thread_ = false;
  pthread_t thread_;
  std::atomic<uint64_t> trims_{0};
  std::atomic<uint64_t> bytes_{0};
};

}  // namespace tandem

#endif  // TANDEM_POOL_TRIMMER_H_
