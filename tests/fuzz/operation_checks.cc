// Compares the results of an input's operations with those of the model.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "tandem/pool/snapshot.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/fuzz/model_sessions.h"
#include "tandem/tests/fuzz/operation_run.h"
#include "tandem/tests/spec/sequential_pool.h"

namespace tandem {

void OperationRun::CheckWakes() {
  Expect("sessions woken", absl::StrJoin(std::exchange(wakes_, {}), " "),
         absl::StrJoin(model_.TakeWakes(), " "));
}

void OperationRun::CheckSessions() {
  for (size_t i = 0; i < kSessions; ++i) {
    for (const Side side : kSides) {
      const ModelSessions::SideState& state = model_.side(i, side);
      Expect("session has a buffer", sessions_[i]->has_buffer(side),
             state.has_buffer);
      Expect("size of ring", sessions_[i]->ring(side).size(), state.bytes);
    }
  }
}

void OperationRun::CheckAtRest() {
  const SessionSnapshot snapshot = allocator_->Snapshot();
  const PoolSnapshot& pool = snapshot.pool;
  const SequentialPool& spec = model_.pool();
  Expect("snapshot.in_use", pool.in_use, pool.capacity - spec.free());
  Expect("snapshot.waiting", size_t{pool.waiting}, spec.waiting());
  Expect("snapshot.shortages", pool.shortages, 0u);
  uint64_t in_core_pools = pool.cold.buffers;
  for (const auto& core : pool.cores) in_core_pools += core.buffers;
  Expect("buffers in core pools", in_core_pools, uint64_t{pool.available});
  Expect("caches hold buffers under pressure", pool.pressed && pool.cached != 0,
         false);
  for (size_t id = 0; id < snapshot.classes.size(); ++id) {
    const WaitClassSnapshot& of_class = snapshot.classes[id];
    const ModelSessions::Counts& counts = model_.counts(id);
    Expect("waiting in a class", size_t{of_class.waiting}, spec.waiting(id));
    Expect("waits of a class", of_class.waits, counts.waits);
    Expect("cancels of a class", of_class.cancels, counts.cancels);
    Expect("grants of a class", of_class.grants,
           counts.waits - counts.cancels - spec.waiting(id));
  }
  CheckDistinct();
}

void OperationRun::CheckDistinct() {
  std::vector<bool> seen(pool_->capacity());
  const auto see = [&](BufferIndex index) {
    Expect<bool>("handed out twice", seen[static_cast<size_t>(index)], false);
    seen[static_cast<size_t>(index)] = true;
  };
  for (const std::byte* buffer : held_) see(pool_->IndexOf(buffer));
  for (const auto& session : sessions_) {
    for (const Side side : kSides) {
      if (session->has_buffer(side)) see(pool_->IndexOf(session->buffer(side)));
    }
  }
}

}  // namespace tandem
