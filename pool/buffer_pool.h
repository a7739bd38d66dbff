#ifndef TANDEM_POOL_BUFFER_POOL_H_
#define TANDEM_POOL_BUFFER_POOL_H_

#if __cplusplus < 202002L
#error "Tandem needs C++20: compile with -std=c++20"
#endif

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tandem/pool/buffer_map.h"
#include "tandem/pool/counters.h"
#include "tandem/pool/depot/depot.h"
#include "tandem/pool/depot/waiter_service.h"
#include "tandem/pool/lock_free_pool.h"
#include "tandem/pool/mapped_array.h"
#include "tandem/pool/misuse_check.h"
#include "tandem/pool/options.h"
#include "tandem/pool/platform.h"
#include "tandem/pool/region.h"
#include "tandem/pool/snapshot.h"
#include "tandem/pool/thread_binding.h"
#include "tandem/pool/types.h"

namespace tandem {

class Buffer;

// A bounded pool of fixed-size I/O buffers for many threads.
//
//   absl::StatusOr<std::unique_ptr<BufferPool>> pool =
//       BufferPool::Create({.buffer_size = 16 * 1024, .capacity = 4096});
//   if (tandem::Buffer buffer = (*pool)->AcquireBuffer()) {
//     read(fd, buffer.data(), buffer.size());
//   }
//
// Exhaustion is exact: an allocation fails only if every buffer is in use,
// promised to another allocation, or in the hands of an operation in progress.
// Buffers in another thread's cache are found, whatever that thread is doing.
//
// Threads:   any thread may call any function, without registration, and may
//            release what another thread has acquired. After a thread's first
//            use of the pool, its signal handlers may too, except for Trim and
//            Snapshot.
// Progress:  lock-free, except for a thread's first use and its end, Create,
//            destruction, Trim and Snapshot.
// Cost:      through the thread's cache, while it is biased
//            (PoolOptions::bias): no atomic read-modify-write, no fence, no
//            write to a line that other threads use, no system call, for up to
//            512 buffers at once. While it is not biased: one uncontended
//            compare-and-swap on a line of the thread's own, and loads of one
//            shared word that changes once a batch. PoolOptions::detect_misuse
//            adds a load and a store for each buffer, on a line that only its
//            owner writes.
// Memory:    one region, mapped at creation, committed on first use. The pool
//            never writes into a buffer unless an option asks for it.
// Lifetime:  the pool must outlive its buffers and session layers, but not the
//            threads that used it. The destructor reports buffers that have not
//            been released.
// Fork:      a child may use new pools, and its copies of the parent's pools.
//            It finds the buffers in the caches of threads that it does not
//            have, but not the buffers that these threads had in their hands.
// Misuse:    a pointer that is not a buffer of this pool, or that has been
//            released already, aborts with a message that names it.
class BufferPool {
 public:
  // InvalidArgument for a wrong option, as Validate says. The system's error if
  // memory cannot be mapped: the region, the states of the misuse check, 4
  // bytes and four addresses for each buffer, and 5 KiB for each thread, all
  // committed on first use. ResourceExhausted if operator new has no memory for
  // the rest, or if the process has no pthread key left; without a message if
  // there is no memory for one.
  static absl::StatusOr<std::unique_ptr<BufferPool>> Create(
      const PoolOptions& options) noexcept;

  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // One buffer of buffer_size() bytes, contents unspecified; null if exhausted.
  // May take the last one; lets all waiting sessions go first.
  [[nodiscard, gnu::always_inline]] std::byte* Acquire() noexcept {
    std::byte* buffer;
    if (!core_.TakeBiased(FastCache(), {&buffer, 1}, kAnyBuffer)) [[unlikely]] {
      return AcquireSlow();
    }
    misuse_check_.MarkTaken({&buffer, 1});
    return buffer;
  }

  // As Acquire; the result releases the buffer when it is destroyed.
  [[nodiscard]] Buffer AcquireBuffer() noexcept;

  // Fills `out` with buffers, all or none. True if all; otherwise the contents
  // of `out` are unspecified.
  [[nodiscard, gnu::always_inline]] bool AcquireMany(
      std::span<std::byte*> out) noexcept {
    // One comparison for both bounds: not empty, and not too many.
    if (out.size() - 1 >= kMaxCacheSize ||
        !core_.TakeBiased(FastCache(), out, kAnyBuffer)) [[unlikely]] {
      return AcquireManySlow(out);
    }
    misuse_check_.MarkManyTaken(out);
    return true;
  }

  // AcquireMany of two; costs little more than one.
  [[nodiscard, gnu::always_inline]] bool AcquirePair(
      std::span<std::byte*, 2> out) noexcept {
    if (!core_.TakeBiased(FastCache(), out, kAnyBuffer)) [[unlikely]] {
      return AcquireManySlow(out);
    }
    misuse_check_.MarkTaken(out);
    return true;
  }

  // Takes back a buffer that was acquired from this pool; not null. Any thread
  // may call it.
  [[gnu::always_inline]] void Release(std::byte* buffer) noexcept {
    misuse_check_.MarkIdle({&buffer, 1});
    if (!core_.GiveBiased(FastCache(), {&buffer, 1})) [[unlikely]] {
      GiveSlow(buffer);
    }
  }

  // Takes back all of `buffers`; 512 at a time cost little more than one.
  [[gnu::always_inline]] void ReleaseMany(
      std::span<std::byte* const> buffers) noexcept {
    if (buffers.size() - 1 >= kMaxCacheSize) [[unlikely]] {
      return ReleaseInPieces(buffers);
    }
    misuse_check_.MarkManyIdle(buffers);
    if (!core_.GiveBiased(FastCache(), buffers)) [[unlikely]] {
      GiveSlow(buffers);
    }
  }

  // ReleaseMany of two.
  [[gnu::always_inline]] void ReleasePair(
      std::span<std::byte* const, 2> buffers) noexcept {
    misuse_check_.MarkIdle(buffers);
    if (!core_.GiveBiased(FastCache(), buffers)) [[unlikely]] {
      GiveSlow(buffers[0], buffers[1]);
    }
  }

  // The calling thread's first use of the pool, at a moment that the caller
  // chooses: from now on the thread's signal handlers may use the pool.
  // ResourceExhausted if there is no cache for the thread, because memory is
  // short or because PoolOptions::max_threads threads have one: the thread then
  // works without a cache, slower.
  absl::Status AttachThread() noexcept;

  // Gives the memory of idle buffers back to the system, a batch at a time, so
  // that other threads keep finding buffers meanwhile; stops under pressure.
  // First empties the caches of threads that have not used theirs for 10 ms. If
  // it cannot tell yet, it waits for that time: a call takes about 10 ms, plus
  // the time to give the memory back. Returns bytes; FailedPrecondition if the
  // pool is pinned or its memory locked.
  //
  // Only whole pages that one buffer covers go back, as its neighbours may be
  // in use. If buffers are smaller than a page, this always returns 0. If the
  // buffer size is no multiple of the page size, or not all buffers are aligned
  // to a page, parts at both ends stay (with huge_pages = kExplicit a page is 2
  // MiB).
  absl::StatusOr<size_t> Trim() noexcept;

  // The state of the pool now, and what it has done (P8). Reads every cache,
  // visits all free buffers (some nanoseconds for each at most) and allocates
  // memory, so signal handlers must not call it. If there is no memory, `cores`
  // and `threads` are empty.
  PoolSnapshot Snapshot() const noexcept;

  const std::string& name() const { return map().pool_name(); }
  size_t buffer_size() const { return region_.buffer_size(); }
  uint32_t capacity() const { return map().capacity(); }
  uint32_t reserve() const { return core_.central().reserve(); }

  // All memory of all buffers, in one span, and the distance from each buffer's
  // start to the next one's. Buffer 0 starts the span, except with
  // debug.guard_pages: then the first page, and one page behind each buffer,
  // must not be accessed.
  std::span<std::byte> region() const { return region_.bytes(); }
  size_t stride() const { return map().stride(); }

  // The same memory in pieces, for registering it once (io_uring's fixed
  // buffers, at most 1 GiB each; RDMA): each piece holds whole buffers, and
  // piece PieceOf(index) holds the buffer of that number. There are none with
  // debug.guard_pages, since the kernel takes no memory that is not accessible.
  // Set `pinned`, so that the pool never replaces a page that has been
  // registered.
  size_t piece_count() const { return region_.piece_count(); }
  std::span<std::byte> piece(size_t i) const { return region_.piece(i); }
  size_t PieceOf(BufferIndex index) const { return region_.PieceOf(index); }

  // True if the pool never replaces a page: `pinned`, or its memory is locked.
  bool pinned() const { return stays_ != nullptr; }

  // Number and address. IndexOf aborts if `buffer` is not a buffer of this
  // pool; AddressOf requires an index below capacity().
  BufferIndex IndexOf(const std::byte* buffer) const {
    return map().IndexOf(buffer);
  }
  std::byte* AddressOf(BufferIndex index) const { return map().Address(index); }

  // The interface for session layers: pool/session_door.h.
  class SessionDoor;

 private:
  using Core = LockFreePool<StdPlatform>;
  using Cache = Core::Cache;

  const BufferMap& map() const { return region_.map(); }

  // The arrays that the core works on. Those that grow with the capacity or
  // with max_threads take no memory until they are used.
  struct Tables {
    static absl::StatusOr<Tables> Create(const PoolOptions& options);
    Core::Layout Layout(const PoolOptions& options, const BufferMap& map,
                        bool biased);

    MappedArray<Core::Link> links;
    MappedArray<Core::Box> magazines;
    MappedArray<Cache> caches;
    std::vector<DepotShard<StdPlatform>> cores;
    std::vector<Core::Registry::MaybeFilledBits> hints;
  };

  // The terms that may take every buffer, and whose turn comes last.
  static constexpr AllocationTerms kAnyBuffer{.keep = 0,
                                              .class_id = ClassId{0xFF}};

  BufferPool(const PoolOptions& options, Region region, MisuseCheck guard,
             Tables tables, bool biased);
  // As Create and Trim, but operator new may throw.
  static absl::StatusOr<std::unique_ptr<BufferPool>> CreateOrThrow(
      const PoolOptions& options);
  absl::StatusOr<size_t> TrimOrThrow();

  // The calling thread's cache for the fast path; null if there is no fast
  // path.
  Cache* FastCache() const { return tandem::FastCache(pass_); }

  // The calling thread's cache, bound now if it was not; null if the thread
  // must go past it.
  Cache* ThisThreadCache() {
    // relaxed: see ThreadBinder.
    Cache* const cache =
        thread_caches[pass_.slot].load(std::memory_order::relaxed);
    return cache != nullptr ? cache : ThreadBinder::Bind(pass_, core_);
  }

  // Slow path: run the checks on hand-out and on return; `caller` is the return
  // address for messages.
  void HandOut(std::span<std::byte* const> buffers, Holder to,
               const void* caller) {
    misuse_check_.MarkTaken(buffers, to);
    if (misuse_check_.has_extras()) HandOutWithExtras(buffers, to, caller);
  }
  void HandOutWithExtras(std::span<std::byte* const> buffers, Holder to,
                         const void* caller);
  void TakeBack(std::span<std::byte* const> buffers, Holder from,
                const void* caller);

  // Acquire and Release after the fast path has failed. GiveSlow expects
  // buffers that are marked idle already.
  std::byte* AcquireSlow() noexcept;
  bool AcquireManySlow(std::span<std::byte*> out) noexcept;
  void ReleaseInPieces(std::span<std::byte* const> buffers) noexcept;
  void GiveSlow(std::byte* buffer) noexcept;
  void GiveSlow(std::byte* first, std::byte* second) noexcept;
  void GiveSlow(std::span<std::byte* const> buffers) noexcept;
  void GiveSlow(std::span<std::byte* const> buffers, const void* caller);

  // As in LockFreePool. TakeSlow: once the fast path has failed, or if there is
  // none.
  bool Take(std::span<std::byte*> out, AllocationTerms terms) {
    Cache* const cache = ThisThreadCache();
    if (injects_faults_ && !InjectFaults(cache)) [[unlikely]]
      return false;
    return core_.Take(cache, out, terms);
  }
  bool TakeSlow(std::span<std::byte*> out, AllocationTerms terms) {
    if (misuse_check_.has_extras()) return Take(out, terms);
    Cache* const cache = ThisThreadCache();
    if (injects_faults_ && !InjectFaults(cache)) [[unlikely]]
      return false;
    return core_.TakeSlow(cache, out, terms);
  }
  bool TakeCheaply(std::span<std::byte*> out, AllocationTerms terms) {
    Cache* const cache = ThisThreadCache();
    if (injects_faults_ && !InjectFaults(cache)) [[unlikely]]
      return false;
    return core_.TakeCheaply(cache, out, terms);
  }

  // Applies what DebugOptions sets for an allocation. False if the allocation
  // is to fail. Pools that do this are not biased, so the fast path need not
  // ask.
  bool InjectFaults(Cache* cache);

  const DebugOptions debug_;
  const bool injects_faults_;
  const char* const stays_;  // why Trim is refused; null if it is not
  Region region_;
  MisuseCheck misuse_check_;
  Tables tables_;
  Core core_;
  ThreadSlot pass_{.slot = kCachedPools, .offset = 0};
  SharedCounter<StdPlatform> injected_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_BUFFER_POOL_H_
