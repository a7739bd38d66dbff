#ifndef TANDEM_TESTS_SUPPORT_SERVICE_H_
#define TANDEM_TESTS_SUPPORT_SERVICE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
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

  ~Service() { GiveBackAll(); }

  BufferPool& pool() { return *pool_; }
  SessionAllocator& sessions() { return *sessions_; }
  const SessionAllocator& sessions() const { return *sessions_; }

  // The number of free buffers.
  uint32_t Free() const {
    const PoolSnapshot snapshot = pool_->Snapshot();
    return snapshot.available + snapshot.cached;
  }
  uint32_t Waiting() const { return pool_->Snapshot().waiting; }

  // Takes all buffers except `leave`. GiveBack gives them back, and so does the
  // end of this object.
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

}  // namespace tandem

#endif  // TANDEM_TESTS_SUPPORT_SERVICE_H_
