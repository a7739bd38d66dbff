#include "tandem/tests/pool/refused_memory.h"

#include <cstddef>
#include <cstdlib>
#include <limits>
#include <new>

namespace {

constexpr size_t kNever = std::numeric_limits<size_t>::max();

constinit thread_local size_t granted_first = kNever;
constinit thread_local bool refuses_all = false;
constinit thread_local bool has_refused = false;

bool Refuse() {
  if (granted_first == kNever) return false;
  if (granted_first > 0) {
    --granted_first;
    return false;
  }
  if (!refuses_all) granted_first = kNever;
  has_refused = true;
  return true;
}

}  // namespace

namespace tandem {

RefusedMemory::RefusedMemory(size_t nth, Which which) {
  granted_first = nth;
  refuses_all = which == kAllFromThere;
  has_refused = false;
}

RefusedMemory::~RefusedMemory() { granted_first = kNever; }

bool RefusedMemory::refused() const { return has_refused; }

}  // namespace tandem

void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return Refuse() ? nullptr : malloc(size);
}
void* operator new(size_t size, std::align_val_t align,
                   const std::nothrow_t&) noexcept {
  const auto to = static_cast<size_t>(align);
  return Refuse() ? nullptr : aligned_alloc(to, (size + to - 1) / to * to);
}
void* operator new(size_t size) {
  void* const at = operator new(size, std::nothrow);
  if (at == nullptr) throw std::bad_alloc();
  return at;
}
void* operator new(size_t size, std::align_val_t align) {
  void* const at = operator new(size, align, std::nothrow);
  if (at == nullptr) throw std::bad_alloc();
  return at;
}
void operator delete(void* at) noexcept { free(at); }
void operator delete(void* at, size_t) noexcept { free(at); }
void operator delete(void* at, std::align_val_t) noexcept { free(at); }
void operator delete(void* at, size_t, std::align_val_t) noexcept { free(at); }

// Those for arrays: a sanitizer's own do not call the others.
void* operator new[](size_t size, const std::nothrow_t& no_throw) noexcept {
  return operator new(size, no_throw);
}
void* operator new[](size_t size, std::align_val_t align,
                     const std::nothrow_t& no_throw) noexcept {
  return operator new(size, align, no_throw);
}
void* operator new[](size_t size) { return operator new(size); }
void* operator new[](size_t size, std::align_val_t align) {
  return operator new(size, align);
}
void operator delete[](void* at) noexcept { free(at); }
void operator delete[](void* at, size_t) noexcept { free(at); }
void operator delete[](void* at, std::align_val_t) noexcept { free(at); }
void operator delete[](void* at, size_t, std::align_val_t) noexcept {
  free(at);
}
