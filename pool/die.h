#ifndef TANDEM_POOL_DIE_H_
#define TANDEM_POOL_DIE_H_

#if __cplusplus < 202002L
#error "Tandem needs C++20: compile with -std=c++20"
#endif

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tandem {

// A server's function for the last message of its process: a line of text
// without the newline.
using AbortHandler = void (*)(const char* message);

// Sets the function that is called before misuse aborts the process, for
// example to log the message; nullptr, the default, for none. Returns the
// previous function. Any thread may call this, at any time.
//
// The handler is called at most once, in the thread that dies. That thread may
// be in a signal handler, so the abort handler must be async-signal-safe and
// must not use the pool. It need not return. If it does, the message is written
// to standard error and the process is aborted.
AbortHandler SetAbortHandler(AbortHandler handler) noexcept;

// A message that is built without allocating: async-signal-safe. Each text is
// cut after kMaxText bytes (a pool's name may have any length), and the whole
// after kMaxMessage bytes.
class Message {
 public:
  static constexpr size_t kMaxText = 200;
  static constexpr size_t kMaxMessage = 510;

  // Texts, unsigned numbers (in decimal) and addresses (in hexadecimal).
  template <typename... Parts>
  explicit Message(const Parts&... parts) noexcept {
    (Append(parts), ...);
  }

  void Append(std::string_view text) noexcept;
  void Append(const char* text) noexcept { Append(std::string_view(text)); }
  void Append(uint64_t number) noexcept;
  void Append(const void* address) noexcept;
  void Append(const Message& message) noexcept { Append(message.text()); }

  std::string_view text() const noexcept { return {text_.data(), size_}; }
  const char* c_str() const noexcept { return text_.data(); }

  // Writes the message and a newline to standard error, by one write(2).
  void Write() noexcept;

 private:
  void AppendDigits(uint64_t number, unsigned base) noexcept;

  size_t size_ = 0;
  // Ends with a zero, and has room for a newline before it.
  std::array<char, kMaxMessage + 2> text_ = {};
};

// Ends the process because going on would corrupt memory: calls the server's
// handler, writes the message to standard error, and aborts. Async-signal-safe.
[[noreturn]] void DieWith(Message& message) noexcept;

template <typename... Parts>
[[noreturn, gnu::cold]] void Die(const Parts&... parts) noexcept {
  Message message(parts...);
  DieWith(message);
}

}  // namespace tandem

#endif  // TANDEM_POOL_DIE_H_
