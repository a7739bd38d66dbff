#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "tandem/c/conversions.h"
#include "tandem/c/tandem.h"
#include "tandem/c/versioned.h"
#include "tandem/pool/no_throw.h"
#include "tandem/session/ring_buffer.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"
#include "tandem/session/wait_class.h"

using tandem::ClassId;
using tandem::SessionAllocator;
using tandem::SessionBuffers;
using tandem::SessionOptions;
using tandem::SessionSnapshot;
using tandem::c::Of;
using tandem::c::OrNoMemory;
using tandem::c::ReadOptions;
using tandem::c::Report;
using tandem::c::ToC;
using tandem::c::WriteResult;

namespace {

constexpr const char* kType = "tandem_allocator_options";

static_assert(TANDEM_MAX_CLASSES == tandem::kMaxClasses);
static_assert(sizeof(tandem_class_snapshot::buckets) / sizeof(uint64_t) ==
              tandem::kWaitBuckets);

// An invalid class in C is an invalid class in C++.
ClassId ClassOf(tandem_class id) {
  return static_cast<ClassId>(id >= 0 && id < TANDEM_MAX_CLASSES ? id : 0xFF);
}

absl::StatusOr<SessionOptions> OptionsOf(
    const tandem_allocator_options* given) {
  const absl::StatusOr<tandem_allocator_options> read =
      ReadOptions(kType, given);
  if (!read.ok()) return read.status();
  SessionOptions options;
  if (read->max_waiters != 0) options.max_waiters = read->max_waiters;
  if (read->max_overtakes != 0) options.max_overtakes = read->max_overtakes;
  if (read->class_count > TANDEM_MAX_CLASSES) {
    // Do not dereference the name: it may be any value.
    return absl::InvalidArgumentError(absl::StrCat(
        kType, ".class_count is ", read->class_count, "; allowed: 0 to 5"));
  }
  for (size_t i = 0; i < read->class_count; ++i) {
    const tandem_wait_class& c = read->classes[i];
    if (c.name == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          kType, ".classes[", i, "].name is NULL; allowed: a name"));
    }
    options.classes.push_back({.name = c.name, .keep = c.keep, .rank = c.rank});
  }
  return options;
}

}  // namespace

int tandem_allocator_create(tandem_allocator** allocator, tandem_pool* pool,
                            const tandem_allocator_options* options,
                            char* message, size_t message_size) noexcept {
  return OrNoMemory(message, message_size, [&] {
    const absl::StatusOr<SessionOptions> known = OptionsOf(options);
    if (!known.ok()) return Report(known.status(), message, message_size);
    absl::StatusOr<std::unique_ptr<SessionAllocator>> created =
        SessionAllocator::Create(&Of(pool), *known);
    if (created.ok()) {
      *allocator = reinterpret_cast<tandem_allocator*>(created->release());
    }
    return Report(created.status(), message, message_size);
  });
}

void tandem_allocator_destroy(tandem_allocator* allocator) noexcept {
  if (allocator != nullptr) delete &Of(allocator);
}

tandem_class tandem_find_class(const tandem_allocator* allocator,
                               const char* name) noexcept {
  int found = TANDEM_NO_CLASS;
  // Only the message that there is none takes memory.
  (void)tandem::HasMemoryFor([&] {
    const absl::StatusOr<ClassId> id = Of(allocator).FindClass(name);
    if (id.ok()) found = static_cast<int>(*id);
  });
  return found;
}

void* tandem_acquire_as(tandem_allocator* allocator, tandem_class id) noexcept {
  return Of(allocator).Acquire(ClassOf(id));
}

uint32_t tandem_waiting(const tandem_allocator* allocator) noexcept {
  return Of(allocator).waiting();
}

int tandem_allocator_waits(const tandem_allocator* allocator,
                           tandem_allocator_snapshot* out) noexcept {
  SessionSnapshot snapshot;
  if (!tandem::HasMemoryFor([&] { snapshot = Of(allocator).Snapshot(); })) {
    return ENOMEM;
  }
  tandem_allocator_snapshot known = {};
  known.class_count = snapshot.classes.size();
  for (size_t i = 0; i < snapshot.classes.size(); ++i) {
    const auto& from = snapshot.classes[i];
    tandem_class_snapshot& to = known.classes[i];
    from.name.copy(to.name, sizeof(to.name) - 1);
    to.waiting = from.waiting;
    to.waits = from.waits;
    to.grants = from.grants;
    to.cancels = from.cancels;
    to.wait_nanos = from.wait_nanos;
    std::copy(from.buckets.begin(), from.buckets.end(), to.buckets);
  }
  return WriteResult(known, out);
}

void tandem_session_init(tandem_session* session,
                         tandem_allocator* allocator) noexcept {
  new (session) SessionBuffers(Of(allocator));
}

void tandem_session_destroy(tandem_session* session) noexcept {
  Of(session).~SessionBuffers();
}

tandem_allocation session_alloc_recv_buffer(
    tandem_session* session, tandem_side side,
    const tandem_waker* waker) noexcept {
  return ToC(waker == nullptr
                 ? Of(session).AllocateReceiveBuffer(Of(side))
                 : Of(session).AllocateReceiveBuffer(Of(side), Of(*waker)));
}

tandem_allocation session_alloc_buffers(tandem_session* session,
                                        const tandem_waker* waker) noexcept {
  return ToC(waker == nullptr ? Of(session).AllocateBuffers()
                              : Of(session).AllocateBuffers(Of(*waker)));
}

tandem_allocation session_alloc_buffer_as(tandem_session* session,
                                          tandem_class id, tandem_side side,
                                          const tandem_waker* waker) noexcept {
  const ClassId as = ClassOf(id);
  return ToC(waker == nullptr
                 ? Of(session).AllocateBufferAs(as, Of(side))
                 : Of(session).AllocateBufferAs(as, Of(side), Of(*waker)));
}

void session_release_buffers(tandem_session* session) noexcept {
  Of(session).ReleaseBuffers();
}

tandem_wait_status session_finish_wait(tandem_session* session) noexcept {
  return ToC(Of(session).FinishWait());
}

bool session_cancel_wait(tandem_session* session) noexcept {
  return Of(session).CancelWait();
}

void* session_buffer(const tandem_session* session, tandem_side side) noexcept {
  return Of(session).buffer(Of(side));
}

size_t session_size(const tandem_session* session, tandem_side side) noexcept {
  return Of(session).ring(Of(side)).size();
}

size_t session_space(const tandem_session* session, tandem_side side) noexcept {
  return Of(session).ring(Of(side)).space();
}

void session_set_content(tandem_session* session, tandem_side side, size_t head,
                         size_t size) noexcept {
  Of(session).SetContent(Of(side), head, size);
}

tandem_detached session_detach(tandem_session* session,
                               tandem_side side) noexcept {
  const tandem::DetachedBuffer detached = Of(session).Detach(Of(side));
  return {.buffer = detached.buffer,
          .head = detached.content.head,
          .size = detached.content.size};
}

void session_adopt(tandem_session* session, tandem_side side,
                   tandem_detached detached) noexcept {
  Of(session).Adopt(Of(side), static_cast<std::byte*>(detached.buffer),
                    detached.head, detached.size);
}

void session_swap(tandem_session* session, tandem_side side,
                  tandem_session* other, tandem_side other_side) noexcept {
  Of(session).Swap(Of(side), Of(other), Of(other_side));
}

int session_readable(const tandem_session* session, tandem_side side,
                     iovec out[2]) noexcept {
  return Of(session).ring(Of(side)).ReadableIovecs(std::span<iovec, 2>(out, 2));
}

int session_writable(tandem_session* session, tandem_side side,
                     iovec out[2]) noexcept {
  return Of(session).ring(Of(side)).WritableIovecs(std::span<iovec, 2>(out, 2));
}

void session_commit(tandem_session* session, tandem_side side,
                    size_t n) noexcept {
  Of(session).ring(Of(side)).Commit(n);
}

void session_consume(tandem_session* session, tandem_side side,
                     size_t n) noexcept {
  Of(session).ring(Of(side)).Consume(n);
}
