#ifndef TANDEM_SESSION_RING_BUFFER_H_
#define TANDEM_SESSION_RING_BUFFER_H_

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstring>
#include <span>

namespace tandem {

// A view over a buffer as a ring of bytes: what has been received and not sent
// yet. "Empty" decides what is released. Owns nothing; the default one is a
// ring of no bytes, both empty and full.
//
// Threads: one at a time. Cost: constant, no copies but in Write and Read.
class RingBuffer {
 public:
  // In order; the second is empty unless the content wraps.
  template <class Byte>
  using Spans = std::array<std::span<Byte>, 2>;

  RingBuffer() = default;
  explicit RingBuffer(std::span<std::byte> storage) : storage_(storage) {}

  size_t capacity() const { return storage_.size(); }
  size_t size() const { return size_; }
  size_t space() const { return capacity() - size_; }
  bool empty() const { return size_ == 0; }
  bool full() const { return size_ == capacity(); }

  // The bytes to send next; Consume those that were sent.
  Spans<const std::byte> readable() const {
    const auto [first, second] = Wrap(head_, size_);
    return {first, second};
  }

  // Where bytes may be received; Commit those that were.
  Spans<std::byte> writable() {
    return Wrap(
        head_ + size_ < capacity() ? head_ + size_ : head_ + size_ - capacity(),
        space());
  }

  // The same for writev(2) and readv(2). Returns how many of the two to pass.
  int ReadableIovecs(std::span<iovec, 2> out) const {
    return Fill(Wrap(head_, size_), out);
  }
  int WritableIovecs(std::span<iovec, 2> out) { return Fill(writable(), out); }

  // `n` bytes of writable() have been filled. Requires n <= space().
  void Commit(size_t n) {
    assert(n <= space());
    size_ += n;
  }

  // `n` bytes of readable() are done with. Requires n <= size().
  void Consume(size_t n) {
    assert(n <= size_);
    size_ -= n;
    head_ += n;
    if (head_ >= capacity()) head_ -= capacity();
    if (size_ == 0) head_ = 0;  // One span again, from the start.
  }

  // Copies as much of `bytes` as there is space for. Returns how many.
  size_t Write(std::span<const std::byte> bytes) {
    size_t done = 0;
    for (const std::span<std::byte> part : writable()) {
      const size_t n = std::min(part.size(), bytes.size() - done);
      if (n != 0) std::memcpy(part.data(), bytes.data() + done, n);
      done += n;
    }
    Commit(done);
    return done;
  }

  // Moves as many bytes as `out` has room for to it. Returns how many.
  size_t Read(std::span<std::byte> out) {
    size_t done = 0;
    for (const std::span<const std::byte> part : readable()) {
      const size_t n = std::min(part.size(), out.size() - done);
      if (n != 0) std::memcpy(out.data() + done, part.data(), n);
      done += n;
    }
    Consume(done);
    return done;
  }

 private:
  // `n` bytes from `start` on, around the end.
  Spans<std::byte> Wrap(size_t start, size_t n) const {
    const size_t first = std::min(n, capacity() - start);
    return {storage_.subspan(start, first), storage_.first(n - first)};
  }

  static int Fill(const Spans<std::byte>& spans, std::span<iovec, 2> out) {
    int count = 0;
    for (const std::span<std::byte> part : spans) {
      if (part.empty()) continue;
      out[count++] = {.iov_base = part.data(), .iov_len = part.size()};
    }
    return count;
  }

  std::span<std::byte> storage_;
  size_t head_ = 0;
  size_t size_ = 0;
};

}  // namespace tandem

#endif  // TANDEM_SESSION_RING_BUFFER_H_
