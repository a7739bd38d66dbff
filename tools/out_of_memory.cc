#include "tandem/tools/out_of_memory.h"

#include <errno.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <new>

namespace tandem {
namespace {

void EndWithOneLine() {
  // The first thread that comes here ends the program; the others wait for it.
  static std::atomic_flag told;
  while (told.test_and_set()) pause();
  // There is no memory for stdio.
  std::array<char, 128> line = {};
  std::strncat(line.data(), program_invocation_short_name, 64);
  std::strcat(line.data(), ": there is too little memory\n");
  static_cast<void>(
      !write(STDERR_FILENO, line.data(), std::strlen(line.data())));
  _exit(1);
}

// 101 is the first priority that programs may have: before the constructors of
// flags, which ask for memory.
[[gnu::constructor(101)]] void Install() {
  std::set_new_handler(EndWithOneLine);
  std::signal(SIGABRT, [](int) { _exit(1); });
}

}  // namespace

void Begun(bool goes_on) {
  std::signal(SIGABRT, SIG_DFL);
  std::set_new_handler(goes_on ? nullptr : EndWithOneLine);
}

}  // namespace tandem
