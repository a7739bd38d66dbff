#include "tandem/pool/die.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>

namespace tandem {
namespace {

constinit std::atomic<AbortHandler> abort_handler{nullptr};

}  // namespace

AbortHandler SetAbortHandler(AbortHandler handler) noexcept {
  return abort_handler.exchange(handler);
}

void Message::Append(std::string_view text) noexcept {
  const size_t count = std::min({text.size(), kMaxText, kMaxMessage - size_});
  std::memcpy(text_.data() + size_, text.data(), count);
  size_ += count;
}

void Message::Append(uint64_t number) noexcept { AppendDigits(number, 10); }

void Message::Append(const void* address) noexcept {
  Append(std::string_view("0x"));
  AppendDigits(reinterpret_cast<uintptr_t>(address), 16);
}

void Message::AppendDigits(uint64_t number, unsigned base) noexcept {
  std::array<char, 20> digits;
  size_t first = digits.size();
  do {
    digits[--first] = "0123456789abcdef"[number % base];
    number /= base;
  } while (number != 0);
  Append(std::string_view(digits.data() + first, digits.size() - first));
}

void Message::Write() noexcept {
  text_[size_] = '\n';
  // If standard error cannot be written, there is no other place to report.
  [[maybe_unused]] const auto written =
      write(STDERR_FILENO, text_.data(), size_ + 1);
  text_[size_] = '\0';
}

void DieWith(Message& message) noexcept {
  // Removed first, so that a handler that dies itself is not called again.
  const AbortHandler handler = abort_handler.exchange(nullptr);
  if (handler != nullptr) handler(message.c_str());
  message.Write();
  std::abort();
}

}  // namespace tandem
