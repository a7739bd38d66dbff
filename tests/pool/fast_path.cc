#include "tandem/tests/pool/fast_path.h"

#include <cstddef>
#include <span>

#include "tandem/pool/buffer_pool.h"

namespace tandem {

std::byte* FastPathAcquire(BufferPool* pool) { return pool->Acquire(); }

void FastPathRelease(BufferPool* pool, std::byte* buffer) {
  pool->Release(buffer);
}

bool FastPathAcquirePair(BufferPool* pool, std::byte** buffers) {
  return pool->AcquirePair(std::span<std::byte*, 2>(buffers, 2));
}

void FastPathReleasePair(BufferPool* pool, std::byte** buffers) {
  pool->ReleasePair(std::span<std::byte* const, 2>(buffers, 2));
}

bool FastPathAcquireMany(BufferPool* pool, std::byte** buffers) {
  return pool->AcquireMany({buffers, kFastPathBatch});
}

void FastPathReleaseMany(BufferPool* pool, std::byte** buffers) {
  pool->ReleaseMany({buffers, kFastPathBatch});
}

}  // namespace tandem
