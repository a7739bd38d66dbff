#ifndef TANDEM_POOL_CACHE_HANDLER_GUARD_H_
#define TANDEM_POOL_CACHE_HANDLER_GUARD_H_

#include <atomic>
#include <cstdint>

namespace tandem {

// Hides something that one thread uses from that thread's signal handlers. A
// handler runs to its end before the thread continues, so two plain stores
// suffice. All zeros are a guard that hides nothing.
//
// Threads: the thread that uses what is guarded, and its signal handlers.
template <class Platform>
class HandlerGuard {
 public:
  HandlerGuard() : hidden_(0) {}

  // Hides while it lives, unless it was hidden already: then this is in a
  // handler, which must do without.
  class Scope {
   public:
    explicit Scope(HandlerGuard& guard)
        : guard_(guard), hides_(!guard.hidden()) {
      if (hides_) Set(1);
    }
    ~Scope() {
      if (hides_) Set(0);
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

    bool hides() const { return hides_; }

   private:
    void Set(uint32_t value) {
      // relaxed, between signal fences: read only by this very thread.
      Platform::SignalFence();
      guard_.hidden_.store(value, std::memory_order::relaxed);
      Platform::SignalFence();
    }
    HandlerGuard& guard_;
    const bool hides_;
  };

  bool hidden() const {
    // relaxed: written by this very thread.
    return hidden_.load(std::memory_order::relaxed) != 0;
  }

 private:
  typename Platform::template OwnAtomic<uint32_t> hidden_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_CACHE_HANDLER_GUARD_H_
