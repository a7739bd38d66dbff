// P10: how much stack an operation takes: a signal handler may have little.

#include <gtest/gtest.h>
#include <ucontext.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "tandem/pool/buffer_pool.h"
#include "tandem/pool/types.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

// Runs `operation` on a stack of its own. Returns how many bytes of it have
// been written.
class PaintedStack {
 public:
  size_t Run(std::function<void()> operation) {
    std::ranges::fill(stack_, kPaint);
    operation_ = std::move(operation);
    current = this;
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = stack_.data();
    context.uc_stack.ss_size = stack_.size();
    context.uc_link = &back_;
    makecontext(
        &context, [] { current->operation_(); }, 0);
    swapcontext(&back_, &context);
    return stack_.end() - std::ranges::find_if(
                              stack_, [](std::byte b) { return b != kPaint; });
  }

 private:
  static constexpr std::byte kPaint{0xA7};
  static inline PaintedStack* current = nullptr;

  std::vector<std::byte> stack_ = std::vector<std::byte>(32 * 1024);
  std::function<void()> operation_;
  ucontext_t back_;
};

class StackTest : public BothWaysTest {};
INSTANTIATE_TEST_SUITE_P(BothWays, StackTest, BothWays(), BiasName);

TEST_P(StackTest, NoOperationTakesMoreThanFourKibibytes) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers make frames larger";
#endif
  constexpr uint32_t kCapacity = 5'000;
  const auto pool = NewPool({.buffer_size = 64, .capacity = kCapacity});
  Companion other;
  PaintedStack stack;
  const size_t nothing = stack.Run([] {});
  const auto expect_little = [&](const char* what, auto operation) {
    EXPECT_LE(stack.Run(operation) - nothing, 4'096u) << what;
  };
  std::vector<std::byte*> held;
  held.reserve(kCapacity);
  const auto take = [&](size_t count) {
    held.resize(held.size() + count);
    ASSERT_TRUE(pool->AcquireMany(std::span(held).last(count)));
  };
  const auto give = [&](size_t count) {
    pool->ReleaseMany(std::span(held).last(count));
    held.resize(held.size() - count);
  };
  // The first use, which is not measured, and a cache that has grown.
  for (int i = 0; i < 100; ++i) {
    take(1'000);
    while (!held.empty()) give(1);
  }
  other.Run([&] {
    for (int i = 0; i < 100; ++i) {
      for (int j = 0; j < 600; ++j) held.push_back(pool->Acquire());
      while (!held.empty()) give(1);
    }
  });
  ASSERT_GT(pool->Snapshot().cached, 2 * kMaxBatch);
  for (const size_t count : {1, 2, 100, 512, 513, 1'000}) {
    for (int i = 0; i < 5; ++i) {
      expect_little("taking", [&] { take(count); });
    }
    for (int i = 0; i < 5; ++i) {
      expect_little("giving", [&] { give(count); });
    }
  }
  for (int i = 0; i < 600; ++i) {
    expect_little("taking one", [&] { take(1); });
  }
  for (int i = 0; i < 600; ++i) {
    expect_little("giving one", [&] { give(1); });
  }
  // A sweep that finds what it needs, and one that does not.
  const size_t most = pool->Snapshot().available;
  take(most);
  expect_little("sweeping", [&] { take(kCapacity - most); });
  expect_little("failing", [&] { EXPECT_EQ(pool->Acquire(), nullptr); });
  give(kCapacity);
}

}  // namespace
}  // namespace tandem
