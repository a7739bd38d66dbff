// P10: a handler at every single instruction of every operation. Random signals
// would hit some of these once in a million times.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/stepper.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

constexpr uint32_t kCapacity = 48;
PoolOptions Options(uint32_t cache_size = 8) {
  return {.buffer_size = 64,
          .capacity = kCapacity,
          .cache_size = cache_size,
          .max_threads = 4,
          .core_pools = 1};
}

class InterruptedTest : public BothWaysTest {
 protected:
  using Held = std::vector<std::byte*>;

  struct Operation {
    const char* name;
    std::function<void(BufferPool&, Held&)> run;
  };

  static Operation Taking(const char* name, size_t count) {
    return {name, [count](BufferPool& pool, Held& held) {
              std::array<std::byte*, 3> storage;
              const auto out = std::span(storage).first(count);
              if (AcquireInto(pool, out)) {
                held.insert(held.end(), out.begin(), out.end());
              }
            }};
  }
  static Operation Returning(const char* name, size_t count) {
    return {name, [count](BufferPool& pool, Held& held) {
              if (held.size() < count) return;
              ReleaseAll(pool, std::span(held).last(count));
              held.resize(held.size() - count);
            }};
  }
  static const std::vector<Operation>& Operations() {
    static const auto& operations = *new std::vector<Operation>{
        Taking("Acquire", 1),     Returning("Release", 1),
        Taking("AcquirePair", 2), Returning("ReleasePair", 2),
        Taking("AcquireMany", 3), Returning("ReleaseMany", 3),
    };
    return operations;
  }

  static const std::vector<Operation>& Interruptions() {
    static const auto& interruptions = *new std::vector<Operation>{
        {"take",
         [](BufferPool& pool, Held& held) {
           Operations()[0].run(pool, held);
           Operations()[2].run(pool, held);
           Operations()[4].run(pool, held);
         }},
        {"return",
         [](BufferPool& pool, Held& held) {
           Operations()[1].run(pool, held);
           Operations()[3].run(pool, held);
           Operations()[5].run(pool, held);
         }},
        // P5: the buffer that was on top is there again, and the one that was
        // below it is not.
        {"take two and return the first",
         [](BufferPool& pool, Held& held) {
           std::byte* const first = pool.Acquire();
           Operations()[0].run(pool, held);
           if (first != nullptr) pool.Release(first);
         }},
    };
    return interruptions;
  }

  // Brings a pool into a state for trying operations. Returns the buffers that
  // it leaves in the caller's hands.
  using Prepare = Held (*)(BufferPool&);

  void CheckAllPairs(Prepare prepare, const PoolOptions& options = Options()) {
    if (!Stepper::Works()) GTEST_SKIP() << "needs single steps";
    for (const Operation& outer : Operations()) {
      for (const Operation& inner : Interruptions()) {
        SCOPED_TRACE(std::string(inner.name) + " in " + outer.name);
        Check(prepare, options, outer, inner);
        if (HasFailure()) return;
      }
    }
  }

 private:
  void Check(Prepare prepare, const PoolOptions& options,
             const Operation& outer, const Operation& inner) {
    const auto pool = NewPool(options);
    Held all = prepare(*pool);
    const size_t half = all.size() / 2;
    Held mine(all.begin(), all.begin() + half);
    Held handlers(all.begin() + half, all.end());
    mine.reserve(kCapacity);
    handlers.reserve(kCapacity);
    Stepper::InterruptEverywhere(
        [&] { outer.run(*pool, mine); }, [&] { inner.run(*pool, handlers); },
        [&] {
          const size_t held = mine.size() + handlers.size();
          ExpectAtRest(*pool, static_cast<uint32_t>(held));
          ExpectCanTake(*pool, kCapacity - held);
          pool->ReleaseMany(mine);
          pool->ReleaseMany(handlers);
          ExpectCanTake(*pool, kCapacity);
        },
        /*stride=*/11);
  }
};

TEST_P(InterruptedTest, WithBuffersInTheCache) {
  CheckAllPairs([](BufferPool& pool) {
    FillCache(pool);
    Held held(10);
    for (std::byte*& buffer : held) buffer = pool.Acquire();
    return held;
  });
}

TEST_P(InterruptedTest, WithAFullCache) {
  CheckAllPairs([](BufferPool& pool) {
    Held held(30);
    for (std::byte*& buffer : held) buffer = pool.Acquire();
    while (pool.Snapshot().cached < 8) {
      pool.Release(held.back());
      held.pop_back();
    }
    return held;
  });
}

TEST_P(InterruptedTest, WithAnEmptyCache) {
  CheckAllPairs([](BufferPool& pool) {
    Held held(10);
    for (std::byte*& buffer : held) buffer = pool.Acquire();
    while (pool.Snapshot().cached != 0) held.push_back(pool.Acquire());
    return held;
  });
}

TEST_P(InterruptedTest, WithNothingLeft) {
  CheckAllPairs([](BufferPool& pool) {
    Held held = TakeAll(pool);
    pool.Release(held.back());
    held.pop_back();
    return held;
  });
}

// P5: on the lists that all threads share.
TEST_P(InterruptedTest, WithoutCaches) {
  CheckAllPairs(
      [](BufferPool& pool) {
        ExpectCanTake(pool, kCapacity);  // Onto the one list.
        Held held(10);
        EXPECT_TRUE(pool.AcquireMany(held));
        return held;
      },
      Options(/*cache_size=*/0));
}

// P10: also if the handler uses another pool than the thread, which uses its
// own pool for the first time, in the slot of a destroyed one.
TEST_P(InterruptedTest, ByTheUseOfAnotherPoolInTheFirstUseOfOne) {
  if (!Stepper::Works()) GTEST_SKIP() << "needs single steps";
  const auto known = NewPool(Options());
  FillCache(*known);
  ExpectCanTake(*NewPool(Options()), kCapacity);  // Leaves its place.
  const auto fresh = NewPool(Options());
  Stepper::InterruptEverywhere(
      [&] { fresh->Release(fresh->Acquire()); },
      [&] { known->Release(known->Acquire()); },
      [&] {
        for (BufferPool* const pool : {known.get(), fresh.get()}) {
          ExpectAtRest(*pool, 0);
          ExpectCanTake(*pool, kCapacity);
        }
      });
}

INSTANTIATE_TEST_SUITE_P(Pool, InterruptedTest, BothWays(), BiasName);

}  // namespace
}  // namespace tandem
