// HAProxy's buffers on Tandem: see dynbuf.h.

// Must be the first include.
#include <haproxy/activity.h>
#include <haproxy/api.h>
#include <haproxy/cfgparse.h>
#include <haproxy/channel.h>
#include <haproxy/dynbuf.h>
#include <haproxy/errors.h>
#include <haproxy/global.h>
#include <haproxy/list.h>
#include <haproxy/pool.h>
#include <haproxy/stream.h>
#include <haproxy/task.h>
#include <haproxy/ticks.h>
#include <haproxy/tools.h>

#include "tandem/c/tandem.h"

struct pool_head* pool_head_buffer __read_mostly;

// One wait, and later the buffer that it was granted. Never freed, so that a
// late wake-up still finds it. Used by its thread, by the waker, and by an
// isolated thread that leaves for the owner.
struct dynbuf_wait {
  tandem_session session;
  struct buffer_wait* owner;  // NULL once it has left, or was called
  struct list queue;          // of its thread and level
  struct dynbuf_wait* next;   // in one of the other lists below
  enum dynbuf_level level;
  int thread;  // the owner's thread
  int granted_at;
};

// First in, first out.
struct dynbuf_fifo {
  struct dynbuf_wait* first;
  struct dynbuf_wait** last;
};

// A thread has one queue for each level, and only the first wait of a queue
// asks Tandem. So the threads take turns: none sleeps while hundreds of waits
// of another thread are served. Between the grant of the first wait and its
// turn, an allocation of that level may pass those behind it.
static struct dynbuf_thread {
  struct dynbuf_wait* served;  // by any thread, newest first
  struct tasklet* tells;       // calls the owners of these
  struct task* returns;        // gives back buffers that no owner has taken
  struct list waiting;         // buffer_waits
  struct list queues[DYNBUF_LEVELS];
  struct dynbuf_wait* unused;
  struct dynbuf_fifo granted[DYNBUF_LEVELS];
  enum dynbuf_level failed;   // of the last failed allocation
  unsigned int in_wakeup_cb;  // nesting depth
} THREAD_ALIGNED(64) threads[MAX_THREADS];

static tandem_pool* pool;
static tandem_allocator* allocator;
static tandem_class classes[DYNBUF_LEVELS];

// How long a granted buffer waits for its owner's turn, in milliseconds.
static const int kPatience = 10;

static void fifo_init(struct dynbuf_fifo* fifo) {
  fifo->first = NULL;
  fifo->last = &fifo->first;
}
static void fifo_append(struct dynbuf_fifo* fifo, struct dynbuf_wait* wait) {
  wait->next = NULL;
  *fifo->last = wait;
  fifo->last = &wait->next;
}
static struct dynbuf_wait* fifo_pop(struct dynbuf_fifo* fifo) {
  struct dynbuf_wait* const wait = fifo->first;
  if (wait == NULL) return NULL;
  fifo->first = wait->next;
  if (fifo->first == NULL) fifo->last = &fifo->first;
  return wait;
}

static void recycle(struct dynbuf_thread* me, struct dynbuf_wait* wait) {
  wait->next = me->unused;
  me->unused = wait;
}

// The waker: any thread may call it.
static void told_later(void* context) {
  struct dynbuf_wait* const wait = context;
  const int thread = wait->thread;
  struct dynbuf_wait* top = HA_ATOMIC_LOAD(&threads[thread].served);
  do {
    wait->next = top;
  } while (!HA_ATOMIC_CAS(&threads[thread].served, &top, wait));
  tasklet_wakeup_on(threads[thread].tells, thread);
}

// Returns an unused record; NULL if there is no memory for one.
static struct dynbuf_wait* new_wait(struct dynbuf_thread* me) {
  struct dynbuf_wait* wait = me->unused;
  if (wait != NULL) {
    me->unused = wait->next;
    return wait;
  }
  wait = malloc(sizeof(*wait));
  if (wait != NULL) tandem_session_init(&wait->session, allocator);
  return wait;
}

static void ask(struct dynbuf_wait* wait) {
  const tandem_waker waker = {.wake = told_later, .context = wait};
  // If it does not wait, its thread is told: it takes the buffer or asks again.
  if (session_alloc_buffer_as(&wait->session, classes[wait->level],
                              TANDEM_REQUEST, &waker) != TANDEM_WAITING) {
    told_later(wait);
  }
}

static int asks(const struct dynbuf_wait* wait) {
  return wait->queue.p == &threads[wait->thread].queues[wait->level];
}

static void join_queue(struct dynbuf_wait* wait) {
  LIST_APPEND(&threads[wait->thread].queues[wait->level], &wait->queue);
  if (asks(wait)) ask(wait);
}

// Lets the next one ask, if `wait` did.
static void leave_queue(struct dynbuf_wait* wait) {
  struct list* const queue = &threads[wait->thread].queues[wait->level];
  const int next_asks = asks(wait);
  LIST_DELETE(&wait->queue);
  if (next_asks && !LIST_ISEMPTY(queue)) {
    ask(LIST_NEXT(queue, struct dynbuf_wait*, queue));
  }
}

void dynbuf_wait_for(enum dynbuf_level level, struct buffer_wait* bw) {
  struct dynbuf_thread* const me = &threads[tid];
  // The allocation that failed before had more precise information on its
  // purpose.
  if (level == DYNBUF_REQUEST) level = MIN(level, me->failed);
  if (LIST_INLIST(&bw->list)) {
    if (bw->wait == NULL || bw->wait->level <= level) return;
    dynbuf_leave(bw);
  }
  struct dynbuf_wait* const wait = new_wait(me);
  if (wait == NULL) return;
  wait->owner = bw;
  wait->level = level;
  wait->thread = tid;
  bw->wait = wait;
  LIST_APPEND(&me->waiting, &bw->list);
  join_queue(wait);
}

void dynbuf_leave(struct buffer_wait* bw) {
  struct dynbuf_wait* const wait = bw->wait;
  LIST_DEL_INIT(&bw->list);
  if (wait == NULL) return;
  bw->wait = NULL;
  wait->owner = NULL;
  if (asks(wait)) {
    // If this is too late, the granted buffer is on its way to its thread.
    if (!session_cancel_wait(&wait->session)) return;
    session_finish_wait(&wait->session);
  }
  leave_queue(wait);
  recycle(&threads[wait->thread], wait);
}

// Gives back the buffer that `wait` was granted.
static void decline(struct dynbuf_thread* me, struct dynbuf_wait* wait) {
  session_release_buffers(&wait->session);
  recycle(me, wait);
}

// Tells the owner of `wait` that its buffer is there.
static void tell(struct dynbuf_thread* me, struct dynbuf_wait* wait) {
  struct buffer_wait* const bw = wait->owner;
  session_finish_wait(&wait->session);
  if (bw != NULL && session_buffer(&wait->session, TANDEM_REQUEST) == NULL) {
    ask(wait);
    return;
  }
  leave_queue(wait);
  if (bw == NULL) {
    decline(me, wait);
    return;
  }
  wait->owner = NULL;
  bw->wait = NULL;
  wait->granted_at = now_ms;
  fifo_append(&me->granted[wait->level], wait);
  task_schedule(me->returns, tick_add(now_ms, kPatience));
  // The record stays in the list during the call, so that the owner finds its
  // buffer. An owner that declines asks again when it needs a buffer.
  ++me->in_wakeup_cb;
  bw->wakeup_cb(bw->target);
  --me->in_wakeup_cb;
  LIST_DEL_INIT(&bw->list);
}

static struct task* tell_all(struct task* task, void* context,
                             unsigned int state) {
  struct dynbuf_thread* const me = context;
  struct dynbuf_wait* last = HA_ATOMIC_XCHG(&me->served, NULL);
  struct dynbuf_wait* first = NULL;
  (void)state;
  while (last != NULL) {
    struct dynbuf_wait* const before = last->next;
    last->next = first;
    first = last;
    last = before;
  }
  while (first != NULL) {
    struct dynbuf_wait* const wait = first;
    first = wait->next;
    tell(me, wait);
  }
  return task;
}

static struct task* return_unclaimed(struct task* task, void* context,
                                     unsigned int state) {
  struct dynbuf_thread* const me = context;
  (void)state;
  task->expire = TICK_ETERNITY;
  for (int level = 0; level < DYNBUF_LEVELS; ++level) {
    struct dynbuf_fifo* const fifo = &me->granted[level];
    while (fifo->first != NULL) {
      const int until = tick_add(fifo->first->granted_at, kPatience);
      if (!tick_is_expired(until, now_ms)) {
        task->expire = tick_first(task->expire, until);
        break;
      }
      decline(me, fifo_pop(fifo));
    }
  }
  return task;
}

// Returns the buffer that was granted first, in `level` or, if `lower`, in a
// less urgent level; NULL if there is none.
static char* take_granted(struct dynbuf_thread* me, int level, int lower) {
  const int end = lower ? DYNBUF_LEVELS : level + 1;
  for (; level < end; ++level) {
    struct dynbuf_wait* const wait = fifo_pop(&me->granted[level]);
    if (wait == NULL) continue;
    char* const area = session_detach(&wait->session, TANDEM_REQUEST).buffer;
    recycle(me, wait);
    return area;
  }
  return NULL;
}

// Returns the level of a channel's buffer.
static enum dynbuf_level level_of_channel(const struct buffer* buf) {
  struct channel* const channel = container_of(buf, struct channel, buf);
  const int above = IS_HTX_STRM(chn_strm(channel)) ? 1 : 0;
  return (channel->flags & CF_ISRESP ? DYNBUF_SENT : DYNBUF_RESPONSE) + above;
}

struct buffer* dynbuf_take(struct buffer* buf, enum dynbuf_level level,
                           unsigned int manner) {
  struct dynbuf_thread* const me = &threads[tid];
  char* area = NULL;
  if (manner & DYNBUF_OF_CHANNEL) level = level_of_channel(buf);
  // In wakeup_cb the owner itself asks, for the buffer that it needs first.
  if (me->in_wakeup_cb || (manner & DYNBUF_WOKEN)) {
    area = take_granted(me, level, me->in_wakeup_cb);
  }
  if (area == NULL) area = tandem_acquire_as(allocator, classes[level]);
  if (area == NULL && (manner & (DYNBUF_WOKEN | DYNBUF_SILENT))) {
    area = take_granted(me, level, manner & DYNBUF_WOKEN);
  }
  if (unlikely(area == NULL)) {
    *buf = BUF_WANTED;
    me->failed = level;
    activity[tid].buf_wait++;
    return NULL;
  }
  *buf = b_make(area, global.tune.bufsize, 0, 0);
  return buf;
}

void dynbuf_give(char* area) { tandem_release(pool, area); }

int init_buffer(void) {
  pool_head_buffer =
      create_pool("buffer", global.tune.bufsize, MEM_F_SHARED | MEM_F_EXACT);
  return pool_head_buffer != NULL;
}

// As many buffers as HAProxy has in total: its reserve is for each thread, in
// addition to the limit. Without a limit, as many as could be in use, up to 4
// GiB and half of the memory that -m allows.
static unsigned int capacity_of_process(void) {
  const unsigned int reserve = global.nbthread * global.tune.reserved_bufs;
  const unsigned int size = global.tune.bufsize;
  if (global.tune.buf_limit != 0) return global.tune.buf_limit + reserve;
  unsigned long long count = 1024 + 7ULL * global.maxconn + reserve;
  count = MIN(count, (4ULL << 30) / size);
  if (global.rlimit_memmax != 0) {
    count = MIN(count, (global.rlimit_memmax * 1048576ULL) / 2 / size);
  }
  return MAX(count, 4);
}

static int create_pool_of_process(void) {
  char why[TANDEM_MESSAGE_SIZE] = "";
  const unsigned int capacity = capacity_of_process();
  // Keep no more than other levels can use.
  const unsigned int most = MIN(4, capacity - 1);
  const tandem_pool_options pool_options = {
      .size = sizeof(pool_options),
      .name = "buffer",
      .buffer_size = global.tune.bufsize,
      .capacity = capacity,
      .reserve = most == 0 ? TANDEM_NONE : most};
  const tandem_wait_class declared[] = {
      {.name = "response", .keep = MIN(1, most), .rank = 10},
      {.name = "request", .keep = MIN(2, most), .rank = 20},
      {.name = "se_rx", .keep = MIN(3, most), .rank = 30},
      {.name = "mux_rx", .keep = most, .rank = 40}};
  const tandem_allocator_options options = {
      .size = sizeof(options),
      .max_waiters = MAX_THREADS * DYNBUF_LEVELS,
      // A less urgent waiter must not be promoted: more urgent ones make room
      // for it.
      .max_overtakes = 1000000,
      .classes = declared,
      .class_count = sizeof(declared) / sizeof(declared[0])};
  if (tandem_pool_create(&pool, &pool_options, why, sizeof(why)) != 0 ||
      tandem_allocator_create(&allocator, pool, &options, why, sizeof(why)) !=
          0) {
    ha_alert("buffers: %s\n", why);
    return 0;
  }
  classes[DYNBUF_SENT] = tandem_find_class(allocator, "complete");
  classes[DYNBUF_RESPONSE] = tandem_find_class(allocator, "response");
  classes[DYNBUF_REQUEST] = tandem_find_class(allocator, "request");
  classes[DYNBUF_SE_RX] = tandem_find_class(allocator, "se_rx");
  classes[DYNBUF_MUX_RX] = tandem_find_class(allocator, "mux_rx");
  return 1;
}

// Runs in each thread, one after the other, before any thread takes a buffer.
static int start_thread(void) {
  struct dynbuf_thread* const me = &threads[tid];
  if (pool == NULL && !create_pool_of_process()) return 0;
  me->failed = DYNBUF_MUX_RX;
  LIST_INIT(&me->waiting);
  for (int level = 0; level < DYNBUF_LEVELS; ++level) {
    fifo_init(&me->granted[level]);
    LIST_INIT(&me->queues[level]);
  }
  me->tells = tasklet_new();
  me->returns = task_new_here();
  if (me->tells == NULL || me->returns == NULL) return 0;
  me->tells->tid = tid;
  me->tells->process = tell_all;
  me->tells->context = me;
  me->returns->process = return_unclaimed;
  me->returns->context = me;
  // Without memory for a cache, the thread works without one, more slowly.
  tandem_thread_attach(pool);
  return 1;
}

// Options of the section "global", as HAProxy's manual describes them.
static int parse_number(char** args, int section_type, struct proxy* curpx,
                        const struct proxy* defpx, const char* file, int line,
                        char** err) {
  char* end;
  if (too_many_args(1, args, err, NULL)) return -1;
  const long number = strtol(args[1], &end, 10);
  (void)section_type, (void)curpx, (void)defpx, (void)file, (void)line;
  if (*args[1] == '\0' || *end != '\0' || number < 0 || number > 1 << 23) {
    memprintf(err, "'%s' is '%s'; allowed: 0 to %d.", args[0], args[1],
              1 << 23);
    return -1;
  }
  if (strcmp(args[0], "tune.buffers.limit") == 0) {
    // With 2 buffers all streams in mode tcp progress; mode http needs 5.
    global.tune.buf_limit = number == 0 ? 0 : MAX(number, 2);
  } else {
    global.tune.reserved_bufs = number;
  }
  return 0;
}

static struct cfg_kw_list keywords = {
    ILH,
    {{CFG_GLOBAL, "tune.buffers.limit", parse_number},
     {CFG_GLOBAL, "tune.buffers.reserve", parse_number},
     {0, NULL, NULL}}};

// No buffer is in use any more, except those that were granted and not taken.
static void report_missing(void) {
  tandem_snapshot snapshot = {.size = sizeof(snapshot)};
  if (pool == NULL) return;
  for (int thread = 0; thread < global.nbthread; ++thread) {
    struct dynbuf_thread* const it = &threads[thread];
    if (it->returns == NULL) continue;  // never started
    for (int level = 0; level < DYNBUF_LEVELS; ++level) {
      // The owners may have been freed, so none is called.
      struct list* const queue = &it->queues[level];
      while (!LIST_ISEMPTY(queue)) {
        struct dynbuf_wait* const wait =
            LIST_NEXT(queue, struct dynbuf_wait*, queue);
        LIST_DELETE(&wait->queue);
        session_cancel_wait(&wait->session);
        session_finish_wait(&wait->session);
        decline(it, wait);
      }
      while (it->granted[level].first != NULL) {
        decline(it, fifo_pop(&it->granted[level]));
      }
    }
  }
  if (tandem_pool_snapshot(pool, &snapshot) == 0 &&
      snapshot.in_use + snapshot.waiting != 0) {
    ha_alert("buffers: %u have not been released, %u are waited for\n",
             snapshot.in_use, snapshot.waiting);
  }
}

INITCALL1(STG_REGISTER, cfg_register_keywords, &keywords);
REGISTER_POST_DEINIT(report_missing);
REGISTER_PER_THREAD_ALLOC(start_thread);
