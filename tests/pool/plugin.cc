// A plug-in that contains a Tandem of its own, such as a proxy loads.

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "tandem/pool/buffer_pool.h"

// True if its pool works in the calling thread.
extern "C" [[gnu::visibility("default")]] bool UsePoolOfPlugin() {
  static auto* const pool =
      new absl::StatusOr<std::unique_ptr<tandem::BufferPool>>(
          tandem::BufferPool::Create({.capacity = 64}));
  if (!pool->ok()) return false;
  for (int i = 0; i < 1'000; ++i) {
    std::byte* const buffer = (**pool)->Acquire();
    if (buffer == nullptr) return false;
    (**pool)->Release(buffer);
  }
  return (**pool)->Snapshot().in_use == 0;
}
