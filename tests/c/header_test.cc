// The C header, included by a C++ program.

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "gtest/gtest.h"
#include "tandem/c/tandem.h"

namespace {

// A server's structures may be copied as bytes, and have C's layout.
static_assert(std::is_standard_layout_v<tandem_pool_options>);
static_assert(std::is_trivial_v<tandem_pool_options>);
static_assert(std::is_trivial_v<tandem_allocator_options>);
static_assert(std::is_trivial_v<tandem_session>);
static_assert(std::is_trivial_v<tandem_waker>);
static_assert(alignof(tandem_session) == 8);
static_assert(sizeof(tandem_session) == TANDEM_SESSION_SIZE);
// Padding at the end of an older program's structure would be taken for a field
// of a newer one.
static_assert(sizeof(tandem_pool_options) ==
              offsetof(tandem_pool_options, reserved) +
                  sizeof(tandem_pool_options::reserved));
static_assert(sizeof(tandem_allocator_options) ==
              offsetof(tandem_allocator_options, class_count) + sizeof(size_t));
static_assert(sizeof(tandem_trimmer_options) ==
              offsetof(tandem_trimmer_options, reserved) +
                  sizeof(tandem_trimmer_options::reserved));
// E1
static_assert(noexcept(tandem_acquire(nullptr)));
static_assert(noexcept(session_alloc_buffers(nullptr, nullptr)));

TEST(HeaderTest, CppProgramMayUseIt) {
  tandem_pool_options options = {};
  options.size = sizeof(options);
  options.capacity = 4;
  tandem_pool* pool = nullptr;
  tandem_allocator* allocator = nullptr;
  std::array<char, TANDEM_MESSAGE_SIZE> why = {};
  ASSERT_EQ(tandem_pool_create(&pool, &options, why.data(), why.size()), 0)
      << why.data();
  ASSERT_EQ(tandem_allocator_create(&allocator, pool, nullptr, why.data(),
                                    why.size()),
            0)
      << why.data();
  tandem_session session;
  tandem_session_init(&session, allocator);
  bool woken = false;
  tandem_waker waker = {};
  waker.wake = [](void* context) noexcept {
    *static_cast<bool*>(context) = true;
  };
  waker.context = &woken;
  std::array<void*, 3> taken;
  ASSERT_TRUE(tandem_acquire_many(pool, taken.data(), taken.size()));
  EXPECT_EQ(session_alloc_buffers(&session, &waker), TANDEM_WAITING);
  tandem_release(pool, taken[0]);
  EXPECT_TRUE(woken);
  EXPECT_EQ(session_finish_wait(&session), TANDEM_WAIT_GRANTED);
  tandem_session_destroy(&session);
  tandem_release_many(pool, &taken[1], 2);
  tandem_allocator_destroy(allocator);
  tandem_pool_destroy(pool);
}

}  // namespace
