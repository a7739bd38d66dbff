#ifndef TANDEM_TESTS_RELAY_LOAD_H_
#define TANDEM_TESTS_RELAY_LOAD_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tandem/tests/relay/stream.h"
#include "tandem/tools/relay/socket.h"

namespace tandem {

// The results of one end's connections.
struct LoadResult {
  uint64_t connections = 0;
  uint64_t completed = 0;  // ended as their script says
  uint64_t killed = 0;     // of those, by their script
  uint64_t checked = 0;    // bytes
  uint64_t errors = 0;
  std::string first_error;
};

// The streams of one thread, with an epoll(7) of their own.
class StreamSet {
 public:
  StreamSet();

  void Add(std::unique_ptr<Stream> stream);
  // Waits a millisecond at most, then moves what can be moved.
  void Turn();
  // Makes Turn return also when this descriptor is readable.
  void Also(int fd);

  size_t size() const { return open_; }
  const LoadResult& result() const { return result_; }

 private:
  void Settle(Stream* stream, Stream::State state);

  OwnedFd epoll_;
  std::vector<std::unique_ptr<Stream>> streams_;  // by descriptor
  size_t open_ = 0;
  std::vector<int> slow_;
  std::chrono::steady_clock::time_point next_tick_;
  LoadResult result_;
};

// A server, in a thread, that follows each client's script.
class ScriptedBackend {
 public:
  ScriptedBackend();
  // Connections that have not ended are dropped.
  ~ScriptedBackend() { Stop(); }

  // Returns the results of its connections. There are no more after that.
  LoadResult Stop();

  std::string address() const { return listeners_.address.ToString(); }
  size_t open() const { return open_; }

 private:
  void Run();

  Listeners listeners_;
  StreamSet streams_;
  std::atomic<size_t> open_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// Random scripts.
struct LoadOptions {
  uint32_t seed = 0;
  size_t at_once = 100;
  uint64_t connections = 1000;
  std::chrono::steady_clock::duration time = std::chrono::hours(1);
  uint64_t max_bytes = 100'000;  // each way
  uint32_t slow_one_in = 0;      // 0: none
  uint32_t dies_one_in = 0;
  bool report = false;  // a line every ten seconds
};

Script RandomScript(const LoadOptions& options, std::mt19937_64& random);

// Connects to `address` again and again, until all is done or the time is up.
// Every connection ends by its script.
LoadResult RunLoad(const std::string& address, const LoadOptions& options);

// A blocking connection to HOST:PORT.
OwnedFd Connect(const std::string& address);

}  // namespace tandem

#endif  // TANDEM_TESTS_RELAY_LOAD_H_
