#ifndef TANDEM_C_TANDEM_H_
#define TANDEM_C_TANDEM_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <time.h>

// Tandem for C11: a bounded, lock-free pool of I/O buffers, and sessions that
// take two of them or none and wait their turn.
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
// Names of what a session does begin with session_, as in the program that
// this comes from; all others begin with tandem_.
//
// Threads:  any thread may call anything on a pool or an allocator, without
//           registering. A session belongs to one thread at a time, but for
//           session_cancel_wait.
// Signals:  whatever acquires, releases, allocates, waits and cancels may be
//           called in a handler that interrupted any of it, once the thread has
//           used the pool (tandem_thread_attach). A handler has sessions of its
//           own.
// Progress: lock-free, but for what creates, destroys, attaches, trims, or
//           looks at statistics.
// Options:  a structure begins with its own size, so that programs and
//           libraries of different age work together: what an older program
//           does not know of has its default, and what an older library does
//           not know of must be 0. A number that is 0, a pointer that is NULL
//           and a flag that is false are the default; TANDEM_NONE stands for
//           the number 0.
// Errors:   what creates returns 0 or an errno, and writes a message that
//           names option, value and allowed range: at most `message_size`
//           bytes, always terminated; NULL and 0 if nobody reads it. EINVAL: an
//           option. ENOMEM: memory, or what else is limited. EPERM: the system,
//           or the state of the pool, does not permit it. Else: the system's.
// Misuse:   a foreign, misaligned or twice released pointer aborts, after a
//           message that names it (tandem_set_abort_handler).

#ifdef __cplusplus
#define TANDEM_NOEXCEPT noexcept
extern "C" {
#else
#define TANDEM_NOEXCEPT
#endif

// Room for every message of this library.
#define TANDEM_MESSAGE_SIZE 512

// A number that is 0, where 0 itself means the default.
#define TANDEM_NONE UINT32_MAX

// What is called, at most once, with the last message of the process before it
// is aborted because of misuse; NULL, as at the start, for nothing. Returns
// what was set before. The handler runs in the thread that dies, which may be
// in a signal handler: it must be async-signal-safe, and must not use the pool.
// If it returns, the message goes to standard error.
typedef void (*tandem_abort_handler)(const char* message);
tandem_abort_handler tandem_set_abort_handler(tandem_abort_handler handler)
    TANDEM_NOEXCEPT;

// ---------------------------------------------------------------------------
// The pool

typedef struct tandem_pool tandem_pool;

// Whether thread caches are biased to their owners: then taking and returning
// needs no atomic read-modify-write.
typedef enum tandem_bias {
  TANDEM_BIAS_AUTO,    // where the system can
  TANDEM_BIAS_BIASED,  // creation fails where it cannot
  TANDEM_BIAS_SHARED,  // never
} tandem_bias;

typedef enum tandem_huge_pages {
  TANDEM_HUGE_PAGES_NONE,
  TANDEM_HUGE_PAGES_TRANSPARENT,  // as many as the system finds
  TANDEM_HUGE_PAGES_EXPLICIT,     // creation fails if they are not there
} tandem_huge_pages;

typedef enum tandem_numa_policy {
  TANDEM_NUMA_LOCAL,       // where the thread that first uses a buffer runs
  TANDEM_NUMA_INTERLEAVE,  // page by page over all nodes
  TANDEM_NUMA_BIND,        // on `numa_node` alone
} tandem_numa_policy;

typedef struct tandem_pool_options {
  // sizeof(tandem_pool_options).
  size_t size;
  // Named in messages, copied. Default: "buffers".
  const char* name;
  // Bytes in a buffer: 64 to 1 GiB, a multiple of 64. Default: 16,384.
  size_t buffer_size;
  // Buffers in the pool: 1 to 16,777,215. Default: 1,024.
  uint32_t capacity;
  // The last so many buffers are for pairs: session_alloc_recv_buffer leaves
  // them. TANDEM_NONE, or 1 to capacity. Default: 2.
  uint32_t reserve;
  // Buffers that one thread may cache: TANDEM_NONE, or up to the most that the
  // message of a larger number tells. Default: as many as it has use for.
  uint32_t cache_size;
  // Threads that can have a cache at once: TANDEM_NONE, or 1 to 65,536.
  // Default: 1,024. A thread that finds none left works without, slower.
  uint32_t max_threads;
  // Shards of the shared free list: 1 to 4,096. Default: one for each core.
  uint32_t core_pools;
  // Of tandem_bias, tandem_huge_pages and tandem_numa_policy.
  uint32_t bias;
  uint32_t huge_pages;
  uint32_t numa_policy;
  // For TANDEM_NUMA_BIND: 0 to 1,023, and present.
  uint32_t numa_node;
  // Every so many allocations, on average, fails for no reason. Default: none.
  uint32_t fail_one_in;

  // Commit all memory at creation, not as it is first used.
  bool prefault;
  // Pages stay where they are: tandem_trim is refused (io_uring, RDMA).
  bool pinned;
  // Released buffers are overwritten with zeros.
  bool zero_on_release;
  // A foreign, misaligned or twice released pointer is not looked for. Spares
  // 64 to 128 bytes of memory for each buffer.
  bool no_misuse_check;

  // Aids to find faults in the program that uses the pool.
  bool no_cache;     // every operation goes past the thread caches
  bool cold_first;   // a thread takes what has lain longest in its cache
  bool integrity;    // a write after release is found when the buffer is taken
  bool canaries;     // a write behind a buffer is found when it is released
  bool guard_pages;  // each buffer lies between pages that may not be touched
  bool
      record_caller;  // who last took or released a buffer is named in messages
  bool strict_misuse;  // even two releases that race each other are told

  // For options to come: false.
  bool reserved[5];
} tandem_pool_options;

// A pool; NULL as `options` means all defaults. The caller destroys it.
int tandem_pool_create(tandem_pool** pool, const tandem_pool_options* options,
                       char* message, size_t message_size) TANDEM_NOEXCEPT;

// Nobody uses the pool any more, and its allocator has been destroyed. The
// threads that used it may live on. Buffers that are missing are reported. NULL
// is allowed.
void tandem_pool_destroy(tandem_pool* pool) TANDEM_NOEXCEPT;

const char* tandem_pool_name(const tandem_pool* pool) TANDEM_NOEXCEPT;
size_t tandem_buffer_size(const tandem_pool* pool) TANDEM_NOEXCEPT;
uint32_t tandem_capacity(const tandem_pool* pool) TANDEM_NOEXCEPT;
uint32_t tandem_reserve(const tandem_pool* pool) TANDEM_NOEXCEPT;

// One buffer, contents unspecified; NULL if every buffer is in use, promised or
// on its way. May take the last one; waits its turn behind all sessions that
// wait.
void* tandem_acquire(tandem_pool* pool) TANDEM_NOEXCEPT;

// Fills `out` with `count` buffers, all or none. True if all; else what is in
// `out` is unspecified.
bool tandem_acquire_many(tandem_pool* pool, void** out,
                         size_t count) TANDEM_NOEXCEPT;

// Takes back what was acquired from this pool, by any thread; not NULL.
void tandem_release(tandem_pool* pool, void* buffer) TANDEM_NOEXCEPT;
void tandem_release_many(tandem_pool* pool, void* const* buffers,
                         size_t count) TANDEM_NOEXCEPT;

// Sets up what the calling thread needs to use the pool, which its first use
// would do otherwise: after it, the thread's signal handlers may use the pool.
// 0, or ENOMEM if the thread has no cache for want of memory or because
// `max_threads` have one: then the pool serves it all the same, slower.
int tandem_thread_attach(tandem_pool* pool) TANDEM_NOEXCEPT;

// All memory of all buffers, for who registers it with the kernel or a device.
typedef struct tandem_region {
  void* base;
  size_t bytes;
  size_t stride;  // from the start of one buffer to that of the next
} tandem_region;
tandem_region tandem_pool_region(const tandem_pool* pool) TANDEM_NOEXCEPT;

// Which buffer begins at `buffer`: 0 to capacity - 1; aborts if none does. And
// the buffer of an index that is below the capacity.
uint32_t tandem_index_of(const tandem_pool* pool,
                         const void* buffer) TANDEM_NOEXCEPT;
void* tandem_address_of(const tandem_pool* pool,
                        uint32_t index) TANDEM_NOEXCEPT;

// Gives the memory of idle buffers back to the system; stops under pressure.
// 0, with the bytes given back in `bytes` unless it is NULL; EPERM if the pool
// is pinned.
int tandem_trim(tandem_pool* pool, size_t* bytes) TANDEM_NOEXCEPT;

// What the pool looks like now. Each number was true at some moment of the
// call; together they are consistent only if nobody used the pool.
typedef struct tandem_snapshot {
  size_t size;  // sizeof(tandem_snapshot), set by the caller
  uint32_t capacity;
  uint32_t reserve;
  uint32_t available;    // in the shared lists, and nobody's
  uint32_t cached;       // in all thread caches
  uint32_t in_use;       // the rest
  uint32_t waiting;      // sessions that wait
  uint32_t cache_limit;  // buffers that one thread may cache at most
  uint32_t threads;      // living ones that have a cache
  uint32_t pressed;      // 1 while somebody is short, and caches are bypassed
  uint32_t biased;       // 1 if thread caches may be biased (tandem_bias)
  // Since creation, of all threads.
  uint64_t refills;    // batches fetched for caches
  uint64_t flushes;    // batches returned from caches
  uint64_t steals;     // batches taken out of other threads' caches
  uint64_t shortages;  // allocations that had to search all caches
  uint64_t failures;   // allocations that found too few buffers
  uint64_t barriers;   // system calls made to take bias away
} tandem_snapshot;

// Fills as much of `out` as its size says; the caller sets that before. Goes
// over all free buffers, and allocates memory. 0, or EINVAL for a size that is
// less than its own field.
int tandem_pool_snapshot(const tandem_pool* pool,
                         tandem_snapshot* out) TANDEM_NOEXCEPT;

// ---------------------------------------------------------------------------
// The session layer

// The session layer of one pool: the classes, and everybody who waits.
typedef struct tandem_allocator tandem_allocator;

// A class of allocations of one buffer that a server declares: they wait in one
// first-come order. Built in are
//   "complete"  rank 0    holds one buffer, needs the other; keep 0
//   "pair"      rank 100  needs two; keep 0
//   "receive"   rank 200  needs one; keep = the pool's reserve
typedef struct tandem_wait_class {
  const char* name;  // copied
  uint32_t keep;     // buffers that must remain: 0 to the capacity - 1
  int32_t rank;      // 1 to 255, smaller is served first; none has another's
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
  // How often waiters of one class may be overtaken by later allocations of
  // classes that go first: 1 to 1,000,000. Default: 64.
  uint32_t max_overtakes;
  // Classes beside the built-in ones: up to five.
  const tandem_wait_class* classes;
  size_t class_count;
} tandem_allocator_options;

// The session layer of `pool`; NULL as `options` means all defaults. Nobody
// uses the pool meanwhile. EPERM if the pool has one.
int tandem_allocator_create(tandem_allocator** allocator, tandem_pool* pool,
                            const tandem_allocator_options* options,
                            char* message, size_t message_size) TANDEM_NOEXCEPT;

// All its sessions have been destroyed, and nobody uses the pool meanwhile.
// NULL is allowed.
void tandem_allocator_destroy(tandem_allocator* allocator) TANDEM_NOEXCEPT;

// The class of this name, TANDEM_NO_CLASS if there is none.
tandem_class tandem_find_class(const tandem_allocator* allocator,
                               const char* name) TANDEM_NOEXCEPT;

// One buffer without a session, of a class as session_alloc_buffer_as; NULL if
// it can't be had now. tandem_release takes it back.
void* tandem_acquire_as(tandem_allocator* allocator,
                        tandem_class id) TANDEM_NOEXCEPT;

// Sessions that wait now, never fewer than really do: one load.
uint32_t tandem_waiting(const tandem_allocator* allocator) TANDEM_NOEXCEPT;

// One class's waits.
typedef struct tandem_class_snapshot {
  char name[32];        // cut off if it is longer
  uint64_t waiting;     // now
  uint64_t waits;       // since creation: subscribed,
  uint64_t grants;      // served,
  uint64_t cancels;     // left
  uint64_t wait_nanos;  // of those served, in sum
  uint64_t
      buckets[28];  // bucket i: waits below 2^i microseconds; the last: all
} tandem_class_snapshot;

typedef struct tandem_allocator_snapshot {
  size_t size;           // sizeof(tandem_allocator_snapshot), set by the caller
  uint64_t class_count;  // how many of `classes` there are
  tandem_class_snapshot classes[TANDEM_MAX_CLASSES];  // in the order of ranks
} tandem_allocator_snapshot;

// As tandem_pool_snapshot.
int tandem_allocator_waits(const tandem_allocator* allocator,
                           tandem_allocator_snapshot* out) TANDEM_NOEXCEPT;

// How a waiter is told that its buffers are there.
//
// `wake` is called once for each wait that was granted, on the thread that
// served it, possibly before the call that subscribed has returned, possibly in
// a signal handler. It must not block, throw or longjmp, nor create or destroy
// a pool. It may use any pool, and any session that no other thread uses.
//
// `context` is not NULL, or `wake` is given the address of a word of the
// library's. Without `wake` nobody is told: the waiter looks by itself.
typedef struct tandem_waker {
  void (*wake)(void* context) TANDEM_NOEXCEPT;
  void* context;
  bool on_cancel;  // call it for a wait that is cancelled as well
} tandem_waker;

// One connection's two sides, each with at most one buffer, used as a ring of
// bytes. A server embeds it; it must not be moved or copied.
#define TANDEM_SESSION_SIZE 64
typedef struct tandem_session {
  uint64_t opaque[TANDEM_SESSION_SIZE / 8];
} tandem_session;

typedef enum tandem_side {
  TANDEM_REQUEST,
  TANDEM_RESPONSE,
} tandem_side;

// How an allocation ended.
typedef enum tandem_allocation {
  TANDEM_GRANTED,     // the buffers are in the session
  TANDEM_EXHAUSTED,   // they could not be had, and there was no waker
  TANDEM_WAITING,     // the waker will be called
  TANDEM_OVERLOADED,  // they could not be had, and too many wait already
} tandem_allocation;

// How a session's wait stands.
typedef enum tandem_wait_status {
  TANDEM_WAIT_NONE,       // it does not wait
  TANDEM_WAIT_WAITING,    // still
  TANDEM_WAIT_GRANTED,    // it was served: the buffers are in the session
  TANDEM_WAIT_CANCELLED,  // it was cancelled, maybe by another thread
} tandem_wait_status;

void tandem_session_init(tandem_session* session,
                         tandem_allocator* allocator) TANDEM_NOEXCEPT;

// Cancels a wait, and releases all buffers, with or without data.
void tandem_session_destroy(tandem_session* session) TANDEM_NOEXCEPT;

// The allocations. What can't be met waits if `waker` is not NULL, and fails at
// once if it is; a waker is copied. A session waits for one thing at a time:
// while it does, every allocation answers TANDEM_WAITING; once it was served,
// the next one puts the buffers into the session first, as session_finish_wait
// does.
//
// No dead-lock: if every session that was given both buffers returns both
// before it asks again, and one that holds a single buffer returns it or asks
// for the other by session_alloc_buffers in the end, every wait is served.

// Before a receive: a buffer for one side, if at least the pool's reserve
// remains for pairs. A side that has one succeeds at once.
tandem_allocation session_alloc_recv_buffer(
    tandem_session* session, tandem_side side,
    const tandem_waker* waker) TANDEM_NOEXCEPT;

// Before processing: what is missing of the two buffers, all or none. If that
// fails, a buffer that the session holds empty is given back; one with data
// never is.
tandem_allocation session_alloc_buffers(
    tandem_session* session, const tandem_waker* waker) TANDEM_NOEXCEPT;

// A buffer for one side, in a class of one buffer. "complete" is for who holds
// a buffer that others wait for, in this session or elsewhere. "pair", and what
// is no class, abort.
tandem_allocation session_alloc_buffer_as(
    tandem_session* session, tandem_class id, tandem_side side,
    const tandem_waker* waker) TANDEM_NOEXCEPT;

// After processing: gives back each buffer that holds no data.
void session_release_buffers(tandem_session* session) TANDEM_NOEXCEPT;

// How the wait stands; if it was granted or cancelled, this ends it.
tandem_wait_status session_finish_wait(tandem_session* session) TANDEM_NOEXCEPT;

// Ends the wait without buffers, from any thread, at any time in the session's
// life. True: it is over, and the waker is called only if it asks for that
// (on_cancel). False: there was no wait, or it was granted first; then the
// waker has been or is being called, its context must live until it has
// returned, and session_finish_wait has the buffers.
bool session_cancel_wait(tandem_session* session) TANDEM_NOEXCEPT;

// The buffer of a side, NULL if it has none.
void* session_buffer(const tandem_session* session,
                     tandem_side side) TANDEM_NOEXCEPT;

// Bytes that a side holds, and that it has room for; 0 and 0 without a buffer.
size_t session_size(const tandem_session* session,
                    tandem_side side) TANDEM_NOEXCEPT;
size_t session_space(const tandem_session* session,
                     tandem_side side) TANDEM_NOEXCEPT;

// For a server that keeps account of its bytes by itself: how much of a side's
// buffer is filled, `size` bytes from `head` on, around its end. What
// session_release_buffers does is decided by `size`. Requires a buffer, head
// below its size, and size not above it.
void session_set_content(tandem_session* session, tandem_side side, size_t head,
                         size_t size) TANDEM_NOEXCEPT;

// A buffer on its way from one session to another, and how much of it is
// filled.
typedef struct tandem_detached {
  void* buffer;  // NULL if there is none
  uint32_t head;
  uint32_t size;
} tandem_detached;

// Moves a side's buffer out of the session: the caller has it now, and releases
// it, uses it, or has a session adopt it.
tandem_detached session_detach(tandem_session* session,
                               tandem_side side) TANDEM_NOEXCEPT;

// Moves a buffer into a side that has none and waits for none. It was detached
// from a session of the same pool, or acquired from the pool (head and size 0,
// if it is empty).
void session_adopt(tandem_session* session, tandem_side side,
                   tandem_detached detached) TANDEM_NOEXCEPT;

// Swaps what two sides have, a buffer or none, of the same session or of two of
// one pool. Neither waits for one.
void session_swap(tandem_session* session, tandem_side side,
                  tandem_session* other,
                  tandem_side other_side) TANDEM_NOEXCEPT;

// The bytes to send next, for writev(2), and where bytes may be received, for
// readv(2). Returns how many of the two pieces there are.
int session_readable(const tandem_session* session, tandem_side side,
                     struct iovec out[2]) TANDEM_NOEXCEPT;
int session_writable(tandem_session* session, tandem_side side,
                     struct iovec out[2]) TANDEM_NOEXCEPT;

// The first `n` writable bytes have been filled, n <= session_space; the first
// `n` readable ones are done with, n <= session_size.
void session_commit(tandem_session* session, tandem_side side,
                    size_t n) TANDEM_NOEXCEPT;
void session_consume(tandem_session* session, tandem_side side,
                     size_t n) TANDEM_NOEXCEPT;

// ---------------------------------------------------------------------------
// Ready ways to wait

// A thread that blocks:
//
//   const tandem_waker waker = tandem_blocking_waker();
//   if (session_alloc_buffers(&session, &waker) == TANDEM_WAITING)
//     status = session_block(&session, &deadline);
//
// session_block sleeps until the wait is over, and ends it. At the deadline, a
// time of CLOCK_MONOTONIC or NULL for never, the wait is cancelled; if it was
// granted just then, the buffers are kept. Never TANDEM_WAIT_WAITING.
tandem_waker tandem_blocking_waker(void) TANDEM_NOEXCEPT;
tandem_wait_status session_block(
    tandem_session* session, const struct timespec* deadline) TANDEM_NOEXCEPT;

// Brings wake-ups from any thread to one event loop, through a file descriptor
// that becomes readable: one write for each batch of wake-ups.
//
//   struct connection { tandem_session buffers; tandem_node node; };
//   tandem_node_init(&c->node, go_on, c);
//   const tandem_waker waker = tandem_notifier_waker(notifier, &c->node);
//   session_alloc_buffers(&c->buffers, &waker);
//   when tandem_notifier_fd(notifier) is readable:
//     tandem_notifier_dispatch(notifier);  // calls go_on(c)
//
// Threads:  tandem_notifier_post and the wakers: any, signal handlers included.
//           tandem_notifier_dispatch: the event loop's.
// Lifetime: a node lives until its function has been called, or its wait was
//           cancelled with success; the notifier longer than all nodes.
typedef struct tandem_notifier tandem_notifier;

// What the event loop is to do for one waiter; embedded by the server, not
// moved. Not posted again before its function has been called.
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

// Non-blocking, close-on-exec; readable while there is something to dispatch.
int tandem_notifier_fd(const tandem_notifier* notifier) TANDEM_NOEXCEPT;

// A waker that has the loop call the node's function.
tandem_waker tandem_notifier_waker(tandem_notifier* notifier,
                                   tandem_node* node) TANDEM_NOEXCEPT;

// Has the loop call the node's function.
void tandem_notifier_post(tandem_notifier* notifier,
                          tandem_node* node) TANDEM_NOEXCEPT;

// Calls what has been posted, in that order, and returns how many.
size_t tandem_notifier_dispatch(tandem_notifier* notifier) TANDEM_NOEXCEPT;

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // TANDEM_C_TANDEM_H_
