// P3, P4: a thread parked for an hour, in a signal handler or in the middle of
// a restartable section, with a full cache. Another thread takes every buffer
// except those in its hands. In exhaustion_test a thread is blocked in read(2).

#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

constexpr uint32_t kCapacity = 40;
constexpr uint32_t kCacheSize = 8;

// True if the signal has interrupted a restartable section: the kernel has gone
// to its abort handler, which the signature before it identifies.
bool InterruptedASection([[maybe_unused]] const void* context) {
#ifdef __x86_64__
  constexpr uint32_t kSignature = 0x53053053;
  const auto& registers =
      static_cast<const ucontext_t*>(context)->uc_mcontext.gregs;
  uint32_t before;
  std::memcpy(
      &before,
      reinterpret_cast<const char*>(registers[REG_RIP]) - sizeof(before),
      sizeof(before));
  return before == kSignature;
#else
  return false;
#endif
}

// The data for the handler of one parked thread.
struct Parking {
  Gate gate;
  bool only_in_a_section;
  std::atomic<bool> parked{false};
};
std::atomic<Parking*> parking = nullptr;

void ParkInHandler(int, siginfo_t*, void* context) {
  Parking* const here = parking;
  if (here == nullptr || here->parked) return;
  if (here->only_in_a_section && !InterruptedASection(context)) return;
  here->parked = true;
  here->gate.Wait();
}

class ParkedThreadTest : public BothWaysTest {
 protected:
  ParkedThreadTest() {
    struct sigaction action = {};
    action.sa_sigaction = ParkInHandler;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    sigaction(SIGUSR1, &action, nullptr);
  }
  ~ParkedThreadTest() override { signal(SIGUSR1, SIG_DFL); }

  // Lets a thread take and return `count` buffers at a time, with one kind of
  // operation for each count, and parks it by a signal, wherever it is.
  // Meanwhile takes every buffer. Lets the thread continue, and checks that no
  // buffer is lost.
  void CheckParked(size_t count, bool in_a_section, int rounds) {
    Companion worker;
    pthread_t id;
    worker.Run([&] { id = pthread_self(); });
    for (int round = 0; round < rounds && !HasFailure(); ++round) {
      // A new thread, whose cache has never lost its bias.
      const auto pool = NewPool(
          {.buffer_size = 64, .capacity = kCapacity, .cache_size = kCacheSize});
      worker.Run([&] { FillCache(*pool); });
      Parking here = {.gate = {}, .only_in_a_section = in_a_section};
      parking = &here;
      std::atomic<bool> stop = false;
      uint64_t errors = 0;
      worker.Start([&] {
        while (!stop) errors += TakeAndReturn(*pool, count);
      });
      while (!here.parked) {
        pthread_kill(id, SIGUSR1);
        for (int i = 0; i < 20 && !here.parked; ++i) {
          std::this_thread::yield();
        }
      }
      std::vector<std::byte*> taken = TakeAll(*pool);
      // In its hands: what it asked for, and a batch.
      EXPECT_GE(taken.size() + count + kCacheSize / 2, kCapacity);
      // In a section it has nothing else.
      if (in_a_section) {
        EXPECT_GE(taken.size() + count, kCapacity);
      }
      EXPECT_EQ(pool->Snapshot().refusals, 0u);
      for (std::byte* const buffer : taken) {
        EXPECT_TRUE(Mark(buffer, 2)) << "in two hands";
      }
      parking = nullptr;
      here.gate.Open();
      std::this_thread::yield();
      for (std::byte* const buffer : taken) {
        EXPECT_TRUE(Unmark(buffer, 2)) << "in two hands";
      }
      pool->ReleaseMany(taken);
      stop = true;
      worker.Wait();
      EXPECT_EQ(errors, 0u) << "in two hands";
      // Signals that are still on their way find it in this state.
      worker.Run([] {});
      ExpectAtRest(*pool, 0);
      ExpectCanTake(*pool, kCapacity);
    }
    worker.Finish();
  }

 private:
  // Returns how many buffers turned out to belong to another thread.
  static uint64_t TakeAndReturn(BufferPool& pool, size_t count) {
    std::array<std::byte*, kCacheSize> storage;
    const auto buffers = std::span(storage).first(count);
    if (!AcquireInto(pool, buffers)) return 0;
    uint64_t errors = 0;
    for (std::byte* const buffer : buffers) {
      errors += !Mark(buffer, 1) || !Unmark(buffer, 1);
    }
    ReleaseAll(pool, buffers);
    return errors;
  }
};

TEST_P(ParkedThreadTest, InASignalHandlerHidesWhatItAskedForAndABatch) {
  for (const size_t count : {1, 2, 5})
    CheckParked(count, false, kAsan ? 10 : 50);
}

TEST_P(ParkedThreadTest, InTheMiddleOfASectionHidesWhatItAskedFor) {
#ifndef __x86_64__
  GTEST_SKIP() << "does not know a section's registers";
#endif
  if (!NewPool({})->Snapshot().biased) GTEST_SKIP() << "no sections here";
  if (kAsan) GTEST_SKIP() << "it is hardly ever in one";
  for (const size_t count : {1, 2, 5}) CheckParked(count, true, 5);
}

INSTANTIATE_TEST_SUITE_P(Pool, ParkedThreadTest, BothWays(), BiasName);

}  // namespace
}  // namespace tandem
