#ifndef TANDEM_TESTS_RELAY_STREAM_H_
#define TANDEM_TESTS_RELAY_STREAM_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "tandem/tools/relay/socket.h"

namespace tandem {

// What a client and its backend do to each other, known to both: the client
// sends it first. Plain bytes.
struct Script {
  static constexpr uint64_t kNever = ~uint64_t{0};

  uint64_t magic = 0x7a6e64656d726c79;
  uint64_t seed = 0;        // of the bytes
  uint64_t to_backend = 0;  // bytes after this script
  uint64_t to_client = 0;
  // The connection is reset by that end after it has sent and received so many.
  uint64_t client_dies_at = kNever;
  uint64_t backend_dies_at = kNever;
  // The client ends its half when it has sent all, not when all is over.
  uint32_t half_close = 0;
  // Moves little at a time, and only on Tick.
  uint32_t slow_client = 0;
  uint32_t slow_backend = 0;

  bool dies() const {
    return client_dies_at != kNever || backend_dies_at != kNever;
  }
};

// Writes bytes number `at` on of the stream that `seed` names.
void FillPattern(uint64_t seed, uint64_t at, std::span<std::byte> out);

// One end of one connection: sends its stream and checks the other's, byte for
// byte, without blocking.
//
// Threads: one.
class Stream {
 public:
  enum class State { kGoing, kDone, kFailed };

  // The client's end, which knows its script; the backend's, which is told.
  Stream(OwnedFd fd, const Script& script);
  explicit Stream(OwnedFd fd);

  // Moves what can be moved; a slow end nothing. To call when the descriptor is
  // ready, and at least once after creation.
  State Step();
  // Moves a little, if this is a slow end.
  State Tick();

  int fd() const { return fd_.get(); }
  bool slow() const;
  bool told() const { return script_read_ == sizeof(script_); }
  const Script& script() const { return script_; }
  uint64_t checked() const { return received_; }
  const std::string& error() const { return error_; }

 private:
  State Move(size_t most);
  State Fail(std::string why);
  // Reset by the other end, or found out to be.
  State Broken(const char* call);
  bool ReceiveScript();
  bool Receive(size_t most);
  bool SendScript();
  bool Send(size_t most);
  uint64_t to_send() const {
    return client_ ? script_.to_backend : script_.to_client;
  }
  uint64_t to_receive() const {
    return client_ ? script_.to_client : script_.to_backend;
  }
  bool Dies() const;
  void EndHalf();

  OwnedFd fd_;
  const bool client_;
  Script script_;
  size_t script_read_ = 0;
  size_t script_sent_ = 0;
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
  bool ended_ = false;         // our half
  bool received_end_ = false;  // the other's
  State state_ = State::kGoing;
  std::string error_;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_RELAY_STREAM_H_
