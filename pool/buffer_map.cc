#include "tandem/pool/buffer_map.h"

#include "absl/log/log.h"

namespace tandem {

void BufferMap::DieOfForeign(const void* pointer) const {
  const std::byte* const end = base_ + stride_ * capacity_;
  const bool inside = pointer >= base_ && pointer < end;
  LOG(FATAL) << "tandem: pool \"" << pool_name_ << "\": " << pointer
             << (inside ? " is inside the pool, but is not the start of a "
                          "buffer (misaligned)"
                        : " is not a buffer of this pool (foreign)")
             << "; its buffers are at " << static_cast<const void*>(base_)
             << " to " << static_cast<const void*>(end);
}

}  // namespace tandem
