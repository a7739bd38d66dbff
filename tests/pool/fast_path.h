#ifndef TANDEM_TESTS_POOL_FAST_PATH_H_
#define TANDEM_TESTS_POOL_FAST_PATH_H_

#include <cstddef>

#include "tandem/pool/buffer_pool.h"

namespace tandem {

// A pool's operations as functions that the disassembler finds by name.
inline constexpr size_t kFastPathBatch = 32;
extern "C" {
std::byte* FastPathAcquire(BufferPool* pool);
void FastPathRelease(BufferPool* pool, std::byte* buffer);
bool FastPathAcquirePair(BufferPool* pool, std::byte** buffers);
void FastPathReleasePair(BufferPool* pool, std::byte** buffers);
bool FastPathAcquireMany(BufferPool* pool, std::byte** buffers);
void FastPathReleaseMany(BufferPool* pool, std::byte** buffers);
}

}  // namespace tandem

#endif  // TANDEM_TESTS_POOL_FAST_PATH_H_
