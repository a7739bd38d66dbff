// What the largest pool costs at creation, and what the caches of 1,000 threads
// cost a thread that needs what is in them, or finds them empty:
//
//   bazel run -c opt //bench:extremes
//
// Medians of seven. The threads sleep while one thread is timed.

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <latch>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "tandem/pool/buffer_pool.h"
#include "tandem/pool/types.h"

namespace tandem::bench {
namespace {

constexpr int kRepetitions = 7;
constexpr uint32_t kThreads = 1'000;
constexpr uint32_t kEach = 200;  // buffers in each thread's cache

using Times = std::array<double, kRepetitions>;

double Median(Times times) {
  std::ranges::sort(times);
  return times[kRepetitions / 2];
}

void CheckGot(bool got) {
  if (!got) std::abort();
}

template <class Work>
double Microseconds(Work work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::micro>(
             std::chrono::steady_clock::now() - start)
      .count();
}

// Mebibytes of this process in memory.
double Resident() {
  size_t all = 0;
  size_t resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return static_cast<double>(resident) * static_cast<double>(getpagesize()) /
         (1 << 20);
}

void Create() {
  Times times;
  double resident = 0;
  for (double& time : times) {
    std::unique_ptr<BufferPool> pool;
    const double before = Resident();
    time = Microseconds([&] {
      pool = *BufferPool::Create({.buffer_size = 64, .capacity = kMaxCapacity});
    });
    resident = std::max(resident, Resident() - before);
  }
  std::printf("Create of 2^24 - 1 buffers of 64 bytes: %.2f ms, %.2f MiB\n",
              Median(times) / 1'000, resident);
}

// 1,000 threads that have left `each` buffers in their caches, and sleep.
class Sleepers {
 public:
  Sleepers(BufferPool& pool, size_t each) {
    for (uint32_t i = 0; i < kThreads; ++i) {
      threads_.emplace_back([this, &pool, each] {
        std::array<std::byte*, kEach> buffers;
        // Often enough for the cache to become biased.
        for (int round = 0; round < 1'000; ++round) {
          CheckGot((buffers[0] = pool.Acquire()) != nullptr);
          pool.Release(buffers[0]);
        }
        const auto some = std::span(buffers).first(each);
        CheckGot(pool.AcquireMany(some));
        all_have_.arrive_and_wait();
        pool.ReleaseMany(some);
        ready_.count_down();
        end_.wait();
      });
    }
    ready_.wait();
  }
  ~Sleepers() {
    end_.count_down();
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::latch all_have_{kThreads};
  std::latch ready_{kThreads};
  std::latch end_{1};
  std::vector<std::thread> threads_;
};

void ManyThreads() {
  Times taking;
  Times failing;
  for (int i = 0; i < kRepetitions; ++i) {
    const auto pool = *BufferPool::Create({.buffer_size = 64,
                                           .capacity = kThreads * kEach,
                                           .reserve = 0,
                                           .cache_size = kEach,
                                           .max_threads = kThreads + 1});
    std::vector<std::byte*> all(kThreads * kEach);
    const Sleepers sleepers(*pool, kEach);
    taking[i] = Microseconds([&] {
      for (std::byte*& buffer : all) {
        CheckGot((buffer = pool->Acquire()) != nullptr);
      }
    });
    constexpr int kFailures = 1'000;
    failing[i] = Microseconds([&] {
      for (int j = 0; j < kFailures; ++j) CheckGot(pool->Acquire() == nullptr);
    });
    failing[i] /= kFailures;
    pool->ReleaseMany(all);
  }
  std::printf(
      "1,000 threads: 200,000 buffers, one by one, out of all caches: "
      "%.2f ms\n",
      Median(taking) / 1'000);
  std::printf(
      "1,000 threads: an Acquire that fails, all caches empty: %.2f us\n",
      Median(failing));
}

}  // namespace
}  // namespace tandem::bench

int main() {
  tandem::bench::Create();
  tandem::bench::ManyThreads();
}
