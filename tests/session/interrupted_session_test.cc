// P10, S4, S5: a handler that uses sessions, at every single instruction of a
// session's operations, those of its inlined paths included. Random signals
// would hit some of these once in a million times.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "gtest/gtest.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/pool/stepper.h"
#include "tandem/tests/pool/testing.h"
#include "tandem/tests/support/service.h"
#include "tandem/tests/support/waiting_session.h"

namespace tandem {
namespace {

constexpr uint32_t kCapacity = 8;
constexpr char kBulk[] = "bulk";
constexpr uint32_t kBulkKeep = 2;

// A session, and everything that a caller may do to it in any state. It never
// asks for more than it waits for already, because the answer kWaiting would
// not tell whether that is a new wait.
class Party {
 public:
  explicit Party(Service& service)
      : bulk_(service.sessions().FindClass(kBulk).value()), session_(service) {}

  void Receive() { Note(session_.Receive()); }
  void Bulk() { Note(session_.As(bulk_, Side::kResponse)); }
  void Pair() { Note(session_.Pair()); }
  void PairOrNone() { Note(session_.AllocateBuffers()); }
  void Cancel() {
    if (!session_.CancelWait()) return;
    ++cancels_;
    is_waiting_ = false;
  }
  void Finish() {
    if (session_.FinishWait() != WaitStatus::kWaiting) is_waiting_ = false;
  }
  void Release() {
    for (const Side side : kSides) Drain(session_, side);
    session_.ReleaseBuffers();
  }
  void Leave() {
    Cancel();
    Finish();
    Release();
  }

  SessionBuffers& session() { return session_; }
  uint64_t wakes() const { return session_.wakes(); }
  uint64_t waits() const { return waits_; }
  uint64_t cancels() const { return cancels_; }

 private:
  void Note(Allocation answer) {
    const bool was_waiting = is_waiting_;
    is_waiting_ = answer == Allocation::kWaiting;
    if (is_waiting_ && !was_waiting) ++waits_;
  }

  const ClassId bulk_;
  WaitingSession session_;
  uint64_t waits_ = 0;
  uint64_t cancels_ = 0;
  bool is_waiting_ = false;
};

// A pool, some of whose buffers may be taken, and its users: the thread, its
// handler, and one that only looks.
struct Scene {
  explicit Scene(Bias bias)
      : service(
            {.capacity = kCapacity,
             .reserve = 1,
             .cache_size = 4,
             .bias = bias},
            {.classes = {{.name = kBulk, .keep = kBulkKeep, .rank = 150}}}) {
    FillCache(service.pool());
  }

  Service service;
  Party thread{service}, handler{service}, other{service};
};

struct Step {
  const char* name;
  void (*run)(Scene& scene);
};

constexpr Step kOperations[] = {
    {"receive", [](Scene& scene) { scene.thread.Receive(); }},
    {"bulk", [](Scene& scene) { scene.thread.Bulk(); }},
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
    {"giving back", [](Scene& scene) { scene.service.GiveBack(2); }},
    {"without a session",
     [](Scene& scene) {
       BufferPool& pool = scene.service.pool();
       std::byte* const one = pool.Acquire();
       std::array<std::byte*, 3> three;
       if (pool.AcquireMany(three)) pool.ReleaseMany(three);
       if (one != nullptr) pool.Release(one);
     }},
};

class InterruptedSessionTest : public BothWaysTest {
 protected:
  // Starts again for each operation and each handler in it.
  void CheckAllPairs(void (*begin)(Scene& scene)) {
    if (!Stepper::Works()) GTEST_SKIP() << "needs single steps";
    for (const Step& operation : kOperations) {
      for (const Step& interruption : kInterruptions) {
        SCOPED_TRACE(std::string(interruption.name) + " in " + operation.name);
        Scene scene(GetParam());
        begin(scene);
        Stepper::InterruptEverywhere([&] { operation.run(scene); },
                                     [&] { interruption.run(scene); },
                                     [&] { CheckEnd(scene); }, /*stride=*/17);
        if (HasFailure()) return;
      }
    }
  }

 private:
  // Every session that could be served was served, exactly one of wake-up and
  // cancel has ended each wait, and no buffer is missing.
  static void CheckEnd(Scene& scene) {
    SessionAllocator& sessions = scene.service.sessions();
    for (const WaitClassSnapshot& c : sessions.Snapshot().classes) {
      if (c.waiting == 0) continue;
      EXPECT_LT(scene.service.Free(), EnoughFor(c.name))
          << c.name << " was forgotten";
      break;
    }
    uint64_t cancels = 0;
    for (Party* const party : {&scene.thread, &scene.handler, &scene.other}) {
      party->Leave();
      EXPECT_EQ(party->wakes(), party->waits() - party->cancels());
      cancels += party->cancels();
    }
    scene.service.GiveBackAll();
    for (const WaitClassSnapshot& c : sessions.Snapshot().classes) {
      EXPECT_EQ(c.waits, c.grants + c.cancels);
      cancels -= c.cancels;
    }
    EXPECT_EQ(cancels, 0u);
    ExpectAtRest(scene.service.pool(), 0);
    ExpectCanTake(scene.service.pool(), kCapacity);
  }

  // The number of free buffers that a class waits for.
  static uint32_t EnoughFor(std::string_view name) {
    if (name == "complete") return 1;
    return name == kBulk ? 1 + kBulkKeep : 2;
  }
};

TEST_P(InterruptedSessionTest, WithPlenty) {
  CheckAllPairs([](Scene&) {});
}

TEST_P(InterruptedSessionTest, WithTwoLeft) {
  CheckAllPairs([](Scene& scene) { scene.service.TakeAllBut(2); });
}

TEST_P(InterruptedSessionTest, WithAllWaiting) {
  CheckAllPairs([](Scene& scene) {
    scene.service.TakeAllBut(1);
    scene.thread.Pair();
    scene.handler.Pair();
    scene.other.Pair();
  });
}

TEST_P(InterruptedSessionTest, WithOneThatWaitsForTheOthers) {
  CheckAllPairs([](Scene& scene) {
    scene.thread.Pair();
    scene.handler.Receive();
    scene.service.TakeAllBut(0);
    scene.other.Pair();
  });
}

// The thread serves the handler's session, which may end meanwhile.
TEST_P(InterruptedSessionTest, WithAPairThatOthersWaitFor) {
  CheckAllPairs([](Scene& scene) {
    scene.thread.Pair();
    scene.service.TakeAllBut(0);
    scene.handler.Pair();
    scene.other.Pair();
  });
}

TEST_P(InterruptedSessionTest, WithDataAndNothingLeft) {
  CheckAllPairs([](Scene& scene) {
    HoldOne(scene.thread.session());
    scene.service.TakeAllBut(0);
    scene.other.Bulk();
  });
}

TEST_P(InterruptedSessionTest, WithDataAndAllWaiting) {
  CheckAllPairs([](Scene& scene) {
    HoldOne(scene.thread.session());
    scene.service.TakeAllBut(0);
    scene.other.Bulk();
    scene.handler.Pair();
    scene.thread.Pair();
  });
}

INSTANTIATE_TEST_SUITE_P(Session, InterruptedSessionTest, BothWays(), BiasName);

}  // namespace
}  // namespace tandem
