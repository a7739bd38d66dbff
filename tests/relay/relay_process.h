#ifndef TANDEM_TESTS_RELAY_RELAY_PROCESS_H_
#define TANDEM_TESTS_RELAY_RELAY_PROCESS_H_

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tandem {

// A program in a process of its own, killed with its owner. Its output is read
// line by line, its messages (stderr) on request.
class Process {
 public:
  // `descriptors`: how many descriptors it may have open.
  explicit Process(const std::vector<std::string>& command,
                   std::optional<rlim_t> descriptors = std::nullopt);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  // The next line of its output, "" at the end.
  std::string ReadLine();
  std::string ReadRest();
  void Signal(int signal);
  // Waits for its end. Returns its exit code; negative: the signal that
  // ended it.
  int Wait();
  std::string Messages() const;
  // The number of its open descriptors.
  size_t Descriptors() const;
  // Kilobytes, as /proc/PID/status has them: VmRSS, VmHWM.
  uint64_t Memory(std::string_view what) const;

 private:
  pid_t pid_ = -1;
  std::optional<int> exit_code_;
  FILE* output_ = nullptr;
  FILE* messages_ = nullptr;
};

// The programs that take a relay's flags.
inline constexpr char kRelay[] = "tools/relay/relay";
inline constexpr char kUringRelay[] = "examples/uring_relay";

// A relay as users run it, on a free port of this machine.
class RelayProcess : public Process {
 public:
  RelayProcess(const std::string& backend,
               const std::vector<std::string>& flags,
               std::optional<rlim_t> descriptors = std::nullopt,
               const char* program = kRelay);

  const std::string& address() const { return address_; }

  // Drains it, and returns its exit code.
  int Finish();
  // A number from the line that it prints at its end.
  uint64_t Total(std::string_view name) const;
  const std::string& totals() const { return totals_; }

 private:
  std::string address_;
  std::string totals_;
};

std::vector<std::string> RelayCommand(const std::vector<std::string>& flags,
                                      const char* program = kRelay);

// Allows this process as many descriptors as the system permits. Returns
// how many.
rlim_t RaiseDescriptorLimit();

}  // namespace tandem

#endif  // TANDEM_TESTS_RELAY_RELAY_PROCESS_H_
