#ifndef TANDEM_TESTS_RELAY_STREAM_H_
#define TANDEM_TESTS_RELAY_STREAM_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "tandem/tools/relay/socket.h"

namespace tandem {

// The script of a client and its backend, known to both, because the client
// sends it first. Plain bytes.
struct Script {
  static constexpr uint64_t kNever = ~uint64_t{0};

  uint64_t magic = 0x7a6e64656d726c79;
  uint64_t seed = 0;        // of the bytes
  uint64_t to_backend = 0;  // bytes after this script
  uint64_t to_client = 0;
  // That end resets the connection after it has sent and received this
  // many bytes.
  uint64_t client_dies_at = kNever;
  uint64_t backend_dies_at = kNever;
  // The client ends its half when it has sent all, not at the very end.
  uint32_t half_close = 0;
  // Moves little at a time, and only on Tick.
  uint32_t slow_client = 0;
  uint32_t slow_backend = 0;

  bool dies() const {
    return client_dies_at != kNever || backend_dies_at != kNever;
  }
};

// Writes the bytes from number `at` on of the stream that `seed` names.
void FillPattern(uint64_t seed, uint64_t at, std::span<std::byte> out);

// One end of one connection: sends its stream and checks the other's, byte for
// byte, without blocking.
//
// Threads: one.
class Stream {
 public:
  enum class State { kGoing, kDone, kFailed };

  // The client's end knows its script; the backend's end receives it.
  Stream(OwnedFd fd, const Script& script);
  explicit Stream(OwnedFd fd);

  // Moves what can be moved; a slow end moves nothing. Must be called when the
  // descriptor is ready, and at least once after creation.
  State Step();
  // Moves a few bytes if this is a slow end.
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
  // True if the other end has reset the connection.
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
