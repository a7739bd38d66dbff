// P10, S4, S5: what random signals hit once in a million, hit for certain: at
// every single instruction of what a session does, a handler that uses
// sessions.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/pool/stepper.h"
#include "tandem/tests/pool/testing.h"
#include "tandem/tests/session/session_test_util.h"

namespace tandem {
namespace {

constexpr uint32_t kCapacity = 8;

// A session, with all that may be done to it whatever it is doing.
struct Party {
  explicit Party(Service& service) : session(service.sessions()) {}

  void Receive() { (void)session.AllocateReceiveBuffer(Side::kRequest, wakes); }
  void Pair() { (void)session.AllocateBuffers(wakes); }
  void PairOrNone() { (void)session.AllocateBuffers(); }
  void Cancel() { cancels += session.CancelWait(); }
  void Finish() { (void)session.FinishWait(); }
  void Release() { session.ReleaseBuffers(); }
  void Leave() {
    Cancel();
    Finish();
    Release();
  }

  SessionBuffers session;
  CountingWaker wakes;
  uint64_t cancels = 0;
};

// A pool, whose buffers somebody may have, and those who use it: the thread,
// its handler, and one that looks on.
struct Scene {
  explicit Scene(Bias bias)
      : service({.capacity = kCapacity,
                 .reserve = 1,
                 .cache_size = 4,
                 .bias = bias}) {
    FillCache(service.pool());
  }
  void TakeAllBut(size_t leave) {
    taken = TakeAll(service.pool());
    while (leave-- > 0) GiveBack();
  }
  void GiveBack() {
    if (taken.empty()) return;
    std::byte* const buffer = taken.back();
    taken.pop_back();
    service.pool().Release(buffer);
  }

  Service service;
  std::vector<std::byte*> taken;
  Party thread{service}, handler{service}, other{service};
};

struct Step {
  const char* name;
  void (*run)(Scene& scene);
};

constexpr Step kBeginnings[] = {
    {"with plenty", [](Scene&) {}},
    {"with two left", [](Scene& scene) { scene.TakeAllBut(2); }},
    {"with all waiting",
     [](Scene& scene) {
       scene.TakeAllBut(1);
       scene.thread.Pair();
       scene.handler.Pair();
       scene.other.Pair();
     }},
    {"with one waiting for the others'",
     [](Scene& scene) {
       scene.thread.Pair();
       scene.handler.Receive();
       scene.TakeAllBut(0);
       scene.other.Pair();
     }},
};

constexpr Step kOperations[] = {
    {"receive", [](Scene& scene) { scene.thread.Receive(); }},
    {"pair", [](Scene& scene) { scene.thread.Pair(); }},
    {"try", [](Scene& scene) { scene.thread.PairOrNone(); }},
    {"cancel", [](Scene& scene) { scene.thread.Cancel(); }},
    {"finish", [](Scene& scene) { scene.thread.Finish(); }},
    {"release", [](Scene& scene) { scene.thread.Release(); }},
};

constexpr Step kInterruptions[] = {
    {"asking", [](Scene& scene) { scene.handler.Pair(); }},
    {"leaving", [](Scene& scene) { scene.handler.Leave(); }},
    {"coming and going",
     [](Scene& scene) {
       scene.handler.Receive();
       scene.handler.Pair();
       scene.handler.Leave();
     }},
    {"giving back",
     [](Scene& scene) {
       scene.GiveBack();
       scene.GiveBack();
     }},
};

class InterruptedSessionTest : public BothWaysTest {
 protected:
  // No wake-up is lost, exactly one of grant and cancel has ended each wait,
  // and no buffer is missing.
  static void CheckEnd(Scene& scene) {
    SessionAllocator& sessions = scene.service.sessions();
    bool is_first = true;
    for (const WaitClassSnapshot& c : sessions.Snapshot().classes) {
      if (c.waiting == 0 || !std::exchange(is_first, false)) continue;
      EXPECT_LT(scene.service.Free(), c.name == "complete" ? 1u : 2u)
          << c.name << " was forgotten";
    }
    uint64_t wakes = 0;
    uint64_t cancels = 0;
    for (Party* const party : {&scene.thread, &scene.handler, &scene.other}) {
      party->Leave();
      wakes += party->wakes.calls();
      cancels += party->cancels;
    }
    scene.service.pool().ReleaseMany(scene.taken);
    for (const WaitClassSnapshot& c : sessions.Snapshot().classes) {
      EXPECT_EQ(c.waits, c.grants + c.cancels);
      wakes -= std::min(wakes, c.grants);
      cancels -= c.cancels;
    }
    EXPECT_EQ(wakes, 0u) << "more than were granted";
    EXPECT_EQ(cancels, 0u);
    ExpectAtRest(scene.service.pool(), 0);
    ExpectCanTake(scene.service.pool(), kCapacity);
  }
};

TEST_P(InterruptedSessionTest, ByAHandlerThatUsesSessions) {
  if (!Stepper::Works()) GTEST_SKIP() << "needs single steps";
  for (const Step& beginning : kBeginnings) {
    for (const Step& operation : kOperations) {
      for (const Step& interruption : kInterruptions) {
        SCOPED_TRACE(std::string(interruption.name) + " in " + operation.name +
                     " " + beginning.name);
        Scene scene(GetParam());
        beginning.run(scene);
        Stepper::InterruptEverywhere([&] { operation.run(scene); },
                                     [&] { interruption.run(scene); },
                                     [&] { CheckEnd(scene); }, /*stride=*/11);
        if (HasFailure()) return;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Session, InterruptedSessionTest, BothWays(), BiasName);

}  // namespace
}  // namespace tandem
