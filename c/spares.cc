#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <new>

#include "tandem/c/conversions.h"
#include "tandem/c/tandem.h"
#include "tandem/session/spare_buffers.h"

using tandem::SpareBuffers;
using tandem::c::Of;

namespace {

// The spares are stored in the C structure itself.
static_assert(sizeof(SpareBuffers) == sizeof(tandem_spares));
static_assert(alignof(SpareBuffers) <= alignof(tandem_spares));
static_assert(SpareBuffers::kMost == TANDEM_MAX_SPARES);

SpareBuffers& Of(tandem_spares* spares) {
  return *std::launder(reinterpret_cast<SpareBuffers*>(spares));
}
const SpareBuffers& Of(const tandem_spares* spares) {
  return *std::launder(reinterpret_cast<const SpareBuffers*>(spares));
}

}  // namespace

void tandem_spares_init(tandem_spares* spares,
                        tandem_allocator* allocator) noexcept {
  new (spares) SpareBuffers(Of(allocator));
}

void tandem_spares_destroy(tandem_spares* spares) noexcept {
  Of(spares).~SpareBuffers();
}

bool tandem_spares_take(tandem_spares* spares, uint32_t count) noexcept {
  return Of(spares).Take(count);
}

void tandem_spares_release(tandem_spares* spares) noexcept {
  Of(spares).Release();
}

void tandem_spares_clear(tandem_spares* spares) noexcept { Of(spares).Clear(); }

uint32_t tandem_spares_count(const tandem_spares* spares) noexcept {
  return Of(spares).count();
}

uint32_t tandem_spares_kept(const tandem_spares* spares) noexcept {
  return Of(spares).kept();
}

size_t tandem_spares_size(const tandem_spares* spares) noexcept {
  return Of(spares).size();
}

int tandem_spares_readable(const tandem_spares* spares,
                           iovec out[TANDEM_MAX_SPARES]) noexcept {
  return Of(spares).ReadableIovecs(
      SpareBuffers::Iovecs(out, TANDEM_MAX_SPARES));
}

int tandem_spares_writable(const tandem_spares* spares,
                           iovec out[TANDEM_MAX_SPARES]) noexcept {
  return Of(spares).WritableIovecs(
      SpareBuffers::Iovecs(out, TANDEM_MAX_SPARES));
}

void tandem_spares_commit(tandem_spares* spares, size_t n) noexcept {
  Of(spares).Commit(n);
}

void tandem_spares_consume(tandem_spares* spares, size_t n) noexcept {
  Of(spares).Consume(n);
}
