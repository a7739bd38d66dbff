#ifndef TANDEM_SESSION_RING_BUFFER_H_
#define TANDEM_SESSION_RING_BUFFER_H_

#if __cplusplus < 202002L
#error "Tandem needs C++20: compile with -std=c++20"
#endif

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace tandem {

// How much of a buffer is filled: `size` bytes from `head` on, around its end.
struct RingContent {
  uint32_t head = 0;  // below the capacity
  uint32_t size = 0;  // up to the capacity
};

// Two spans in order. The second is empty unless what they cover wraps, and the
// first is empty only if both are.
template <class Byte>
using RingSpans = std::array<std::span<Byte>, 2>;

// A view over a buffer as a ring of bytes, to read: what has been received and
// not sent yet. Owns nothing: it refers to a buffer and to how much of it is
// filled.
class RingView {
 public:
  // At most 2^31 bytes. Without bytes, a ring is both empty and full.
  RingView(std::span<std::byte> storage, const RingContent& content) noexcept
      : data_(storage.data()),
        capacity_(static_cast<uint32_t>(storage.size())),
        content_(&content) {}

  size_t capacity() const noexcept { return capacity_; }
  size_t head() const noexcept { return content_->head; }
  size_t size() const noexcept { return content_->size; }
  size_t space() const noexcept { return capacity() - size(); }
  bool empty() const noexcept { return size() == 0; }
  bool full() const noexcept { return size() == capacity(); }

  // The bytes to send next; RingBuffer::Consume those that were sent.
  RingSpans<const std::byte> readable() const noexcept {
    const auto [first, second] = Wrap(head(), size());
    return {first, second};
  }

  // The same for writev(2). Returns how many of the two to pass.
  int ReadableIovecs(std::span<iovec, 2> out) const noexcept {
    return Fill(Wrap(head(), size()), out);
  }

 protected:
  // `n` bytes from `start` on, around the end. Requires start < capacity(), or
  // that there are none.
  RingSpans<std::byte> Wrap(size_t start, size_t n) const noexcept {
    const size_t first = std::min(n, capacity() - start);
    return {std::span(data_ + start, first), std::span(data_, n - first)};
  }

  static int Fill(const RingSpans<std::byte>& spans,
                  std::span<iovec, 2> out) noexcept {
    int count = 0;
    for (const std::span<std::byte> part : spans) {
      if (part.empty()) continue;
      out[count++] = {.iov_base = part.data(), .iov_len = part.size()};
    }
    return count;
  }

  std::byte* data_;
  uint32_t capacity_;
  const RingContent* content_;
};

// The same to read and to write. "Empty" decides what a session releases.
//
// Threads: one at a time. Cost: constant, no copies but in Write and Read.
class RingBuffer : public RingView {
 public:
  RingBuffer(std::span<std::byte> storage, RingContent& content) noexcept
      : RingView(storage, content), content_(content) {}

  // Where bytes may be received; Commit those that were.
  RingSpans<std::byte> writable() const noexcept {
    return Wrap(Around(head() + size()), space());
  }

  // The same for readv(2). Returns how many of the two to pass.
  int WritableIovecs(std::span<iovec, 2> out) const noexcept {
    return Fill(writable(), out);
  }

  // `n` bytes of writable() have been filled. Requires n <= space().
  void Commit(size_t n) const noexcept {
    assert(n <= space());
    content_.size += static_cast<uint32_t>(n);
  }

  // `n` bytes of readable() are done with. Requires n <= size().
  void Consume(size_t n) const noexcept {
    assert(n <= size());
    content_.size -= static_cast<uint32_t>(n);
    // Once empty, it is one span again, from the start.
    content_.head =
        empty() ? 0 : static_cast<uint32_t>(Around(content_.head + n));
  }

  // Copies as much of `bytes` as there is space for. Returns how many.
  size_t Write(std::span<const std::byte> bytes) const noexcept {
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
  size_t Read(std::span<std::byte> out) const noexcept {
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
  // A place up to once around, taken around the end.
  size_t Around(size_t at) const noexcept {
    return at < capacity() ? at : at - capacity();
  }

  RingContent& content_;
};

}  // namespace tandem

#endif  // TANDEM_SESSION_RING_BUFFER_H_
