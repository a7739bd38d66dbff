#ifndef TANDEM_BENCH_PEERS_H_
#define TANDEM_BENCH_PEERS_H_

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdlib>
#include <mutex>
#include <span>
#include <vector>

namespace tandem::bench {

inline constexpr size_t kBufferSize = 16 * 1024;
// Tandem's caches may hold half of these. One that serves bursts of 64 grows to
// 141, so there is enough for 16 threads.
inline constexpr size_t kCapacity = 8192;
// The buffers that a thread keeps, in its own array and in rte_mempool: as many
// as in Tandem.
inline constexpr size_t kThreadBuffers = 128;
inline constexpr size_t kCachedBuffers = 512;
static_assert(kCapacity >= 16 * kThreadBuffers, "enough for 16 threads");

// Tandem's peers, behind Tandem's own interface: Acquire, Release, AcquireMany
// and ReleaseMany. Each thread creates one object for itself, before the clock
// runs. No thread touches a buffer's memory.

// Addresses of buffers, for peers that hand out what they are given.
inline std::byte* BufferAddress(size_t index) {
  static std::byte* const memory =
      static_cast<std::byte*>(std::malloc(kCapacity * kBufferSize));
  return memory + index * kBufferSize;
}

// The limit: an array of pointers that belongs to one thread, bounds checked.
// It is not shared, so it can neither hand over to another thread nor wait.
class ThreadArray {
 public:
  explicit ThreadArray(int thread) {
    Stack& own = Own();
    for (own.count = 0; own.count < kThreadBuffers; ++own.count) {
      own.buffers[own.count] =
          BufferAddress(thread * kThreadBuffers + own.count);
    }
  }

  std::byte* Acquire() {
    Stack& own = Own();
    if (own.count == 0) [[unlikely]] {
      return nullptr;
    }
    return own.buffers[--own.count];
  }
  void Release(std::byte* buffer) {
    Stack& own = Own();
    if (own.count == kThreadBuffers) [[unlikely]] {
      std::abort();
    }
    own.buffers[own.count++] = buffer;
  }
  bool AcquireMany(std::span<std::byte*> out) {
    Stack& own = Own();
    if (own.count < out.size()) [[unlikely]] {
      return false;
    }
    own.count -= out.size();
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = own.buffers[own.count + i];
    }
    return true;
  }
  void ReleaseMany(std::span<std::byte* const> buffers) {
    Stack& own = Own();
    if (kThreadBuffers - own.count < buffers.size()) [[unlikely]] {
      std::abort();
    }
    for (size_t i = 0; i < buffers.size(); ++i) {
      own.buffers[own.count + i] = buffers[i];
    }
    own.count += buffers.size();
  }

 private:
  struct Stack {
    size_t count;
    std::array<std::byte*, kThreadBuffers> buffers;
  };
  static Stack& Own() {
    static constinit thread_local Stack own = {};
    return own;
  }
};

// A general allocator. It is unbounded, so no thread ever waits for it. All are
// called through pointers, because all are in shared libraries.
struct AllocatorFunctions {
  void* (*allocate)(size_t) = nullptr;
  void (*release)(void*) = nullptr;
};
template <const AllocatorFunctions& kFunctions>
class Allocator {
 public:
  explicit Allocator(int /*thread*/) : functions_(kFunctions) {}

  std::byte* Acquire() {
    return static_cast<std::byte*>(functions_.allocate(kBufferSize));
  }
  void Release(std::byte* buffer) { functions_.release(buffer); }
  bool AcquireMany(std::span<std::byte*> out) {
    for (std::byte*& buffer : out) {
      buffer = Acquire();
      if (buffer == nullptr) [[unlikely]]
        std::abort();
    }
    return true;
  }
  void ReleaseMany(std::span<std::byte* const> buffers) {
    for (std::byte* const buffer : buffers) Release(buffer);
  }

 private:
  const AllocatorFunctions functions_;
};

// The C library's allocator.
inline constexpr AllocatorFunctions kMallocFunctions = {std::malloc, std::free};
using Malloc = Allocator<kMallocFunctions>;

// One free list for all threads under one lock. The lock is taken once for
// many buffers.
class MutexList {
 public:
  explicit MutexList(int /*thread*/) : list_(Shared()) {}

  std::byte* Acquire() {
    const std::lock_guard lock(list_.mutex);
    if (list_.free.empty()) [[unlikely]]
      return nullptr;
    std::byte* const buffer = list_.free.back();
    list_.free.pop_back();
    return buffer;
  }
  void Release(std::byte* buffer) {
    const std::lock_guard lock(list_.mutex);
    list_.free.push_back(buffer);
  }
  bool AcquireMany(std::span<std::byte*> out) {
    const std::lock_guard lock(list_.mutex);
    if (list_.free.size() < out.size()) [[unlikely]]
      return false;
    list_.TakeLast(out);
    return true;
  }
  void ReleaseMany(std::span<std::byte* const> buffers) {
    const std::lock_guard lock(list_.mutex);
    list_.free.insert(list_.free.end(), buffers.begin(), buffers.end());
  }

 protected:
  struct List {
    explicit List(size_t capacity) {
      for (size_t i = 0; i < capacity; ++i) free.push_back(BufferAddress(i));
    }
    void TakeLast(std::span<std::byte*> out) {
      const size_t rest = free.size() - out.size();
      std::copy_n(free.data() + rest, out.size(), out.data());
      free.resize(rest);
    }

    std::mutex mutex;
    std::condition_variable released;
    std::vector<std::byte*> free;
  };
  static List& Shared() {
    static List& list = *new List(kCapacity);
    return list;
  }
  explicit MutexList(List& list) : list_(list) {}

  List& list_;
};

// The same with a condition variable for threads that find too few. They
// are served in no order: a thread that comes between a release and a
// wake-up overtakes.
class WaitingMutexList : public MutexList {
 public:
  // A list of `capacity` buffers, the same for every object.
  explicit WaitingMutexList(size_t capacity) : MutexList(Small(capacity)) {}

  // Returns true if it had to wait.
  bool AcquireWaiting(std::span<std::byte*> out) {
    std::unique_lock lock(list_.mutex);
    const bool waits = list_.free.size() < out.size();
    list_.released.wait(lock, [&] { return list_.free.size() >= out.size(); });
    list_.TakeLast(out);
    return waits;
  }
  void ReleaseAndWake(std::span<std::byte* const> buffers) {
    ReleaseMany(buffers);
    list_.released.notify_one();
  }

 private:
  static List& Small(size_t capacity) {
    static List& list = *new List(capacity);
    return list;
  }
};

// A session over a peer: two buffers, taken and returned together.
template <class Peer>
class PlainSession {
 public:
  explicit PlainSession(Peer& peer) : peer_(peer) {}

  bool AllocateBuffers() {
    return buffers_[0] != nullptr || peer_.AcquireMany(buffers_);
  }
  void ReleaseBuffers() {
    if (buffers_[0] == nullptr) return;
    peer_.ReleaseMany(buffers_);
    buffers_ = {};
  }

 private:
  Peer& peer_;
  std::array<std::byte*, 2> buffers_ = {};
};

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_PEERS_H_
