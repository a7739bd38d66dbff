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

// The filled part of a buffer: `size` bytes from `head` on, wrapping at the
// end.
struct RingContent {
  uint32_t head = 0;  // less than the capacity
  uint32_t size = 0;  // at most the capacity
};

// Two spans in order. The second is empty unless the bytes wrap; the first is
// empty only if both are.
template <class Byte>
using RingSpans = std::array<std::span<Byte>, 2>;

// A read-only view of a buffer as a ring of bytes: those received and not yet
// sent. Owns nothing: it refers to a buffer and to its RingContent.
class RingView {
 public:
  // At most 2^31 bytes. A ring without bytes is both empty and full.
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

  // The bytes to send next. After sending, call RingBuffer::Consume.
  RingSpans<const std::byte> readable() const noexcept {
    const auto [first, second] = Wrap(head(), size());
    return {first, second};
  }

  // The same for writev(2). Returns how many of the two entries to pass.
  int ReadableIovecs(std::span<iovec, 2> out) const noexcept {
    return Fill(Wrap(head(), size()), out);
  }

 protected:
  // `n` bytes from `start` on, wrapping at the end. Requires start <
  // capacity(), or that both are 0.
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

// A view to read and write. A session releases a buffer whose ring is empty.
//
// Threads: one at a time.
// Cost:    constant; only Write and Read copy.
class RingBuffer : public RingView {
 public:
  RingBuffer(std::span<std::byte> storage, RingContent& content) noexcept
      : RingView(storage, content), content_(content) {}

  // Where to receive bytes. After receiving, call Commit.
  RingSpans<std::byte> writable() const noexcept {
    return Wrap(Around(head() + size()), space());
  }

  // The same for readv(2). Returns how many of the two entries to pass.
  int WritableIovecs(std::span<iovec, 2> out) const noexcept {
    return Fill(writable(), out);
  }

  // Records that `n` bytes of writable() have been filled. Requires n <=
  // space().
  void Commit(size_t n) const noexcept {
    assert(n <= space());
    content_.size += static_cast<uint32_t>(n);
  }

  // Removes the first `n` bytes of readable(). Requires n <= size().
  void Consume(size_t n) const noexcept {
    assert(n <= size());
    content_.size -= static_cast<uint32_t>(n);
    // An empty ring starts again at 0, so that it is one span.
    content_.head =
        empty() ? 0 : static_cast<uint32_t>(Around(content_.head + n));
  }

  // Copies as much of `bytes` as fits. Returns the number of bytes.
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

  // Moves bytes to `out`, as many as fit. Returns the number of bytes.
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
  // Wraps a position that is less than two capacities from the start.
  size_t Around(size_t at) const noexcept {
    return at < capacity() ? at : at - capacity();
  }

  RingContent& content_;
};

}  // namespace tandem

#endif  // TANDEM_SESSION_RING_BUFFER_H_
