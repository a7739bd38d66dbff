#include "tandem/tools/stress/world.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "absl/status/statusor.h"

namespace tandem::stress {
namespace {

// Large enough that Trim has whole pages to discard.
constexpr size_t kBufferSize = 4096;

// From this capacity on, a pool has the default reserve.
constexpr uint32_t kRoomy = 8;

}  // namespace

void Meeting::Meet(const std::function<void()>& idle) {
  const uint32_t generation = generation_.load();
  if (arrived_.fetch_add(1) + 1 == size_) {
    arrived_.store(0);
    generation_.fetch_add(1);
    return;
  }
  while (generation_.load() == generation) {
    idle();
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

absl::StatusOr<std::unique_ptr<World>> World::Create(const Options& options) {
  auto world = std::make_unique<World>();
  world->options = options;
  Decisions decisions(options.seed);
  // Every second run sets a cache limit. Unless the flags say otherwise, every
  // second run has caches that are never biased.
  PoolOptions pool_options{.name = "stress",
                           .buffer_size = kBufferSize,
                           .capacity = options.capacity,
                           .max_threads = options.threads + 8};
  if (decisions.OneIn(2)) pool_options.cache_size = decisions.Below(33);
  if (decisions.OneIn(2)) pool_options.bias = Bias::kShared;
  if (options.bias) pool_options.bias = *options.bias;
  // A receive needs one buffer in addition to the reserve.
  if (options.capacity < kRoomy) {
    pool_options.reserve = 1 + decisions.Below(options.capacity - 1);
  }
  auto pool = BufferPool::Create(pool_options);
  if (!pool.ok()) return std::move(pool).status();
  world->pool = *std::move(pool);
  const uint32_t reserve = world->pool->reserve();
  const uint32_t sessions = options.capacity + 8 * options.threads;
  auto allocator = SessionAllocator::Create(
      world->pool.get(),
      {.max_waiters = std::max(8u, sessions / (decisions.OneIn(2) ? 2 : 16)),
       .max_overtakes = 1 + decisions.Below(64),
       .classes = {{.name = "urgent", .keep = 0, .rank = 50},
                   {.name = "bulk",
                    .keep = std::min(2 * reserve, options.capacity - 1),
                    .rank = 150}}});
  if (!allocator.ok()) return std::move(allocator).status();
  world->allocator = *std::move(allocator);
  world->urgent = *world->allocator->FindClass("urgent");
  world->bulk = *world->allocator->FindClass("bulk");
  world->table = std::make_unique<OwnershipTable>(*world->pool);
  for (uint32_t i = 0; i < sessions; ++i) {
    world->sessions.push_back(
        std::make_unique<StressSession>(*world, *world->allocator, i));
  }
  world->inboxes = std::vector<Inbox>(options.threads);
  for (Inbox& inbox : world->inboxes) {
    auto notifier = EventNotifier::Create();
    if (!notifier.ok()) return std::move(notifier).status();
    inbox.notifier = *std::move(notifier);
  }
  world->tallies = std::vector<Tally>(options.threads);
  world->meeting.emplace(options.threads);
  return world;
}

}  // namespace tandem::stress
