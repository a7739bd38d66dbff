#include <chrono>
#include <coroutine>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/pool/buffer.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/session/blocking_wait.h"
#include "tandem/session/coroutine.h"
#include "tandem/session/session_buffers.h"

namespace tandem {
namespace {

TEST(Smoke, All) {
  auto pool = BufferPool::Create({.capacity = 32});
  ASSERT_TRUE(pool.ok()) << pool.status();
  std::byte* one = (*pool)->Acquire();
  std::thread([&] {
    std::vector<std::byte*> got;
    while (std::byte* b = (*pool)->Acquire()) got.push_back(b);
    EXPECT_EQ(got.size(), 31u);
    (*pool)->ReleaseMany(got);
  }).join();
  (*pool)->Release(one);
  std::vector<std::byte*> all(32);
  EXPECT_TRUE((*pool)->AcquireMany(all));
  EXPECT_EQ((*pool)->Snapshot().in_use, 32u);
  auto sessions = SessionAllocator::Create(pool->get());
  ASSERT_TRUE(sessions.ok());
  {
    SessionBuffers s(**sessions);
    EXPECT_EQ(s.AllocateBuffers(), Allocation::kExhausted);
    ASSERT_EQ(s.AllocateBuffers(BlockingWaker()), Allocation::kWaiting);
    EXPECT_EQ(BlockUntilServed(s, std::chrono::steady_clock::now() +
                                      std::chrono::milliseconds(20)),
              WaitStatus::kCancelled);
    ASSERT_EQ(s.AllocateBuffers(BlockingWaker()), Allocation::kWaiting);
    std::thread t([&] {
      (*pool)->Release(all.back());
      all.pop_back();
      (*pool)->Release(all.back());
      all.pop_back();
    });
    EXPECT_EQ(BlockUntilServed(s), WaitStatus::kGranted);
    t.join();
  }
  (*pool)->ReleaseMany(all);
}

}  // namespace
}  // namespace tandem
