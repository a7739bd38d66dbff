#ifndef TANDEM_BENCH_SPSC_RING_H_
#define TANDEM_BENCH_SPSC_RING_H_

#include <array>
#include <atomic>
#include <cstddef>

namespace tandem::bench {

// A bounded queue of pointers from one thread to one other. It carries buffers
// from the taking to the returning thread, in the same way for every peer.
//
// Each side keeps the other's position as it last saw it, and reads it again
// only if the ring then seems full or empty. So a shared cache line is read
// only once in a few items.
//
// Threads:  one pushes, one pops. Progress: wait-free.
template <class T, size_t kSlots>
class SpscRing {
 public:
  // False if it is full.
  bool TryPush(T* item) {
    const size_t tail = tail_.load(std::memory_order::relaxed);  // own word
    if (tail - head_seen_ == kSlots) {
      // (1) acquire: pairs with (4), so that the slot has been read.
      head_seen_ = head_.load(std::memory_order::acquire);
      if (tail - head_seen_ == kSlots) return false;
    }
    slots_[tail % kSlots] = item;
    // (2) release: pairs with (3), publishes the slot.
    tail_.store(tail + 1, std::memory_order::release);
    return true;
  }

  // Null if it is empty.
  T* TryPop() {
    const size_t head = head_.load(std::memory_order::relaxed);  // own word
    if (head == tail_seen_) {
      // (3) acquire: pairs with (2).
      tail_seen_ = tail_.load(std::memory_order::acquire);
      if (head == tail_seen_) return nullptr;
    }
    T* const item = slots_[head % kSlots];
    // (4) release: pairs with (1).
    head_.store(head + 1, std::memory_order::release);
    return item;
  }

 private:
  static constexpr size_t kLine = 64;

  alignas(kLine) std::atomic<size_t> tail_{0};
  size_t head_seen_ = 0;  // by who pushes
  alignas(kLine) std::atomic<size_t> head_{0};
  size_t tail_seen_ = 0;  // by who pops
  alignas(kLine) std::array<T*, kSlots> slots_ = {};
};

}  // namespace tandem::bench

#endif  // TANDEM_BENCH_SPSC_RING_H_
