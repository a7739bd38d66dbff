// E1: C's creating functions answer ENOMEM, whichever request for memory is
// refused, and leave nothing behind.

#include "tandem/tests/pool/refused_memory.h"

#include <dirent.h>
#include <malloc.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <string>

#include "gtest/gtest.h"
#include "tandem/c/tandem.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

// What this process has of the system.
struct Owned {
  size_t descriptors = 0;
  size_t address_space = 0;  // pages
  size_t memory = 0;         // bytes from malloc; not under a sanitizer

  bool operator==(const Owned&) const = default;
};

Owned OwnedNow() {
  Owned owned;
  if (!kTsan && !kAsan) owned.memory = mallinfo2().uordblks;
  DIR* const folder = opendir("/proc/self/fd");
  while (readdir(folder) != nullptr) ++owned.descriptors;
  closedir(folder);
  FILE* const pages = std::fopen("/proc/self/statm", "re");
  if (std::fscanf(pages, "%zu", &owned.address_space) != 1) abort();
  std::fclose(pages);
  // What a sanitizer maps for itself says nothing.
  if (kTsan || kAsan) owned.address_space = 0;
  return owned;
}

using Message = std::array<char, TANDEM_MESSAGE_SIZE>;

// Calls `create(Object**, Message&)`, an errno, with each of its requests for
// memory refused in turn. Returns how many there are.
template <class Object, class Create>
size_t ExpectNoMemory(Create create, void (*destroy)(Object*)) {
  const auto attempt = [&](size_t nth, RefusedMemory::Which which) {
    Object* created = nullptr;
    Message message;
    message.fill('?');
    bool refused = false;
    int error = 0;
    {
      const RefusedMemory memory(nth, which);
      error = create(&created, message);
      refused = memory.refused();
    }
    // Some requests can be done without.
    EXPECT_TRUE(error == 0 || (refused && error == ENOMEM)) << error;
    EXPECT_EQ(created != nullptr, error == 0);
    if (error != 0) {
      EXPECT_NE(std::string(message.data(), message.size()).find('\0'),
                std::string::npos)
          << "the message has no end";
    }
    destroy(created);
    return refused;
  };
  // A leak shows in every round. What is allocated once and for all, and what
  // malloc keeps for the next request, shows in the first rounds only.
  size_t places = 0;
  Owned before;
  bool leaks = true;
  for (int round = 0; round < 10 && leaks; ++round) {
    places = ForEachRequest(attempt);
    const Owned now = OwnedNow();
    leaks = now != before;
    before = now;
  }
  EXPECT_FALSE(leaks);
  ::testing::Test::RecordProperty("places", std::to_string(places));
  return places;
}

class CRefusedMemoryTest : public ::testing::Test {
 protected:
  CRefusedMemoryTest() {
    tandem_pool_options options = {};
    options.size = sizeof(options);
    options.capacity = 64;
    Require(tandem_pool_create(&pool_, &options, nullptr, 0) == 0, "no pool");
  }
  ~CRefusedMemoryTest() override { tandem_pool_destroy(pool_); }

  tandem_pool* pool_ = nullptr;
};

TEST_F(CRefusedMemoryTest, PoolIsRefusedWithEnomem) {
  tandem_pool_options options = {};
  options.size = sizeof(options);
  options.name = "a name that does not fit into the string itself";
  options.capacity = 64;
  const size_t places = ExpectNoMemory<tandem_pool>(
      [&](tandem_pool** pool, Message& message) {
        return tandem_pool_create(pool, &options, message.data(),
                                  message.size());
      },
      tandem_pool_destroy);
  EXPECT_GE(places, 5u);
}

TEST_F(CRefusedMemoryTest, SessionLayerIsRefusedWithEnomem) {
  tandem_wait_class first = {};
  first.name = "a class with a name of some length";
  first.rank = 150;
  tandem_allocator_options options = {};
  options.size = sizeof(options);
  options.classes = &first;
  options.class_count = 1;
  const size_t places = ExpectNoMemory<tandem_allocator>(
      [&](tandem_allocator** allocator, Message& message) {
        return tandem_allocator_create(allocator, pool_, &options,
                                       message.data(), message.size());
      },
      tandem_allocator_destroy);
  EXPECT_GE(places, 5u);
}

TEST_F(CRefusedMemoryTest, NotifierIsRefusedWithEnomem) {
  const size_t places = ExpectNoMemory<tandem_notifier>(
      [](tandem_notifier** notifier, Message& message) {
        return tandem_notifier_create(notifier, message.data(), message.size());
      },
      tandem_notifier_destroy);
  EXPECT_GE(places, 1u);
}

TEST_F(CRefusedMemoryTest, TrimmerIsRefusedWithEnomem) {
  tandem_trimmer_options options = {};
  options.size = sizeof(options);
  options.every_ms = 60'000;
  const size_t places = ExpectNoMemory<tandem_trimmer>(
      [&](tandem_trimmer** trimmer, Message& message) {
        return tandem_trimmer_create(trimmer, pool_, &options, message.data(),
                                     message.size());
      },
      tandem_trimmer_destroy);
  EXPECT_GE(places, 1u);
}

// A wrong option needs memory for its message.
TEST_F(CRefusedMemoryTest, MessageAlwaysHasAnEnd) {
  tandem_pool_options options = {};
  options.size = sizeof(options);
  options.buffer_size = 100;
  const size_t places =
      ForEachRequest([&](size_t nth, RefusedMemory::Which which) {
        tandem_pool* pool = nullptr;
        Message message;
        message.fill('?');
        bool refused = false;
        int error = 0;
        {
          const RefusedMemory memory(nth, which);
          error = tandem_pool_create(&pool, &options, message.data(),
                                     message.size());
          refused = memory.refused();
        }
        EXPECT_EQ(pool, nullptr);
        EXPECT_TRUE(error == EINVAL || (refused && error == ENOMEM)) << error;
        EXPECT_NE(std::string(message.data(), message.size()).find('\0'),
                  std::string::npos)
            << "the message has no end";
        return refused;
      });
  EXPECT_GE(places, 2u);
}

// Statistics, and the search for a class, take memory as well.
TEST_F(CRefusedMemoryTest, NothingEndsTheProcess) {
  tandem_allocator* allocator = nullptr;
  ASSERT_EQ(tandem_allocator_create(&allocator, pool_, nullptr, nullptr, 0), 0);
  size_t places = ForEachRequest([&](size_t nth, RefusedMemory::Which which) {
    tandem_snapshot snapshot = {};
    snapshot.size = sizeof(snapshot);
    tandem_allocator_snapshot waits = {};
    waits.size = sizeof(waits);
    const RefusedMemory memory(nth, which);
    const int error = tandem_allocator_waits(allocator, &waits);
    const bool refused = memory.refused();
    EXPECT_TRUE(error == 0 || (refused && error == ENOMEM)) << error;
    EXPECT_EQ(tandem_pool_snapshot(pool_, &snapshot), 0);
    EXPECT_EQ(snapshot.capacity, 64u);
    EXPECT_EQ(tandem_find_class(allocator, "no class of this name"),
              TANDEM_NO_CLASS);
    EXPECT_NE(tandem_find_class(allocator, "pair"), TANDEM_NO_CLASS);
    EXPECT_EQ(tandem_trim(pool_, nullptr), 0);
    return memory.refused();
  });
  EXPECT_GE(places, 3u);
  tandem_allocator_destroy(allocator);
}

}  // namespace
}  // namespace tandem
