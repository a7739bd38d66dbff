#ifndef TANDEM_TESTS_SESSION_SESSION_TEST_UTIL_H_
#define TANDEM_TESTS_SESSION_SESSION_TEST_UTIL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tandem/pool/buffer_pool.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {

inline constexpr bool kSanitized = kTsan || kAsan;

// How often to repeat a search for a race: fewer times under a sanitizer.
constexpr int Rounds(int rounds) { return kSanitized ? rounds / 5 : rounds; }

// A pool with a session layer.
class Service {
 public:
  explicit Service(PoolOptions pool_options,
                   const SessionOptions& session_options = {}) {
    pool_options.buffer_size = 256;
    auto pool = BufferPool::Create(pool_options);
    Require(pool.ok(), std::string(pool.status().message()));
    pool_ = *std::move(pool);
    auto sessions = SessionAllocator::Create(pool_.get(), session_options);
    Require(sessions.ok(), std::string(sessions.status().message()));
    sessions_ = *std::move(sessions);
  }

  BufferPool& pool() { return *pool_; }
  SessionAllocator& sessions() { return *sessions_; }
  const SessionAllocator& sessions() const { return *sessions_; }

  // The number of free buffers.
  uint32_t Free() const {
    const PoolSnapshot snapshot = pool_->Snapshot();
    return snapshot.available + snapshot.cached;
  }
  uint32_t Waiting() const { return pool_->Snapshot().waiting; }

  // Takes all buffers except `leave`. GiveBack gives them back.
  void TakeAllBut(uint32_t leave) {
    std::vector<std::byte*> taken(Free() - leave);
    Require(pool_->AcquireMany(taken), "too few buffers are free");
    taken_.insert(taken_.end(), taken.begin(), taken.end());
  }
  // Releases `count` of those, or all, one at a time.
  void GiveBack(size_t count) {
    for (; count > 0 && !taken_.empty(); --count) {
      std::byte* const buffer = taken_.back();
      taken_.pop_back();
      pool_->Release(buffer);
    }
  }
  void GiveBackAll() { GiveBack(taken_.size()); }

 private:
  std::unique_ptr<BufferPool> pool_;
  std::unique_ptr<SessionAllocator> sessions_;
  std::vector<std::byte*> taken_;
};

// Puts a byte into a side, so that the session keeps its buffer.
inline void Fill(SessionBuffers& session, Side side) {
  Require(session.has_buffer(side), "no buffer to fill");
  const std::byte byte{'x'};
  Require(session.ring(side).Write({&byte, 1}) == 1, "the buffer is full");
}
inline void Drain(SessionBuffers& session, Side side) {
  session.ring(side).Consume(session.ring(side).size());
}

// Makes a session hold one buffer with data in it.
inline void HoldOne(SessionBuffers& session, Side side = Side::kRequest) {
  Require(session.AllocateReceiveBuffer(side) == Allocation::kGranted,
          "no buffer to hold");
  Fill(session, side);
}

// Counts its wake-ups.
class CountingWaker {
 public:
  operator Waker() { return {Count, this}; }  // NOLINT: as a waker it is used
  int calls() const { return calls_; }

 private:
  static void Count(void* context) noexcept {
    ++static_cast<CountingWaker*>(context)->calls_;
  }
  std::atomic<int> calls_{0};
};

// Appends a letter to a log, which shows the order of wake-ups.
class LetterWaker {
 public:
  LetterWaker(std::string& log, char letter) : log_(log), letter_(letter) {}
  operator Waker() { return {Append, this}; }  // NOLINT: as CountingWaker

 private:
  static void Append(void* context) noexcept {
    auto& self = *static_cast<LetterWaker*>(context);
    self.log_ += self.letter_;
  }
  std::string& log_;
  const char letter_;
};

// A thread that fills its cache with buffers of the pool, and then sleeps
// until this object is destroyed. Other threads must find everything that it
// has cached.
class ParkedThread {
 public:
  explicit ParkedThread(BufferPool& pool) {
    thread_ = std::thread([this, &pool] {
      std::vector<std::byte*> buffers;
      for (uint32_t i = 0; i < pool.Snapshot().cache_limit; ++i) {
        std::byte* const buffer = pool.Acquire();
        if (buffer != nullptr) buffers.push_back(buffer);
      }
      for (std::byte* const buffer : buffers) pool.Release(buffer);
      parked_ = true;
      parked_.notify_one();
      leave_.wait(false);
    });
    parked_.wait(false);
  }
  ~ParkedThread() {
    leave_ = true;
    leave_.notify_one();
    thread_.join();
  }

 private:
  std::atomic<bool> parked_{false};
  std::atomic<bool> leave_{false};
  std::thread thread_;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_SESSION_SESSION_TEST_UTIL_H_
