#include "tandem/bench/counted_run.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "tandem/bench/measurement.h"
#include "tandem/bench/summary.h"

namespace tandem::bench {
namespace {

constexpr char kProgram[] = "throughput_counted";

// Looks beside this program, and in its runfiles, for when it was copied
// with them.
absl::StatusOr<std::string> FindProgram(const char* argv0) {
  std::error_code ignored;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const std::string run_files = absl::StrCat(argv0, ".runfiles");
  for (const std::filesystem::path& folder :
       {self.parent_path(), std::filesystem::path(run_files) / "tandem/bench",
        std::filesystem::path(run_files) / "_main/bench"}) {
    const std::filesystem::path program = folder / kProgram;
    if (access(program.c_str(), X_OK) == 0) return program.string();
  }
  return absl::NotFoundError(absl::StrCat(kProgram, " is neither in ",
                                          self.parent_path().string(),
                                          " nor in ", run_files));
}

// Runs the program, and returns its standard output.
absl::StatusOr<std::string> OutputOf(std::vector<std::string> command) {
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (std::string& word : command) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::array<int, 2> ends;
  if (pipe(ends.data()) != 0) return absl::ErrnoToStatus(errno, "pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  pid_t child;
  const int error = posix_spawn(&child, arguments[0], &actions, nullptr,
                                arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  std::string output;
  if (error == 0) {
    std::array<char, 4096> chunk;
    ssize_t count;
    while ((count = read(ends[0], chunk.data(), chunk.size())) > 0) {
      output.append(chunk.data(), static_cast<size_t>(count));
    }
  }
  close(ends[0]);
  if (error != 0) return absl::ErrnoToStatus(error, command[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) {
    return absl::InternalError(
        WIFEXITED(status)
            ? absl::StrCat(command[0], " exited with ", WEXITSTATUS(status))
            : absl::StrCat(command[0], " got signal ", WTERMSIG(status)));
  }
  return output;
}

}  // namespace

absl::Status AddCountedRuns(const char* argv0, const std::string& filter,
                            Summary& summary) {
  absl::StatusOr<std::string> program = FindProgram(argv0);
  if (!program.ok()) return program.status();
  std::vector<std::string> command = {
      *program,
      absl::StrCat("--benchmark_min_time=0.02", kNewLibrary ? "s" : "")};
  if (!filter.empty()) {
    command.push_back(absl::StrCat("--benchmark_filter=", filter));
  }
  absl::StatusOr<std::string> output = OutputOf(std::move(command));
  if (!output.ok()) return output.status();
  for (const absl::string_view line : absl::StrSplit(*output, '\n')) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    int threads;
    RmwPerOperation rmw;
    if (words.size() == 6 && absl::SimpleAtoi(words[1], &threads) &&
        absl::SimpleAtod(words[2], &rmw.shared) &&
        absl::SimpleAtod(words[3], &rmw.own) &&
        absl::SimpleAtod(words[4], &rmw.swaps) &&
        absl::SimpleAtod(words[5], &rmw.failed)) {
      summary.AddRmw(KeyOf(words[0], threads), rmw);
    }
  }
  return absl::OkStatus();
}

}  // namespace tandem::bench
