#ifndef TANDEM_POOL_TYPES_H_
#define TANDEM_POOL_TYPES_H_

#if __cplusplus < 202002L
#error "Tandem needs C++20: compile with -std=c++20"
#endif

#include <cstddef>
#include <cstdint>

namespace tandem {

// Index of a buffer within its pool: 0 to capacity - 1, at most 24 bits.
enum class BufferIndex : uint32_t {};

// The bits of a tagged word that hold an index; the rest is a version.
inline constexpr int kIndexBits = 24;

inline constexpr uint32_t kIndexMask = (1u << kIndexBits) - 1;

// The largest capacity of a pool; the index after the last one means "none".
inline constexpr uint32_t kMaxCapacity = kIndexMask;
inline constexpr BufferIndex kNoBuffer{kMaxCapacity};

// The most buffers that one thread can cache.
inline constexpr uint32_t kMaxCacheSize = 512;

// The most buffers that an operation has in its hands besides those that it was
// asked for or given (P4).
inline constexpr uint32_t kMaxBatch = 256;

// The number of a depot shard: 0 to core_pools - 1.
enum class CoreId : uint32_t {};

// A class of allocations, by its place in the order of service: 0 is served
// first.
enum class ClassId : uint8_t {};

// The distance that keeps data that one thread writes often away from other
// threads' data. Fixed, not std::hardware_destructive_interference_size,
// because layouts depend on it.
inline constexpr size_t kCacheLine = 64;

}  // namespace tandem

#endif  // TANDEM_POOL_TYPES_H_
