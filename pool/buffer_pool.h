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
// Exhaustion is exact: an allocation fails only if every buffer was in use,
// promised to somebody, or on its way. What lies in another thread's cache is
// found, whatever that thread is doing.
//
// Threads:   any thread may call anything, without registering, and release
//            what another has acquired. After its first use of the pool, a
//            thread's signal handlers may too, but for Trim and Snapshot.
// Progress:  lock-free, but for a thread's first use and its end, Create,
//            destruction, Trim and Snapshot.
// Cost:      through the thread's cache, while it is biased
//            (PoolOptions::bias): no atomic read-modify-write, no fence, no
//            write to a line that others use, no system call, for up to 512
//            buffers at once. While it is not: one uncontended compare-and-swap
//            on a line of the thread's own, and loads of one shared word that
//            changes once a batch. With PoolOptions::detect_misuse, a load and
//            a store more for each buffer, on a line that only its owner
//            writes.
// Memory:    one region, mapped at creation, committed as it is first used. The
//            pool never writes into a buffer unless an option asks it to.
// Lifetime:  the pool must outlive its buffers and session layers, but not the
//            threads that used it. Buffers that are missing when it goes are
//            reported.
// Fork:      a child may use new pools, and its copies of the parent's: it
//            finds what lay in the caches of threads that it does not have, and
//            not what they had in their hands.
// Misuse:    a pointer that is not a buffer of this pool, or was released
//            before, aborts with a message that names it.
class BufferPool {
 public:
  // InvalidArgument for a wrong option, as Validate says; the system's error
  // for memory that can't be mapped: the region, states of the misuse check,
  // and for each buffer 4 bytes and two addresses, for each thread 5 KiB, all
  // of it committed as it is first used; ResourceExhausted, with no message
  // where there is no memory for one, where operator new has none for the rest,
  // or the process no pthread key.
  static absl::StatusOr<std::unique_ptr<BufferPool>> Create(
      const PoolOptions& options) noexcept;

  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // One buffer of buffer_size() bytes, contents unspecified; null if exhausted.
  // May take the last one; waits its turn behind all sessions that wait.
  [[nodiscard, gnu::always_inline]] std::byte* Acquire() noexcept {
    std::byte* buffer;
    if (!core_.TakeBiased(FastCache(), {&buffer, 1}, kAnyBuffer)) [[unlikely]] {
      return AcquireSlow();
    }
    misuse_check_.MarkTaken({&buffer, 1});
    return buffer;
  }

  // As Acquire; the buffer is released when the result goes.
  [[nodiscard]] Buffer AcquireBuffer() noexcept;

  // Fills `out` with buffers, all or none. True if all; else what is in `out`
  // is unspecified.
  [[nodiscard]] bool AcquireMany(std::span<std::byte*> out) noexcept;

  // AcquireMany of two, which costs little more than one.
  [[nodiscard, gnu::always_inline]] bool AcquirePair(
      std::span<std::byte*, 2> out) noexcept {
    if (!core_.TakeBiased(FastCache(), out, kAnyBuffer)) [[unlikely]] {
      return AcquirePairSlow(out);
    }
    misuse_check_.MarkTaken(out);
    return true;
  }

  // Takes back a buffer that was acquired from this pool; not null. Any thread.
  [[gnu::always_inline]] void Release(std::byte* buffer) noexcept {
    misuse_check_.MarkIdle({&buffer, 1});
    if (!core_.GiveBiased(FastCache(), {&buffer, 1})) [[unlikely]] {
      GiveSlow(buffer);
    }
  }

  // Takes back all of `buffers`; 512 at a time cost little more than one.
  void ReleaseMany(std::span<std::byte* const> buffers) noexcept;

  // ReleaseMany of two.
  [[gnu::always_inline]] void ReleasePair(
      std::span<std::byte* const, 2> buffers) noexcept {
    misuse_check_.MarkIdle(buffers);
    if (!core_.GiveBiased(FastCache(), buffers)) [[unlikely]] {
      GiveSlow(buffers[0], buffers[1]);
    }
  }

  // The calling thread's first use of the pool, for who wants it at a certain
  // moment: from now on the thread's signal handlers may use the pool.
  // ResourceExhausted if there is no cache for the thread, for want of memory
  // or because PoolOptions::max_threads have one: it works without, slower.
  absl::Status AttachThread() noexcept;

  // Gives the memory of idle buffers back to the system, a batch at a time, so
  // that others keep finding buffers meanwhile; stops under pressure. First
  // empties the caches of threads that have not used theirs for 10 ms, and
  // waits that long where it cannot tell yet: expect 10 ms a call, and more for
  // what there is to give back. Returns bytes; FailedPrecondition if the pool
  // is pinned or its memory locked.
  //
  // Only whole pages that a buffer covers go back, as its neighbours may be in
  // use: none of a buffer that is smaller than a page, for which this always
  // returns 0; where buffers are no multiple of a page, or not all aligned to
  // one, parts at both ends stay (with huge_pages = kExplicit a page is 2 MiB).
  absl::StatusOr<size_t> Trim() noexcept;

  // What the pool looks like now, and what it has done (P8). Reads every cache,
  // goes over all free buffers (up to some nanoseconds for each) and allocates
  // memory: not for signal handlers. Where there is none, `cores` and `threads`
  // are empty.
  PoolSnapshot Snapshot() const noexcept;

  const std::string& name() const { return map().pool_name(); }
  size_t buffer_size() const { return region_.buffer_size(); }
  uint32_t capacity() const { return map().capacity(); }
  uint32_t reserve() const { return core_.central().reserve(); }

  // All memory of all buffers, in one span, and how far each buffer's start is
  // from the next one's. Buffer 0 is the first thing in it, but with
  // debug.guard_pages, where the first page, and one behind each buffer, may
  // not be touched.
  std::span<std::byte> region() const { return region_.bytes(); }
  size_t stride() const { return map().stride(); }

  // The same in pieces for who registers them once (io_uring's fixed buffers,
  // which take 1 GiB each at most; RDMA): each holds whole buffers, and piece
  // PieceOf(index) the buffer of that number. None with debug.guard_pages,
  // since the kernel takes no memory that may not be touched. Set `pinned`, so
  // that no page changes behind its back.
  size_t piece_count() const { return region_.piece_count(); }
  std::span<std::byte> piece(size_t i) const { return region_.piece(i); }
  size_t PieceOf(BufferIndex index) const { return region_.PieceOf(index); }

  // Number and address. IndexOf aborts if `buffer` is none of this pool's;
  // AddressOf requires an index below capacity().
  BufferIndex IndexOf(const std::byte* buffer) const {
    return map().IndexOf(buffer);
  }
  std::byte* AddressOf(BufferIndex index) const { return map().Address(index); }

  // What a session layer asks of the pool: pool/session_door.h.
  class SessionDoor;

 private:
  using Core = LockFreePool<StdPlatform>;
  using Cache = Core::Cache;

  const BufferMap& map() const { return region_.map(); }

  // The arrays that the core works on. What grows with the capacity, or with
  // max_threads, takes no memory until it is used.
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

  // The claim of who is entitled to every buffer, last in every order.
  static constexpr AllocationTerms kAnyBuffer{.keep = 0, .rank = Rank{0xFF}};

  BufferPool(const PoolOptions& options, Region region, MisuseCheck guard,
             Tables tables, bool biased);
  // As Create and Trim, but operator new may throw.
  static absl::StatusOr<std::unique_ptr<BufferPool>> CreateOrThrow(
      const PoolOptions& options);
  absl::StatusOr<size_t> TrimOrThrow();

  // The calling thread's cache for the fast path; null if there is no such way.
  Cache* FastCache() const { return tandem::FastCache(pass_); }

  // The calling thread's cache, bound now at the latest; null to go past it.
  Cache* ThisThreadCache() {
    // relaxed: see ThreadBinder.
    Cache* const cache =
        thread_caches[pass_.slot].load(std::memory_order::relaxed);
    return cache != nullptr ? cache : ThreadBinder::Bind(pass_, core_);
  }

  // Buffers on their way to a user or a session, which did not take the fast
  // path, and on their way back; `caller` is whose doing it is.
  void HandOut(std::span<std::byte* const> buffers, Holder to,
               const void* caller) {
    misuse_check_.MarkTaken(buffers, to);
    if (misuse_check_.has_extras()) HandOutWithExtras(buffers, to, caller);
  }
  void HandOutWithExtras(std::span<std::byte* const> buffers, Holder to,
                         const void* caller);
  void TakeBack(std::span<std::byte* const> buffers, Holder from,
                const void* caller);

  // Acquire and Release where the fast path does not serve. What is given has
  // been marked idle.
  std::byte* AcquireSlow() noexcept;
  bool AcquirePairSlow(std::span<std::byte*, 2> out) noexcept;
  bool AcquireManySlow(std::span<std::byte*> out, const void* caller) noexcept;
  void GiveSlow(std::byte* buffer) noexcept;
  void GiveSlow(std::byte* first, std::byte* second) noexcept;
  void GiveSlow(std::span<std::byte* const> buffers, const void* caller);

  // As LockFreePool says. TakeSlow: once the fast path has failed, or where
  // there is none.
  bool Take(std::span<std::byte*> out, AllocationTerms claim) {
    Cache* const cache = ThisThreadCache();
    if (injects_faults_ && !InjectFaults(cache)) [[unlikely]]
      return false;
    return core_.Take(cache, out, claim);
  }
  bool TakeSlow(std::span<std::byte*> out, AllocationTerms claim) {
    if (misuse_check_.has_extras()) return Take(out, claim);
    Cache* const cache = ThisThreadCache();
    if (injects_faults_ && !InjectFaults(cache)) [[unlikely]]
      return false;
    return core_.TakeSlow(cache, out, claim);
  }
  bool TakeCheaply(std::span<std::byte*> out, AllocationTerms claim) {
    Cache* const cache = ThisThreadCache();
    if (injects_faults_ && !InjectFaults(cache)) [[unlikely]]
      return false;
    return core_.TakeCheaply(cache, out, claim);
  }

  // What DebugOptions asks of an allocation. False if it is to fail. Pools that
  // do this are not biased, so that the fast path need not ask.
  bool InjectFaults(Cache* cache);

  const DebugOptions debug_;
  const bool injects_faults_;
  const char* const stays_;  // why memory is not given back; null if it is
  Region region_;
  MisuseCheck misuse_check_;
  Tables tables_;
  Core core_;
  ThreadSlot pass_{.slot = kCachedPools, .offset = 0};
  SharedCounter<StdPlatform> injected_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_BUFFER_POOL_H_
