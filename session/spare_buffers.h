#ifndef TANDEM_SESSION_SPARE_BUFFERS_H_
#define TANDEM_SESSION_SPARE_BUFFERS_H_

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/session/session_allocator.h"

namespace tandem {

// Extra buffers for one side of a session, for when its own buffer is full,
// more data has arrived, and the pool has plenty: one visit then moves 64 KiB
// by one readv(2) and one sendmsg(2).
//
//   if (ring.full() && spare.Take(3)) {
//     readv(fd, iovecs, spare.WritableIovecs(iovecs)) … spare.Commit(n)
//   }
//   …                   // sends ring(side) first, then what the spares hold
//   spare.Release();    // at the end of the visit
//
// The spares form one row of bytes, filled from its start and sent from there.
//
// Rules:    a session never waits for spares. They are taken under the terms of
//           a receive, never past a waiting session (S1, S4). In addition, no
//           session may wait at all, a quarter of the pool and the reserve must
//           be free outside all caches. Under shortage it is as if spares did
//           not exist: a refusal changes nothing. They come from the thread's
//           cache, or by a refill from the depot, never by a search. For S6 a
//           spare that holds data counts as a buffer that a slow peer keeps: a
//           server that bounds those must include the spares.
//
// Threads:  one at a time, as the session.
// Cost:     taking that many buffers from the pool, and a load of the ledger.
// Memory:   48 bytes; nothing is allocated, nothing throws.
// Lifetime: the allocator must outlive it. The destructor releases all.
class SpareBuffers {
 public:
  static constexpr uint32_t kMost = 3;
  using Iovecs = std::span<iovec, kMost>;

  explicit SpareBuffers(SessionAllocator& allocator) noexcept
      : allocator_(allocator) {}
  ~SpareBuffers() { Clear(); }
  SpareBuffers(const SpareBuffers&) = delete;
  SpareBuffers& operator=(const SpareBuffers&) = delete;

  // Takes n buffers, 1 to kMost, all or nothing. Requires that it has none.
  [[nodiscard]] bool Take(uint32_t n) noexcept;

  // Gives back each buffer that holds no data.
  void Release() noexcept;
  // Gives back all buffers; their data is lost.
  void Clear() noexcept;

  // The number of buffers, of buffers that hold data, and of bytes in them.
  uint32_t count() const noexcept { return count_; }
  uint32_t kept() const noexcept;
  size_t size() const noexcept { return end_ - begin_; }
  bool empty() const noexcept { return begin_ == end_; }

  // Where to receive bytes, behind the existing ones; and the existing bytes,
  // in order. Returns how many of the three entries to pass.
  int WritableIovecs(Iovecs out) const noexcept {
    return Fill(end_, Capacity(), out);
  }
  int ReadableIovecs(Iovecs out) const noexcept {
    return Fill(begin_, end_, out);
  }

  // Commit: `n` writable bytes have been filled. Consume: `n` readable bytes
  // are no longer needed.
  void Commit(size_t n) noexcept;
  void Consume(size_t n) noexcept;

 private:
  size_t BufferSize() const noexcept { return allocator_.pool().buffer_size(); }
  size_t Capacity() const noexcept { return count_ * BufferSize(); }
  int Fill(size_t from, size_t to, Iovecs out) const noexcept;
  // Gives back all buffers except those from number `from` up to `to`.
  void Keep(uint32_t from, uint32_t to) noexcept;

  SessionAllocator& allocator_;
  std::array<std::byte*, kMost> buffers_ = {};
  uint32_t count_ = 0;
  // Where in the row the bytes begin and end. Both are 0 if there are none.
  uint32_t begin_ = 0;
  uint32_t end_ = 0;
};

}  // namespace tandem

#endif  // TANDEM_SESSION_SPARE_BUFFERS_H_
