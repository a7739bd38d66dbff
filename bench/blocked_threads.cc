#include "tandem/bench/blocked_threads.h"

#include <sys/resource.h>
#include <sys/time.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "tandem/bench/fair_list.h"
#include "tandem/bench/peers.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/session/blocking_wait.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"

namespace tandem::bench {
namespace {

constexpr size_t kBuffers = 8;
constexpr auto kRun = std::chrono::milliseconds(500);
constexpr int kRuns = 3;

class TandemThreads {
 public:
  static constexpr char kName[] = "Tandem";

  // One thread's session. Take returns true if it had to wait.
  class Session {
   public:
    explicit Session(TandemThreads& peer) : buffers_(*peer.allocator_) {}
    bool Take() {
      const Allocation result = buffers_.AllocateBuffers(BlockingWaker());
      if (result == Allocation::kGranted) return false;
      if (result != Allocation::kWaiting ||
          BlockUntilServed(buffers_) != WaitStatus::kGranted) {
        std::abort();
      }
      return true;
    }
    void Release() { buffers_.ReleaseBuffers(); }

   private:
    SessionBuffers buffers_;
  };

 private:
  std::unique_ptr<BufferPool> pool_ =
      *BufferPool::Create({.buffer_size = kBufferSize, .capacity = kBuffers});
  std::unique_ptr<SessionAllocator> allocator_ =
      *SessionAllocator::Create(pool_.get());
};

class FairThreads {
 public:
  static constexpr char kName[] = "fair list";

  class Session : FairList::Waiter {
   public:
    explicit Session(FairThreads& peer) : list_(peer.list_) {}
    bool Take() {
      // relaxed: the list's mutex orders it before the wake-up's store.
      woken_.store(0, std::memory_order::relaxed);
      if (list_.TakeOrWait(*this)) return false;
      woken_.wait(0);
      return true;
    }
    void Release() {
      const std::array<std::byte*, 2> pair = {buffers[0], buffers[1]};
      list_.Release(pair, [](FairList::Waiter& served) {
        auto& woken = static_cast<Session&>(served).woken_;
        woken.store(1);
        woken.notify_one();
      });
    }

   private:
    FairList& list_;
    std::atomic<uint32_t> woken_{0};
  };

 private:
  FairList list_{kBuffers};
};

double Nanos(const timeval& time) {
  return 1e9 * static_cast<double>(time.tv_sec) +
         1e3 * static_cast<double>(time.tv_usec);
}

// What the process has used so far.
struct Usage {
  static Usage Now() {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return {.user = Nanos(usage.ru_utime),
            .system = Nanos(usage.ru_stime),
            .sleeps = static_cast<double>(usage.ru_nvcsw),
            .turns = static_cast<double>(usage.ru_nivcsw)};
  }
  double user;    // nanoseconds
  double system;  // nanoseconds
  double sleeps;  // switches of a thread that cannot go on
  double turns;   // switches of a thread that could
};

template <class Peer>
void Measure(int thread_count) {
  Peer peer;
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> pairs{0};
  std::atomic<uint64_t> waits{0};
  const Usage before = Usage::Now();
  std::vector<std::thread> threads;
  for (int i = 0; i < thread_count; ++i) {
    threads.emplace_back([&] {
      typename Peer::Session session(peer);
      uint64_t own_pairs = 0;
      uint64_t own_waits = 0;
      for (; !stop; ++own_pairs) {
        own_waits += session.Take() ? 1 : 0;
        // As a session that processes would let other threads run.
        std::this_thread::yield();
        session.Release();
      }
      pairs += own_pairs;
      waits += own_waits;
    });
  }
  std::this_thread::sleep_for(kRun);
  stop = true;
  for (std::thread& thread : threads) thread.join();
  const Usage after = Usage::Now();
  const auto per_pair = [&](double Usage::*what) {
    return (after.*what - before.*what) / static_cast<double>(pairs);
  };
  std::printf(
      "| %-9s | %7d | %8llu | %4.0f %% | %5.0f | %6.0f | %6.3f | %5.2f |\n",
      Peer::kName, thread_count, static_cast<unsigned long long>(pairs),
      100 * static_cast<double>(waits) / static_cast<double>(pairs),
      per_pair(&Usage::user), per_pair(&Usage::system),
      per_pair(&Usage::sleeps), per_pair(&Usage::turns));
}

}  // namespace

void MeasureBlockedThreads() {
  std::printf(
      "\nThreads that block, %zu buffers; of a pair: nanoseconds of processor "
      "time, sleeps, other switches\n\n"
      "| who       | threads | pairs | waited | user | kernel | sleeps | "
      "turns |\n|---|--:|--:|--:|--:|--:|--:|--:|\n",
      kBuffers);
  for (int run = 0; run < kRuns; ++run) {
    for (const int threads : {8, 16}) {
      Measure<TandemThreads>(threads);
      Measure<FairThreads>(threads);
    }
  }
}

}  // namespace tandem::bench
