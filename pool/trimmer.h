#ifndef TANDEM_POOL_TRIMMER_H_
#define TANDEM_POOL_TRIMMER_H_

#if __cplusplus < 202002L
#error "Tandem needs C++20: compile with -std=c++20"
#endif

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
  // The interval: 1 ms to a day. 0: no trims by time.
  std::chrono::milliseconds every{0};
  // A descriptor that shows POLLPRI whenever memory is short, as one of
  // OpenPressureTrigger does. The Trimmer closes it. -1: no trims by pressure.
  int pressure_trigger = -1;
};

// A descriptor that shows POLLPRI when tasks have waited for memory for 150 ms
// within a window of 2 s, at most once in a window: a trigger of the kernel's
// pressure stall information (PSI, Linux 4.20). `path` is the file for the
// trigger: a control group's memory.pressure, or /proc/pressure/memory for the
// whole machine. If empty: the file of the process's control group (version 2)
// if there is one, otherwise the machine's. Needs no privilege since Linux 6.5;
// CAP_SYS_RESOURCE before. On failure, returns the system's error with the
// path.
absl::StatusOr<int> OpenPressureTrigger(const std::string& path = "") noexcept;

// Trims a pool in a thread of its own: at once, then at intervals, and when the
// system reports that memory is short. Pools do none of this without a Trimmer.
//
//   absl::StatusOr<int> pressure = OpenPressureTrigger();
//   absl::StatusOr<std::unique_ptr<Trimmer>> trimmer = Trimmer::Create(
//       pool, {.every = std::chrono::minutes(1),
//              .pressure_trigger = pressure.value_or(-1)});
//
// Threads:  any thread may read the statistics; one destroys it.
// Cost:     that of BufferPool::Trim, at most once in 1 s for pressure.
//           Otherwise the thread sleeps; it blocks all signals.
// Lifetime: must end before the pool's. Destruction waits for a trim in
//           progress.
class Trimmer {
 public:
  // InvalidArgument for a wrong option; the system's error if there is no
  // thread or descriptor to be had; FailedPrecondition if the pool refuses
  // Trim. Closes the trigger on any failure; on success the Trimmer owns it.
  static absl::StatusOr<std::unique_ptr<Trimmer>> Create(
      BufferPool* pool, const TrimmerOptions& options) noexcept;

  ~Trimmer();
  Trimmer(const Trimmer&) = delete;
  Trimmer& operator=(const Trimmer&) = delete;

  // The trims and the bytes given back so far, with those of Create. relaxed:
  // statistics.
  uint64_t trims() const { return trims_.load(std::memory_order::relaxed); }
  uint64_t bytes() const { return bytes_.load(std::memory_order::relaxed); }

 private:
  Trimmer(BufferPool& pool, const TrimmerOptions& options)
      : pool_(pool),
        every_(options.every),
        pressure_(options.pressure_trigger) {}

  // The part of Create that may fail.
  absl::Status Start(const TrimmerOptions& options);

  // The thread's function: runs until the destructor writes to stop_.
  void Run();
  absl::Status Trim();

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
