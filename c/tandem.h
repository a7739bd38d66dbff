#ifndef TANDEM_C_TANDEM_H_
#define TANDEM_C_TANDEM_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <time.h>

// Tandem for C11: a bounded, lock-free pool of I/O buffers, and sessions that
// take two buffers or none and wait in order.
//
//   tandem_pool_options options = {.size = sizeof(options), .capacity = 4096};
//   tandem_pool* pool;
//   tandem_allocator* allocator;
//   char why[TANDEM_MESSAGE_SIZE];
//   if (tandem_pool_create(&pool, &options, why, sizeof(why)) != 0 ||
//       tandem_allocator_create(&allocator, pool, NULL, why, sizeof(why)) != 0)
//     errx(1, "%s", why);
//
//   struct connection { tandem_session buffers; int fd; };
//   tandem_session_init(&c->buffers, allocator);
//   if (session_alloc_recv_buffer(&c->buffers, TANDEM_REQUEST, &waker) ==
//       TANDEM_GRANTED) {
//     struct iovec room[2];
//     const int n = session_writable(&c->buffers, TANDEM_REQUEST, room);
//     const ssize_t got = readv(c->fd, room, n);
//     if (got > 0) session_commit(&c->buffers, TANDEM_REQUEST, got);
//   }
//   session_release_buffers(&c->buffers);
//
// Functions on a session that exist in the program this library comes from
// begin with session_; all other names begin with tandem_.
//
// Threads:  any thread may call anything on a pool or an allocator, without
//           registering. A session belongs to one thread at a time, except for
//           session_cancel_wait.
// Signals:  a signal handler may acquire, release, allocate, wait and cancel,
//           even if it interrupted one of these, once the thread has used the
//           pool (tandem_thread_attach). A handler needs its own sessions.
// Progress: lock-free, except for functions that create, destroy, attach, trim,
//           or read statistics.
// Options:  a structure begins with its own size, so that programs and
//           libraries of different versions work together: a field that an
//           older program does not know has its default, and a field that an
//           older library does not know must be 0. A number 0, a pointer NULL
//           and a flag false mean the default; TANDEM_NONE means the number 0.
// Errors:   a creating function returns 0 or an errno, and writes a message
//           that names the option, its value and the allowed range: at most
//           `message_size` bytes, always terminated. Pass NULL and 0 for no
//           message. EINVAL: an option is wrong. ENOMEM: memory or another
//           resource ran out. EPERM: the system, or the state of the pool, does
//           not permit it. Other values come from the system.
// Misuse:   releasing a foreign, misaligned or already released pointer aborts,
//           after a message that names it (tandem_set_abort_handler).

#ifdef __cplusplus
#define TANDEM_NOEXCEPT noexcept
extern "C" {
#else
#define TANDEM_NOEXCEPT
#endif

// Large enough for every message of this library.
#define TANDEM_MESSAGE_SIZE 512

// The number 0 for options where 0 itself means the default.
#define TANDEM_NONE UINT32_MAX

// Called at most once, with the last message of the process before it aborts
// because of misuse; NULL, the initial value, for no handler. The setter
// returns the previous handler. The handler runs in the aborting thread, which
// may be in a signal handler: it must be async-signal-safe, and must not use
// the pool. If it returns, the message goes to standard error.
typedef void (*tandem_abort_handler)(const char* message);
tandem_abort_handler tandem_set_abort_handler(tandem_abort_handler handler)
    TANDEM_NOEXCEPT;

// ---------------------------------------------------------------------------
// The pool

typedef struct tandem_pool tandem_pool;

// Whether a thread cache is biased to its owner: then taking and returning need
// no atomic read-modify-write.
typedef enum tandem_bias {
  TANDEM_BIAS_AUTO,    // if the system can
  TANDEM_BIAS_BIASED,  // creation fails if the system cannot
  TANDEM_BIAS_SHARED,  // never
} tandem_bias;

typedef enum tandem_huge_pages {
  TANDEM_HUGE_PAGES_NONE,
  TANDEM_HUGE_PAGES_TRANSPARENT,  // as many as the system has available
  TANDEM_HUGE_PAGES_EXPLICIT,     // creation fails if they are not available
} tandem_huge_pages;

typedef enum tandem_numa_policy {
  TANDEM_NUMA_LOCAL,       // on the node of the thread that first uses a buffer
  TANDEM_NUMA_INTERLEAVE,  // page by page over all nodes
  TANDEM_NUMA_BIND,        // only on `numa_node`
} tandem_numa_policy;

typedef struct tandem_pool_options {
  // sizeof(tandem_pool_options).
  size_t size;
  // Appears in messages; copied. Default: "buffers".
  const char* name;
  // Bytes in a buffer: 64 to 1 GiB, a multiple of 64. Default: 16,384.
  size_t buffer_size;
  // Buffers in the pool: 1 to 16,777,215. Default: 1,024.
  uint32_t capacity;
  // The last buffers of the pool, this many, are for pairs:
  // session_alloc_recv_buffer leaves them. TANDEM_NONE, or 1 to capacity.
  // Default: 2.
  uint32_t reserve;
  // Buffers that one thread may cache: TANDEM_NONE, or up to the maximum that
  // the error message for a larger number states. Default: adaptive.
  uint32_t cache_size;
  // Threads that can have a cache at once: TANDEM_NONE, or 1 to 65,536.
  // Default: 1,024. Any further thread works without a cache, more slowly.
  uint32_t max_threads;
  // Shards of the depot, the shared free list: 1 to 4,096. Default: one for
  // each core.
  uint32_t core_pools;
  // Values of tandem_bias, tandem_huge_pages and tandem_numa_policy.
  uint32_t bias;
  uint32_t huge_pages;
  uint32_t numa_policy;
  // For TANDEM_NUMA_BIND: 0 to 1,023, an existing node.
  uint32_t numa_node;
  // Fault injection: on average one allocation in this many fails. Default:
  // none.
  uint32_t fail_one_in;

  // Commit all memory at creation, not at first use.
  bool prefault;
  // Pages stay in place: tandem_trim is refused (io_uring, RDMA).
  bool pinned;
  // Overwrite released buffers with zeros.
  bool zero_on_release;
  // Do not check for foreign, misaligned or already released pointers. Saves 64
  // to 128 bytes of memory for each buffer.
  bool no_misuse_check;

  // Aids for finding faults in the program that uses the pool.
  bool no_cache;       // every operation bypasses the thread caches
  bool cold_first;     // a thread takes the oldest buffer of its cache
  bool integrity;      // detect a write after release when the buffer is taken
  bool canaries;       // detect a write past a buffer when it is released
  bool guard_pages;    // each buffer lies between inaccessible pages
  bool record_caller;  // messages name the last taking or releasing caller
  bool strict_misuse;  // detect even two releases that race each other

  // No buffer's memory is ever swapped out (mlock(2)); all of it is committed
  // at creation. tandem_trim is refused.
  bool lock_memory;
  // Core dumps leave the buffers out.
  bool exclude_from_core_dumps;

  // For future options: must be false.
  bool reserved[3];
} tandem_pool_options;

// Creates a pool; NULL as `options` means all defaults. The caller destroys it.
int tandem_pool_create(tandem_pool** pool, const tandem_pool_options* options,
                       char* message, size_t message_size) TANDEM_NOEXCEPT;

// No thread may use the pool any more, and its allocator must be destroyed. The
// threads that used the pool may live on. Missing buffers are reported. NULL is
// allowed.
void tandem_pool_destroy(tandem_pool* pool) TANDEM_NOEXCEPT;

const char* tandem_pool_name(const tandem_pool* pool) TANDEM_NOEXCEPT;
size_t tandem_buffer_size(const tandem_pool* pool) TANDEM_NOEXCEPT;
uint32_t tandem_capacity(const tandem_pool* pool) TANDEM_NOEXCEPT;
uint32_t tandem_reserve(const tandem_pool* pool) TANDEM_NOEXCEPT;

// Takes one buffer, contents unspecified; NULL if every buffer is in use,
// promised or being moved. May take the last buffer; never goes before a
// waiting session.
void* tandem_acquire(tandem_pool* pool) TANDEM_NOEXCEPT;

// Fills `out` with `count` buffers, all or nothing. True if all; otherwise the
// contents of `out` are unspecified.
bool tandem_acquire_many(tandem_pool* pool, void** out,
                         size_t count) TANDEM_NOEXCEPT;

// Takes back a buffer that any thread acquired from this pool; not NULL.
void tandem_release(tandem_pool* pool, void* buffer) TANDEM_NOEXCEPT;
void tandem_release_many(tandem_pool* pool, void* const* buffers,
                         size_t count) TANDEM_NOEXCEPT;

// Sets up what the calling thread needs to use the pool; otherwise its first
// use does so. After that, the thread's signal handlers may use the pool.
// Returns 0, or ENOMEM if the thread has no cache, because there is no memory
// or because `max_threads` threads have one. The pool still serves the thread,
// more slowly.
int tandem_thread_attach(tandem_pool* pool) TANDEM_NOEXCEPT;

// The memory of all buffers, for registration with the kernel or a device.
typedef struct tandem_region {
  void* base;
  size_t bytes;
  size_t stride;  // from one buffer's start to the next
} tandem_region;
tandem_region tandem_pool_region(const tandem_pool* pool) TANDEM_NOEXCEPT;

// The number of the buffer that begins at `buffer`: 0 to capacity - 1; aborts
// if there is none. And the buffer of a number that is below the capacity.
uint32_t tandem_index_of(const tandem_pool* pool,
                         const void* buffer) TANDEM_NOEXCEPT;
void* tandem_address_of(const tandem_pool* pool,
                        uint32_t index) TANDEM_NOEXCEPT;

// The same memory in pieces that the kernel can register (io_uring's fixed
// buffers, at most 1 GiB each). Each piece holds whole buffers; the buffer of
// an index is in piece tandem_piece_of. There are none with `guard_pages`. Set
// `pinned`, so that the pool never replaces a page that has been registered.
size_t tandem_pool_piece_count(const tandem_pool* pool) TANDEM_NOEXCEPT;
struct iovec tandem_pool_piece(const tandem_pool* pool,
                               size_t i) TANDEM_NOEXCEPT;
size_t tandem_piece_of(const tandem_pool* pool, uint32_t index) TANDEM_NOEXCEPT;

// Gives the memory of idle buffers back to the system; stops under pressure.
// Returns 0, with the number of bytes in `bytes` unless it is NULL, or EPERM if
// the pool is pinned or its memory locked.
int tandem_trim(tandem_pool* pool, size_t* bytes) TANDEM_NOEXCEPT;

// Trims a pool in a thread of its own: at once, then at intervals, and when the
// system reports that memory is short. Pools do none of this by themselves.
typedef struct tandem_trimmer tandem_trimmer;

typedef struct tandem_trimmer_options {
  // sizeof(tandem_trimmer_options).
  size_t size;
  // The file for the trigger of `on_pressure`. Default: the memory.pressure of
  // the process's control group, or else /proc/pressure/memory.
  const char* pressure_file;
  // The interval: 1 to 86,400,000. Default: no trims by time.
  uint32_t every_ms;
  // Trim when tasks have waited for memory for 150 ms within 2 s (PSI, Linux
  // 4.20; needs CAP_SYS_RESOURCE before 6.5). Creation fails with the system's
  // error if there is no such trigger.
  bool on_pressure;
  // For future options: must be false.
  bool reserved[3];
} tandem_trimmer_options;

// At least one of `every_ms` and `on_pressure` must be set. EPERM if the pool
// refuses tandem_trim.
int tandem_trimmer_create(tandem_trimmer** trimmer, tandem_pool* pool,
                          const tandem_trimmer_options* options, char* message,
                          size_t message_size) TANDEM_NOEXCEPT;

// Must be called before the pool is destroyed. Waits for a trim in progress.
// NULL is allowed.
void tandem_trimmer_destroy(tandem_trimmer* trimmer) TANDEM_NOEXCEPT;

// The trims and the bytes given back so far, with those of the creation.
uint64_t tandem_trimmer_trims(const tandem_trimmer* trimmer) TANDEM_NOEXCEPT;
uint64_t tandem_trimmer_bytes(const tandem_trimmer* trimmer) TANDEM_NOEXCEPT;

// The current state of the pool. Each number was true at some moment of the
// call; together they are consistent only if no thread used the pool.
typedef struct tandem_snapshot {
  size_t size;  // sizeof(tandem_snapshot), set by the caller
  uint32_t capacity;
  uint32_t reserve;
  uint32_t available;    // in the depot
  uint32_t cached;       // in all thread caches
  uint32_t in_use;       // all others
  uint32_t waiting;      // waiting sessions
  uint32_t cache_limit;  // the most that one thread may cache
  uint32_t threads;      // living threads that have a cache
  uint32_t pressed;      // 1 while buffers are short and caches are bypassed
  uint32_t biased;       // 1 if thread caches may be biased (tandem_bias)
  // Since creation, over all threads.
  uint64_t refills;    // batches fetched for caches
  uint64_t flushes;    // batches returned from caches
  uint64_t steals;     // batches taken from other threads' caches
  uint64_t shortages;  // allocations that had to search all caches
  uint64_t failures;   // allocations that found too few buffers
  uint64_t barriers;   // system calls that revoked bias
} tandem_snapshot;

// Fills as much of `out` as its size field says, which the caller sets before.
// Visits all free buffers, and allocates memory. Returns 0, or EINVAL for a
// size that does not cover the size field itself.
int tandem_pool_snapshot(const tandem_pool* pool,
                         tandem_snapshot* out) TANDEM_NOEXCEPT;

// ---------------------------------------------------------------------------
// The session layer

// The session layer of one pool: the classes and the waiting sessions.
typedef struct tandem_allocator tandem_allocator;

// A class of allocations of one buffer that a server declares. Its waiters are
// served first come, first served. The built-in classes are:
//   "complete"  rank 0    holds one buffer, needs the other; keep 0
//   "pair"      rank 100  needs two; keep 0
//   "receive"   rank 200  needs one; keep = the pool's reserve
typedef struct tandem_wait_class {
  const char* name;  // copied
  uint32_t keep;     // buffers that must remain: 0 to the capacity - 1
  int32_t rank;      // 1 to 255, unique; smaller is served first
} tandem_wait_class;

// A class, by its position in the order of ranks.
typedef int tandem_class;
#define TANDEM_MAX_CLASSES 8
#define TANDEM_NO_CLASS (-1)

typedef struct tandem_allocator_options {
  // sizeof(tandem_allocator_options).
  size_t size;
  // Sessions that may wait at once: 1 to 1,048,575. Default: 4,096.
  uint32_t max_waiters;
  // How often later allocations of classes with a smaller rank may overtake a
  // waiting class: 1 to 1,000,000. Default: 64.
  uint32_t max_overtakes;
  // Classes in addition to the built-in ones: up to five.
  const tandem_wait_class* classes;
  size_t class_count;
} tandem_allocator_options;

// Creates the session layer of `pool`; NULL as `options` means all defaults. No
// other thread may use the pool during the call. EPERM if the pool already has
// one.
int tandem_allocator_create(tandem_allocator** allocator, tandem_pool* pool,
                            const tandem_allocator_options* options,
                            char* message, size_t message_size) TANDEM_NOEXCEPT;

// All its sessions must be destroyed, and no other thread may use the pool
// during the call. NULL is allowed.
void tandem_allocator_destroy(tandem_allocator* allocator) TANDEM_NOEXCEPT;

// Returns the class with this name, TANDEM_NO_CLASS if there is none.
tandem_class tandem_find_class(const tandem_allocator* allocator,
                               const char* name) TANDEM_NOEXCEPT;

// Takes one buffer without a session, in a class as for
// session_alloc_buffer_as; NULL if none is available now. tandem_release takes
// it back.
void* tandem_acquire_as(tandem_allocator* allocator,
                        tandem_class id) TANDEM_NOEXCEPT;

// Sessions that wait now; never less than the real number. One load.
uint32_t tandem_waiting(const tandem_allocator* allocator) TANDEM_NOEXCEPT;

// The waits of one class.
typedef struct tandem_class_snapshot {
  char name[32];         // truncated if it is longer
  uint64_t waiting;      // now
  uint64_t waits;        // subscribed, since creation
  uint64_t grants;       // served
  uint64_t cancels;      // cancelled
  uint64_t wait_nanos;   // sum over served waits
  uint64_t buckets[28];  // i: waits below 2^i microseconds; last: unbounded
} tandem_class_snapshot;

typedef struct tandem_allocator_snapshot {
  size_t size;           // sizeof(tandem_allocator_snapshot), set by the caller
  uint64_t class_count;  // number of elements in `classes`
  tandem_class_snapshot classes[TANDEM_MAX_CLASSES];  // in order of rank
} tandem_allocator_snapshot;

// As tandem_pool_snapshot; ENOMEM if there is no memory for it.
int tandem_allocator_waits(const tandem_allocator* allocator,
                           tandem_allocator_snapshot* out) TANDEM_NOEXCEPT;

// How a waiter is notified that its buffers are there.
//
// `wake` is called once for each granted wait, on the thread that served it.
// The call may come before the subscribing call has returned, and may come in a
// signal handler. It must not block, throw or longjmp, and must not create or
// destroy a pool. It may use any pool, and any session that no other thread
// uses.
//
// If `context` is NULL, `wake` gets the address of a word that belongs to the
// library. Without `wake` there is no notification: the waiter must look by
// itself.
typedef struct tandem_waker {
  void (*wake)(void* context) TANDEM_NOEXCEPT;
  void* context;
  bool on_cancel;  // also call it for a cancelled wait
} tandem_waker;

// The two sides of one connection, each with at most one buffer, used as a ring
// of bytes. A server embeds this structure, and must not move or copy it.
#define TANDEM_SESSION_SIZE 64
typedef struct tandem_session {
  uint64_t opaque[TANDEM_SESSION_SIZE / 8];
} tandem_session;

typedef enum tandem_side {
  TANDEM_REQUEST,
  TANDEM_RESPONSE,
} tandem_side;

// The result of an allocation.
typedef enum tandem_allocation {
  TANDEM_GRANTED,     // the buffers are in the session
  TANDEM_EXHAUSTED,   // not available, and there was no waker
  TANDEM_WAITING,     // the waker will be called
  TANDEM_OVERLOADED,  // not available, and too many sessions wait already
} tandem_allocation;

// The state of a session's wait.
typedef enum tandem_wait_status {
  TANDEM_WAIT_NONE,       // the session does not wait
  TANDEM_WAIT_WAITING,    // it still waits
  TANDEM_WAIT_GRANTED,    // served: the buffers are in the session
  TANDEM_WAIT_CANCELLED,  // cancelled, possibly by another thread
} tandem_wait_status;

void tandem_session_init(tandem_session* session,
                         tandem_allocator* allocator) TANDEM_NOEXCEPT;

// Cancels a wait and releases all buffers, with or without data.
void tandem_session_destroy(tandem_session* session) TANDEM_NOEXCEPT;

// The allocations. An allocation that cannot be met waits if `waker` is not
// NULL, and fails at once if it is NULL; the waker is copied. A session has at
// most one wait at a time: while it waits, every allocation returns
// TANDEM_WAITING. Once it has been served, the next allocation first puts the
// buffers into the session, as session_finish_wait does.
//
// No deadlock: every wait is served if each session that was given both buffers
// returns both before it asks again, and each session that holds a single
// buffer eventually returns it or calls session_alloc_buffers for the other.

// Before a receive: takes a buffer for one side if at least the pool's reserve
// remains for pairs. A side that has a buffer succeeds at once.
tandem_allocation session_alloc_recv_buffer(
    tandem_session* session, tandem_side side,
    const tandem_waker* waker) TANDEM_NOEXCEPT;

// Before processing: takes what is missing of the two buffers, all or nothing.
// If that fails, the session gives back a buffer that it holds empty, but never
// one with data.
tandem_allocation session_alloc_buffers(
    tandem_session* session, const tandem_waker* waker) TANDEM_NOEXCEPT;

// Takes a buffer for one side, in a class of one buffer. "complete" is for
// callers that hold a buffer that others wait for, in this session or
// elsewhere. "pair" and an unknown class abort.
tandem_allocation session_alloc_buffer_as(
    tandem_session* session, tandem_class id, tandem_side side,
    const tandem_waker* waker) TANDEM_NOEXCEPT;

// After processing: gives back each buffer that holds no data.
void session_release_buffers(tandem_session* session) TANDEM_NOEXCEPT;

// Returns the state of the wait, and ends a wait that was granted or cancelled.
tandem_wait_status session_finish_wait(tandem_session* session) TANDEM_NOEXCEPT;

// Ends the wait without buffers, from any thread, at any time in the session's
// life. True: the wait is over, and the waker is called only if it asks for
// that (on_cancel). False: there was no wait, or it was granted first. In the
// latter case the waker has been or is being called, its context must live
// until it has returned, and session_finish_wait delivers the buffers.
bool session_cancel_wait(tandem_session* session) TANDEM_NOEXCEPT;

// The buffer of a side, NULL if it has none.
void* session_buffer(const tandem_session* session,
                     tandem_side side) TANDEM_NOEXCEPT;

// The bytes that a side holds, and the bytes that still fit; 0 and 0 without a
// buffer.
size_t session_size(const tandem_session* session,
                    tandem_side side) TANDEM_NOEXCEPT;
size_t session_space(const tandem_session* session,
                     tandem_side side) TANDEM_NOEXCEPT;

// For a server that tracks its bytes itself: sets the filled part of a side's
// buffer, `size` bytes from `head` on, wrapping at the end.
// session_release_buffers uses `size` to decide whether to release the buffer.
// Requires a buffer, head below the buffer size, and size at most the buffer
// size.
void session_set_content(tandem_session* session, tandem_side side, size_t head,
                         size_t size) TANDEM_NOEXCEPT;

// A buffer that moves from one session to another, with its filled part.
typedef struct tandem_detached {
  void* buffer;  // NULL if there is none
  uint32_t head;
  uint32_t size;
} tandem_detached;

// Moves a side's buffer out of the session. The caller then owns it, and
// releases it, uses it, or lets a session adopt it.
tandem_detached session_detach(tandem_session* session,
                               tandem_side side) TANDEM_NOEXCEPT;

// Moves a buffer into a side that has none and waits for none. The buffer was
// detached from a session of the same pool, or acquired from the pool (head and
// size are 0 if it is empty).
void session_adopt(tandem_session* session, tandem_side side,
                   tandem_detached detached) TANDEM_NOEXCEPT;

// Swaps the contents of two sides (a buffer or none) of one session or of two
// sessions of one pool. Neither side may wait for a buffer.
void session_swap(tandem_session* session, tandem_side side,
                  tandem_session* other,
                  tandem_side other_side) TANDEM_NOEXCEPT;

// The bytes to send next, for writev(2), and the space to receive into, for
// readv(2). Returns how many of the two pieces to pass.
int session_readable(const tandem_session* session, tandem_side side,
                     struct iovec out[2]) TANDEM_NOEXCEPT;
int session_writable(tandem_session* session, tandem_side side,
                     struct iovec out[2]) TANDEM_NOEXCEPT;

// Commit: the first `n` writable bytes have been filled, n <= session_space.
// Consume: the first `n` readable bytes are no longer needed, n <=
// session_size.
void session_commit(tandem_session* session, tandem_side side,
                    size_t n) TANDEM_NOEXCEPT;
void session_consume(tandem_session* session, tandem_side side,
                     size_t n) TANDEM_NOEXCEPT;

// Extra buffers for one side of a session, for when its own buffer is full,
// more data has arrived, and the pool has plenty: one visit then moves 64 KiB
// by one readv(2) and one writev(2).
//
//   struct iovec room[TANDEM_MAX_SPARES];
//   if (session_space(&c->buffers, side) == 0 &&
//       tandem_spares_take(&c->spares, TANDEM_MAX_SPARES)) {
//     const int n = tandem_spares_writable(&c->spares, room);
//     const ssize_t got = readv(c->fd, room, n);
//     if (got > 0) tandem_spares_commit(&c->spares, got);
//   }
//   send the bytes of the session's side, then those of the spares
//   tandem_spares_release(&c->spares);  // at the end of the visit
//
// The spares form one row of bytes, filled from its start and sent from there.
// A session never waits for spares, and under shortage it is as if they did not
// exist. For the promise above, a spare that holds data counts as a buffer that
// a slow peer keeps: a server that bounds those must include the spares.
//
// A server embeds this structure, and must not move or copy it. It belongs to
// one thread at a time, as the session.
#define TANDEM_MAX_SPARES 3
typedef struct tandem_spares {
  uint64_t opaque[6];
} tandem_spares;

void tandem_spares_init(tandem_spares* spares,
                        tandem_allocator* allocator) TANDEM_NOEXCEPT;
// Gives back all buffers, with or without data.
void tandem_spares_destroy(tandem_spares* spares) TANDEM_NOEXCEPT;

// Takes `count` buffers, 1 to TANDEM_MAX_SPARES, all or nothing, if no session
// waits, and a quarter of the pool and the reserve remain free. Requires that
// there are none yet.
bool tandem_spares_take(tandem_spares* spares, uint32_t count) TANDEM_NOEXCEPT;

// Gives back each buffer that holds no data.
void tandem_spares_release(tandem_spares* spares) TANDEM_NOEXCEPT;
// Gives back all buffers; their data is lost.
void tandem_spares_clear(tandem_spares* spares) TANDEM_NOEXCEPT;

// The number of buffers, of buffers that hold data, and of bytes in them.
uint32_t tandem_spares_count(const tandem_spares* spares) TANDEM_NOEXCEPT;
uint32_t tandem_spares_kept(const tandem_spares* spares) TANDEM_NOEXCEPT;
size_t tandem_spares_size(const tandem_spares* spares) TANDEM_NOEXCEPT;

// As session_readable and session_writable, over all spares.
int tandem_spares_readable(const tandem_spares* spares,
                           struct iovec out[TANDEM_MAX_SPARES]) TANDEM_NOEXCEPT;
int tandem_spares_writable(const tandem_spares* spares,
                           struct iovec out[TANDEM_MAX_SPARES]) TANDEM_NOEXCEPT;

// As session_commit and session_consume.
void tandem_spares_commit(tandem_spares* spares, size_t n) TANDEM_NOEXCEPT;
void tandem_spares_consume(tandem_spares* spares, size_t n) TANDEM_NOEXCEPT;

// ---------------------------------------------------------------------------
// Ready ways to wait

// A thread that blocks:
//
//   const tandem_waker waker = tandem_blocking_waker();
//   if (session_alloc_buffers(&session, &waker) == TANDEM_WAITING)
//     status = session_block(&session, &deadline);
//
// session_block sleeps until the wait is over, and ends it. At the deadline (a
// CLOCK_MONOTONIC time, or NULL for none) the wait is cancelled; if it was
// granted just before, the session keeps the buffers. Never returns
// TANDEM_WAIT_WAITING.
tandem_waker tandem_blocking_waker(void) TANDEM_NOEXCEPT;
tandem_wait_status session_block(
    tandem_session* session, const struct timespec* deadline) TANDEM_NOEXCEPT;

// Brings wake-ups from any thread to one event loop, through a file descriptor
// that becomes readable. One write serves a whole batch of wake-ups.
//
//   struct connection { tandem_session buffers; tandem_node node; };
//   tandem_node_init(&c->node, go_on, c);
//   const tandem_waker waker = tandem_notifier_waker(notifier, &c->node);
//   session_alloc_buffers(&c->buffers, &waker);
//   when tandem_notifier_fd(notifier) is readable:
//     tandem_notifier_dispatch(notifier);  // calls go_on(c)
//
// Threads:  tandem_notifier_post and the wakers: any, including signal
//           handlers. tandem_notifier_dispatch: the event loop's thread.
// Lifetime: a node must live until its function has been called, or its wait
//           was cancelled with success. The notifier must outlive all nodes.
typedef struct tandem_notifier tandem_notifier;

// What the event loop must do for one waiter. A server embeds it, and must not
// move it. It must not be posted again before its function has been called.
typedef struct tandem_node {
  uint64_t opaque[6];
} tandem_node;

void tandem_node_init(tandem_node* node,
                      void (*on_ready)(void* context) TANDEM_NOEXCEPT,
                      void* context) TANDEM_NOEXCEPT;

int tandem_notifier_create(tandem_notifier** notifier, char* message,
                           size_t message_size) TANDEM_NOEXCEPT;
// Waits for threads that are still posting. NULL is allowed.
void tandem_notifier_destroy(tandem_notifier* notifier) TANDEM_NOEXCEPT;

// Non-blocking, close-on-exec; readable while there are nodes to dispatch.
int tandem_notifier_fd(const tandem_notifier* notifier) TANDEM_NOEXCEPT;

// Returns a waker that makes the loop call the node's function.
tandem_waker tandem_notifier_waker(tandem_notifier* notifier,
                                   tandem_node* node) TANDEM_NOEXCEPT;

// Makes the loop call the node's function.
void tandem_notifier_post(tandem_notifier* notifier,
                          tandem_node* node) TANDEM_NOEXCEPT;

// Calls the posted nodes in the order of posting and returns their number.
size_t tandem_notifier_dispatch(tandem_notifier* notifier) TANDEM_NOEXCEPT;

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // TANDEM_C_TANDEM_H_
