#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tandem/pool/buffer_map.h"
#include "tandem/pool/depot/magazine_stack.h"
#include "tandem/pool/types.h"
#include "tandem/tests/schedule/explore.h"
#include "tandem/tests/schedule/relacy_platform.h"

namespace tandem {
namespace {

// Magazines of two: each holds one buffer or is full.
struct SmallMagazines : RelacyPlatform {
  static constexpr uint32_t kMagazineSize = 2;
};
using Stack = MagazineStack<SmallMagazines>;
using Box = Stack::Box;

// A stack with all buffers in full magazines, and a stack of the empty ones.
// Each holder of a magazine or a buffer records that.
template <size_t kBuffers, size_t kMagazines>
struct Store {
  Store() {
    const BufferMap map = PretendedMap(kBuffers);
    for (uint32_t i = 0; i < kMagazines; ++i) {
      uint32_t count = 0;
      while (count < Box::kSize && i * Box::kSize + count < kBuffers) {
        std::byte* const buffer =
            map.Address(BufferIndex{i * Box::kSize + count});
        SmallMagazines::CopySlots(&buffer, 1, &magazines[i].slots[count++]);
      }
      Stack& stack = count == 0 ? empties : full;
      stack.Push(magazines, {Box::PositionOf(i, std::max(count, 1u)), i});
    }
  }

  size_t Take(std::span<std::byte*> out) {
    MagazineChain emptied;
    const size_t count = full.PopBuffers(magazines, out, emptied);
    custody.Take(out.first(count));
    if (!emptied.empty()) {
      ForEach(emptied, [&](BufferIndex box) { boxes.Take({&box, 1}); });
      Leave(empties, emptied);
    }
    return count;
  }

  // One magazine for each lot, one or two buffers each, all on one chain.
  // False, with no effect, if there are too few magazines.
  bool Give(std::span<std::byte* const> buffers, size_t lots) {
    MagazineChain chain = empties.PopMagazines(magazines, lots);
    if (chain.empty()) return false;
    size_t found = 0;
    ForEach(chain, [&](BufferIndex box) {
      boxes.Take({&box, 1});
      ++found;
    });
    if (found < lots) {
      Leave(empties, chain);
      return false;
    }
    custody.Give(buffers);
    MagazineChain filled;
    size_t left = lots;
    ForEach(chain, [&](BufferIndex box) {
      const auto number = static_cast<uint32_t>(box);
      const auto lot = buffers.first(buffers.size() - --left);
      buffers = buffers.subspan(lot.size());
      SmallMagazines::CopySlots(lot.data(), lot.size(),
                                magazines[number].slots.data());
      magazines[number].SetBelow(filled.top);
      if (filled.empty()) filled.last = number;
      filled.top = Box::PositionOf(number, lot.size());
    });
    Leave(full, filled);
    return true;
  }

  void RequireAllThere(size_t in_pockets) {
    std::array<std::byte*, kBuffers + 1> all;
    const size_t count = Take(all);
    Require(count + in_pockets == kBuffers, "no buffer is lost");
    Require(full.Empty(), "one pop takes all there are");
    const MagazineChain chain = empties.PopMagazines(magazines, kMagazines + 1);
    size_t found = 0;
    ForEach(chain, [&](BufferIndex box) {
      boxes.Take({&box, 1});
      ++found;
    });
    Require(found == kMagazines, "nor a magazine");
  }

  std::array<Box, kMagazines> magazines;
  Stack full;
  Stack empties;
  Custody<kBuffers> custody;
  Custody<kMagazines> boxes;

 private:
  template <class Do>
  void ForEach(const MagazineChain& chain, Do todo) {
    for (Position position = chain.top;;) {
      const uint32_t number = Box::NumberOf(position);
      // Comes first, because `todo` may put it elsewhere.
      position = magazines[number].Below();
      todo(BufferIndex{number});
      if (number == chain.last) return;
    }
  }

  void Leave(Stack& stack, const MagazineChain& chain) {
    ForEach(chain, [&](BufferIndex box) { boxes.Give({&box, 1}); });
    stack.Push(magazines, chain);
  }
};

// Each thread takes up to three buffers at a time, which may be a part of a
// magazine, a whole one and more, and gives them back in one or two magazines.
template <size_t kBuffers, size_t kMagazines, int kThreads, int kRounds>
struct TakesAndGives
    : ScheduleTest<TakesAndGives<kBuffers, kMagazines, kThreads, kRounds>,
                   Store<kBuffers, kMagazines>, kThreads> {
  void thread(unsigned) {
    std::array<std::byte*, kBuffers> storage;
    size_t held = 0;
    for (int round = 0; round < kRounds; ++round) {
      const size_t most = std::min<size_t>(1 + rl::rand(3), kBuffers - held);
      held += this->world().Take(std::span(storage).subspan(held, most));
      if (held == 0) continue;
      const size_t count = std::min<size_t>(held, 1 + rl::rand(3));
      const size_t lots = count == 1 ? 1 : count == 3 ? 2 : 1 + rl::rand(2);
      const auto lot = std::span(storage).subspan(held - count, count);
      if (this->world().Give(lot, lots)) held -= count;
    }
    in_pockets += held;
  }
  void after() { this->world().RequireAllThere(in_pockets); }

  size_t in_pockets = 0;
};

// P1, P4, P5
TEST(MagazineStackSchedule, EveryBufferIsTakenByOneAndNoneIsLost) {
  ExploreAtRandom<TakesAndGives<4, 4, 3, 3>>(60'000);
  ExploreAtRandom<TakesAndGives<3, 3, 2, 4>>(60'000);
}

// P5: a head that comes back, with another magazine or other buffers below,
// differs from itself by its tag.
TEST(MagazineStackSchedule, AbaOnMagazines) {
  ExploreAtRandom<TakesAndGives<3, 3, 2, 6>>(60'000);
  ExploreAll<TakesAndGives<2, 2, 2, 1>>({2, 1});
}

// The order that a pop publishes with: one thread takes a part of a magazine;
// another takes the rest and fills it again.
struct RefilledBehindAPop : ScheduleTest<RefilledBehindAPop, Store<2, 2>, 2> {
  void thread(unsigned index) {
    std::array<std::byte*, 2> storage;
    const size_t count =
        world().Take(std::span(storage).first(index == 0 ? 1 : 2));
    const auto taken = std::span(storage).first(count);
    if (count == 0 || world().Give(taken, 1)) return;
    in_pockets += count;
  }
  void after() { world().RequireAllThere(in_pockets); }

  size_t in_pockets = 0;
};

// P5
TEST(MagazineStackSchedule, MagazineThatIsFilledAnewIsNotWhatWasCopied) {
  ExploreAll<RefilledBehindAPop>({3, 1});
}

}  // namespace
}  // namespace tandem
