#include "tandem/pool/buffer_map.h"

#include "tandem/pool/die.h"

namespace tandem {

void BufferMap::DieOfForeign(const void* pointer) const {
  const std::byte* const end = base_ + stride_ * capacity_;
  const bool inside = pointer >= base_ && pointer < end;
  Die("tandem: pool \"", pool_name_, "\": ", pointer,
      inside ? " is inside the pool, but is not the start of a buffer "
               "(misaligned)"
             : " is not a buffer of this pool (foreign)",
      "; its buffers are at ", base_, " to ", end);
}

}  // namespace tandem
