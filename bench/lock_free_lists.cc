#include "tandem/bench/lock_free_lists.h"

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "tandem/bench/names.h"
#include "tandem/bench/peers.h"
#include "tandem/bench/registration.h"
#include "tandem/bench/stranding.h"
#include "tandem/bench/take_and_return.h"

#if __has_include(<boost/lockfree/stack.hpp>)
#include <boost/lockfree/stack.hpp>
#define TANDEM_BENCH_HAS_BOOST
#endif
#if __has_include(<concurrentqueue/concurrentqueue.h>)
#include <concurrentqueue/concurrentqueue.h>
#define TANDEM_BENCH_HAS_MOODYCAMEL
#endif

namespace tandem::bench {
namespace {

template <class Peer>
void RegisterList(const char* peer) {
  RegisterTakeAndReturn<Peer>(peer, {{1, 2}});
  Register(kBigBurst, peer, Burst<Peer, kBigBurstSize>, {{1, 2}});
  Register(kHandOff, peer, HandOff<Peer>, {{2}});
  RegisterStranding<Peer>(peer);
}

#ifdef TANDEM_BENCH_HAS_BOOST
// Many buffers are returned by one push of a chain. There is no function that
// takes many.
class BoostStack {
 public:
  explicit BoostStack(int /*thread*/) : stack_(Shared()) {}

  std::byte* Acquire() {
    std::byte* buffer;
    return stack_.pop(buffer) ? buffer : nullptr;
  }
  void Release(std::byte* buffer) { CheckGot(stack_.bounded_push(buffer)); }
  bool AcquireMany(std::span<std::byte*> out) {
    for (size_t taken = 0; taken < out.size(); ++taken) {
      if ((out[taken] = Acquire()) == nullptr) [[unlikely]] {
        ReleaseMany(out.first(taken));
        return false;
      }
    }
    return true;
  }
  void ReleaseMany(std::span<std::byte* const> buffers) {
    CheckGot(stack_.bounded_push(buffers.begin(), buffers.end()) ==
             buffers.end());
  }

 private:
  // Its nodes are allocated at the start: `bounded_push` allocates no others.
  using Stack = boost::lockfree::stack<std::byte*>;
  static Stack& Shared() {
    static Stack& stack = []() -> Stack& {
      Stack& made = *new Stack(kCapacity);
      for (size_t i = 0; i < kCapacity; ++i) {
        CheckGot(made.bounded_push(BufferAddress(i)));
      }
      return made;
    }();
    return stack;
  }

  Stack& stack_;
};

void RegisterBoost(std::vector<std::string>& /*missing*/) {
  RegisterList<BoostStack>(kBoostStack);
}
#else
void RegisterBoost(std::vector<std::string>& missing) {
  missing.push_back(
      "boost_stack: Boost was not there when this was built. Debian 12: "
      "apt-get install libboost-dev");
}
#endif

#ifdef TANDEM_BENCH_HAS_MOODYCAMEL
// It has a queue for each thread that has returned a buffer. A taking thread
// looks into one queue after the other, and may find each empty although there
// are thousands of buffers: buffers move from a queue that it has not seen to
// one that it has. Hence the tries. It uses tokens, which the manual recommends
// for speed.
class Moodycamel {
 public:
  explicit Moodycamel(int /*thread*/) : queue_(Shared()), tokens_(Own()) {}

  std::byte* Acquire() {
    std::byte* buffer = nullptr;
    for (int i = 0; i < kTries; ++i) {
      if (queue_.try_dequeue(tokens_.consumer, buffer)) [[likely]] {
        return buffer;
      }
    }
    return nullptr;
  }
  void Release(std::byte* buffer) {
    CheckGot(queue_.enqueue(tokens_.producer, buffer));
  }
  bool AcquireMany(std::span<std::byte*> out) {
    size_t taken = 0;
    // One call may stop at the end of one thread's queue.
    for (int i = 0; i < kTries; ++i) {
      taken += queue_.try_dequeue_bulk(tokens_.consumer, out.data() + taken,
                                       out.size() - taken);
      if (taken == out.size()) [[likely]] {
        return true;
      }
    }
    ReleaseMany(out.first(taken));
    return false;
  }
  void ReleaseMany(std::span<std::byte* const> buffers) {
    CheckGot(
        queue_.enqueue_bulk(tokens_.producer, buffers.data(), buffers.size()));
  }

 private:
  static constexpr int kTries = 16;
  using Queue = moodycamel::ConcurrentQueue<std::byte*>;
  struct Tokens {
    explicit Tokens(Queue& queue) : producer(queue), consumer(queue) {}
    moodycamel::ProducerToken producer;
    moodycamel::ConsumerToken consumer;
  };
  static Queue& Shared() {
    static Queue& queue = []() -> Queue& {
      Queue& made = *new Queue(kCapacity);
      for (size_t i = 0; i < kCapacity; ++i) {
        CheckGot(made.enqueue(BufferAddress(i)));
      }
      return made;
    }();
    return queue;
  }
  static Tokens& Own() {
    static thread_local Tokens own(Shared());
    return own;
  }

  Queue& queue_;
  Tokens& tokens_;
};

void RegisterMoodycamel(std::vector<std::string>& /*missing*/) {
  RegisterList<Moodycamel>(kMoodycamel);
}
#else
void RegisterMoodycamel(std::vector<std::string>& missing) {
  missing.push_back(
      "moodycamel: ConcurrentQueue was not there when this was built. Debian "
      "12: apt-get install libconcurrentqueue-dev");
}
#endif

}  // namespace

void RegisterLockFreeLists(std::vector<std::string>& missing) {
  RegisterBoost(missing);
  RegisterMoodycamel(missing);
}

}  // namespace tandem::bench
