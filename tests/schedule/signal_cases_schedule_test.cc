#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/types.h"
#include "tandem/session/waiter_queue.h"
#include "tandem/tests/schedule/explore.h"
#include "tandem/tests/schedule/queue_world.h"
#include "tandem/tests/schedule/relacy_platform.h"

namespace tandem {
namespace {

constexpr QueueShape kShape{.pool = {.capacity = 3,
                                     .caches = 1,
                                     .reserve = 1,
                                     .cache_limit = 2,
                                     .biased = true,
                                     .cores = 1}};

// Every operation, interrupted at every step by every operation, with none, one
// or two of three buffers free, and a session that waits if there are too few
// for it. With one thread there is nothing to preempt: a search tries every
// step at which the signal may come.
struct EveryOperation : ScheduleTest<EveryOperation, QueueWorld<kShape>, 1> {
  enum Operation { kAcquire, kRelease, kReceiveOne, kTakePair, kJoin, kCancel };
  static constexpr unsigned kOperations = 6;

  // The state of one of the two parties, the thread or its handler.
  struct Part {
    Waiter& waiter;
    std::byte*& buffer;
  };

  void before() {
    world().ClaimCaches();
    world().TakeFirst(buffers);
    for (unsigned n = rl::rand(3); n != 0; --n) {
      Release(&world().CacheOf(0), buffers[n - 1]);
    }
    if (rl::rand(2) == 0) world().Allocate(world().waiters[2], kPair);
  }
  void thread(unsigned) {
    const auto operation = static_cast<Operation>(rl::rand(kOperations));
    ArmSignal(
        kAnyStep,
        [](void* self) {
          auto& test = *static_cast<EveryOperation*>(self);
          test.Run(static_cast<Operation>(rl::rand(kOperations)),
                   {test.world().waiters[1], test.buffers[1]});
        },
        this);
    Run(operation, {world().waiters[0], buffers[0]});
    DisarmSignal();
  }
  void Run(Operation operation, Part part) {
    switch (operation) {
      case kAcquire: {
        std::byte* buffer;
        if (!world().core.Take(world().cache(), {&buffer, 1},
                               {0, ClassId{2}})) {
          return;
        }
        world().custody.Take({&buffer, 1});
        return Release(world().cache(), buffer);
      }
      case kRelease:
        return Release(world().cache(), part.buffer);
      case kReceiveOne:
        world().Allocate(part.waiter, ClassId{2});
        return;
      case kTakePair:
        world().Allocate(part.waiter, kPair);
        return;
      case kJoin:
        if (!world().Allocate(part.waiter, kComplete)) {
          world().Cancel(part.waiter);
        }
        return;
      case kCancel:
        world().Cancel(world().waiters[2]);
    }
  }
  void Release(QueueWorld<kShape>::Core::Cache* cache, std::byte*& buffer) {
    if (buffer == nullptr) return;
    std::byte* const released = buffer;
    buffer = nullptr;
    world().custody.Give({&released, 1});
    world().core.Give(cache, {&released, 1});
  }
  void after() {
    world().RequireNobodySleepsOnBuffers();
    for (std::byte*& buffer : buffers) Release(nullptr, buffer);
    world().RequireNobodySleepsOnBuffers();
    world().RequireWholeAgain();
  }

  std::array<std::byte*, 3> buffers;
};

// P10
TEST(SignalCases, SignalHandlerInsideEveryOperation) {
  ExploreAll<EveryOperation>({0, 0});
}

}  // namespace
}  // namespace tandem
