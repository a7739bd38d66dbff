#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <span>

#include "tandem/pool/depot/tagged_stack.h"
#include "tandem/pool/types.h"
#include "tandem/tests/schedule/explore.h"
#include "tandem/tests/schedule/relacy_platform.h"

namespace tandem {
namespace {

using Stack = TaggedStack<RelacyPlatform, BufferIndex>;

// Two stacks over one array of links. At first all nodes are on the
// first stack.
template <size_t kNodes>
struct Stacks {
  Stacks() {
    for (uint32_t i = kNodes; i-- > 0;) {
      const BufferIndex node{i};
      stacks[0].Push(links, {&node, 1});
    }
  }

  size_t Pop(size_t stack, std::span<BufferIndex> out) {
    const size_t count = stacks[stack].Pop(links, out);
    custody.Take(out.first(count));
    return count;
  }
  void Push(size_t stack, std::span<const BufferIndex> nodes) {
    custody.Give(nodes);
    stacks[stack].Push(links, nodes);
  }
  void RequireAllThere() {
    std::array<BufferIndex, kNodes + 1> nodes;
    const size_t first = Pop(0, nodes);
    const size_t second = Pop(1, std::span(nodes).subspan(first));
    Require(first + second == kNodes, "every node is on a stack, once");
  }

  std::array<Stack::Link, kNodes> links;
  std::array<Stack, 2> stacks;
  Custody<kNodes> custody;
};

// Each thread pops up to two nodes at a time and pushes them back, as one chain
// or one by one, in either order.
template <size_t kNodes, int kThreads, int kRounds>
struct PopsAndPushes : ScheduleTest<PopsAndPushes<kNodes, kThreads, kRounds>,
                                    Stacks<kNodes>, kThreads> {
  void thread(unsigned) {
    for (int round = 0; round < kRounds; ++round) {
      std::array<BufferIndex, 2> storage;
      const size_t wanted = 1 + rl::rand(2);
      const auto nodes = std::span(storage).first(
          this->world().Pop(0, std::span(storage).first(wanted)));
      if (nodes.empty()) continue;
      if (nodes.size() == 1 || rl::rand(2) == 0) {
        this->world().Push(0, nodes);
      } else {
        this->world().Push(0, nodes.first(1));
        this->world().Push(0, nodes.last(1));
      }
    }
  }
  void after() { this->world().RequireAllThere(); }
};

// P5
TEST(TaggedStackSchedule, EveryNodeIsPoppedByOneAndNoneIsLost) {
  ExploreAtRandom<PopsAndPushes<3, 3, 3>>(60'000);
}

// P5: a head that comes back, with another chain below, differs from itself by
// its tag.
TEST(TaggedStackSchedule, AbaOnTheFreeList) {
  ExploreAll<PopsAndPushes<2, 2, 1>>({4, 1});
  ExploreAll<PopsAndPushes<2, 2, 2>>({2, 2});
}

// Nodes move between two stacks that share the links.
struct Wandering : ScheduleTest<Wandering, Stacks<3>, 3> {
  void thread(unsigned) {
    for (int round = 0; round < 3; ++round) {
      std::array<BufferIndex, 2> storage;
      const unsigned from = rl::rand(2);
      const size_t count =
          world().Pop(from, std::span(storage).first(1 + rl::rand(2)));
      if (count == 0) continue;
      const unsigned to = rl::rand(4) == 0 ? from : 1 - from;
      world().Push(to, std::span(storage).first(count));
    }
  }
  void after() { world().RequireAllThere(); }
};

// P5
TEST(TaggedStackSchedule, NodesMayWanderBetweenStacksThatShareLinks) {
  ExploreAtRandom<Wandering>(60'000);
}

}  // namespace
}  // namespace tandem
