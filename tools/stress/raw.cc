// Buffers outside sessions: taken singly and in batches, released by any
// thread.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <thread>
#include <vector>

#include "tandem/tools/stress/worker.h"

namespace tandem::stress {

void Worker::ReleaseRaw(std::byte* buffer) {
  world_.table->Give(buffer, world_.table->OwnerOf(buffer));
  world_.pool->Release(buffer);
}

void Worker::UseRawBuffers() {
  std::array<std::byte*, 8> storage;
  const auto buffers =
      std::span(storage).first(1 + decisions_.Below(storage.size()));
  Tally::Count(tally().allocations);
  if (buffers.size() == 1) {
    buffers[0] = world_.pool->Acquire();
    if (buffers[0] == nullptr) return;
  } else if (!world_.pool->AcquireMany(buffers)) {
    return;
  }
  for (std::byte* const buffer : buffers) {
    world_.table->Take(buffer, raw_tag(), decisions_.OneIn(8));
  }
  const uint32_t mailboxes = world_.mailboxes_in_use();
  if (mailboxes == 0 || decisions_.OneIn(2)) {
    for (std::byte* const buffer : buffers) {
      world_.table->Give(buffer, raw_tag());
    }
    world_.pool->ReleaseMany(buffers);
    return;
  }
  // Swap each buffer for one that another thread has left.
  for (std::byte* const buffer : buffers) {
    auto& mailbox = world_.mailboxes[decisions_.Below(mailboxes)];
    std::byte* const other =
        mailbox.exchange(buffer, std::memory_order::acq_rel);
    if (other != nullptr) ReleaseRaw(other);
  }
}

void Worker::Burst() {
  const uint32_t most = std::max(1u, world_.pool->capacity() / 4);
  std::vector<std::byte*> buffers;
  for (uint32_t left = 1 + decisions_.Below(std::min(most, 256u)); left > 0;
       --left) {
    std::byte* const buffer = world_.pool->Acquire();
    if (buffer == nullptr) break;
    world_.table->Take(buffer, raw_tag(), false);
    buffers.push_back(buffer);
  }
  Tally::Count(tally().allocations, buffers.size());
  std::this_thread::yield();
  for (std::byte* const buffer : buffers) {
    world_.table->Give(buffer, raw_tag());
  }
  if (decisions_.OneIn(2)) {
    world_.pool->ReleaseMany(buffers);
  } else {
    for (std::byte* const buffer : buffers) world_.pool->Release(buffer);
  }
}

}  // namespace tandem::stress
