#include "tandem/tests/relay/relay_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/log/check.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace tandem {

Process::Process(const std::vector<std::string>& command,
                 std::optional<rlim_t> descriptors) {
  std::array<int, 2> pipe_fds;
  PCHECK(pipe2(pipe_fds.data(), O_CLOEXEC) == 0);
  messages_ = std::tmpfile();
  PCHECK(messages_ != nullptr);
  std::vector<char*> argv;
  for (const std::string& arg : command) {
    argv.push_back(const_cast<char*>(arg.c_str()));
  }
  argv.push_back(nullptr);
  pid_ = fork();
  PCHECK(pid_ >= 0);
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(pipe_fds[1], STDOUT_FILENO);
    dup2(fileno(messages_), STDERR_FILENO);
    if (descriptors) {
      const rlimit limit = {.rlim_cur = *descriptors, .rlim_max = *descriptors};
      setrlimit(RLIMIT_NOFILE, &limit);
    }
    execvp(argv[0], argv.data());
    _exit(127);
  }
  close(pipe_fds[1]);
  output_ = fdopen(pipe_fds[0], "r");
  PCHECK(output_ != nullptr);
}

Process::~Process() {
  if (!exit_code_) {
    Signal(SIGKILL);
    Wait();
  }
  std::fclose(output_);
  std::fclose(messages_);
}

std::string Process::ReadLine() {
  std::string line;
  for (int c; (c = std::fgetc(output_)) != EOF && c != '\n';) {
    line += static_cast<char>(c);
  }
  return line;
}

std::string Process::ReadRest() {
  std::string rest;
  for (int c; (c = std::fgetc(output_)) != EOF;) rest += static_cast<char>(c);
  return rest;
}

void Process::Signal(int signal) { kill(pid_, signal); }

int Process::Wait() {
  if (!exit_code_) {
    int status;
    PCHECK(waitpid(pid_, &status, 0) == pid_);
    exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  return *exit_code_;
}

std::string Process::Messages() const {
  std::string messages(1 << 16, '\0');
  const ssize_t n =
      pread(fileno(messages_), messages.data(), messages.size(), 0);
  messages.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
  return messages;
}

size_t Process::Descriptors() const {
  const std::filesystem::directory_iterator begin(
      absl::StrCat("/proc/", pid_, "/fd"));
  return static_cast<size_t>(
      std::distance(begin, std::filesystem::directory_iterator()));
}

uint64_t Process::Memory(std::string_view what) const {
  std::ifstream status(absl::StrCat("/proc/", pid_, "/status"));
  for (std::string word; status >> word;) {
    if (word != absl::StrCat(what, ":")) continue;
    uint64_t kilobytes = 0;
    status >> kilobytes;
    return kilobytes;
  }
  return 0;
}

std::vector<std::string> RelayCommand(const std::vector<std::string>& flags,
                                      const char* program) {
  // Relative to the runfiles, where tests and `bazel run` start.
  std::vector<std::string> command = {program};
  command.insert(command.end(), flags.begin(), flags.end());
  return command;
}

namespace {

std::vector<std::string> WithAddresses(const std::string& backend,
                                       std::vector<std::string> flags,
                                       const char* program) {
  // First, so that a flag that is given again overrides it.
  flags.insert(flags.begin(),
               {"--listen=127.0.0.1:0", absl::StrCat("--backend=", backend)});
  return RelayCommand(flags, program);
}

}  // namespace

RelayProcess::RelayProcess(const std::string& backend,
                           const std::vector<std::string>& flags,
                           std::optional<rlim_t> descriptors,
                           const char* program)
    : Process(WithAddresses(backend, flags, program), descriptors) {
  // "relay: ADDRESS to …"
  const std::vector<std::string> words = absl::StrSplit(ReadLine(), ' ');
  CHECK_GE(words.size(), 3u) << Messages();
  address_ = words[1];
}

int RelayProcess::Finish() {
  Signal(SIGTERM);
  totals_ = ReadRest();
  return Wait();
}

uint64_t RelayProcess::Total(std::string_view name) const {
  for (const std::string_view word : absl::StrSplit(totals_, ' ')) {
    const std::pair<std::string_view, std::string_view> pair =
        absl::StrSplit(word, absl::MaxSplits('=', 1));
    uint64_t value;
    if (pair.first == name && absl::SimpleAtoi(pair.second, &value)) {
      return value;
    }
  }
  CHECK(false) << "no " << name << " in: " << totals_;
  return 0;
}

rlim_t RaiseDescriptorLimit() {
  rlimit limit;
  PCHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = limit.rlim_max;
  PCHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  return limit.rlim_max;
}

}  // namespace tandem
