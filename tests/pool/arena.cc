#include "tandem/tests/pool/arena.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

constexpr size_t kSize = size_t{1} << 20;
alignas(std::max_align_t) constinit std::byte memory[kSize];
constinit std::atomic<size_t> used{0};
constinit std::atomic<size_t> allocations{0};
constinit thread_local int arenas = 0;

bool IsInArena(const void* at) {
  return at >= &memory[0] && at < &memory[0] + kSize;
}

}  // namespace

namespace tandem {

size_t AllocationsSoFar() { return allocations; }

Arena::Arena() { ++arenas; }
Arena::~Arena() { --arenas; }

}  // namespace tandem

void* operator new(size_t size, const std::nothrow_t&) noexcept {
  ++allocations;
  if (arenas == 0) return malloc(size);
  constexpr size_t kAlign = alignof(std::max_align_t);
  const size_t at = used.fetch_add((size + kAlign - 1) / kAlign * kAlign);
  if (at + size > kSize) abort();
  return &memory[at];
}
void* operator new(size_t size) {
  void* const at = operator new(size, std::nothrow);
  if (at == nullptr) throw std::bad_alloc();
  return at;
}
void operator delete(void* at) noexcept {
  if (!IsInArena(at)) free(at);
}
void operator delete(void* at, size_t) noexcept { operator delete(at); }
