#ifndef _HAPROXY_DYNBUF_H
#define _HAPROXY_DYNBUF_H

// What others include this for.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Before all others.
#include <haproxy/activity.h>
#include <haproxy/api.h>
#include <haproxy/buf.h>
#include <haproxy/chunk.h>
#include <haproxy/dynbuf-t.h>
#include <haproxy/global.h>
#include <haproxy/pool.h>
#include <import/ist.h>

// HAProxy's buffers out of one Tandem pool for the whole process, written from
// what HAProxy's other files need.
//
// A level is a class of Tandem's (S8): level i keeps i buffers for those below
// it, which stands for HAProxy's emergency buffers, and goes after them. All
// streams go on if who holds a buffer asks for more in lower levels only
// (docs/design.md, section 8), so a stream's response is below its request:
// HAProxy itself asks for both in one class, and all streams can hold the one
// and wait for the other, for ever. A stream in mode tcp has no multiplexer
// that would need buffers of its own: its request and response are one level
// lower.
//
// A waiter is served by whichever thread releases a buffer, and told on its own
// thread. What it was granted waits for it there; if it does not come, it goes
// back after a while.
enum dynbuf_level {
  DYNBUF_SENT,      // what a connection sends: first, and never held back
  DYNBUF_RESPONSE,  // of a stream
  DYNBUF_REQUEST,
  DYNBUF_SE_RX,   // what a multiplexer or an applet has received for a stream
  DYNBUF_MUX_RX,  // what a connection has received
  DYNBUF_LEVELS,
};

// Has the size of a buffer, and none.
extern struct pool_head* pool_head_buffer;

// Early, once: true unless there is no memory. The pool of buffers is made
// later, by the first thread that starts.
int init_buffer(void);

// How an allocation may go about it.
enum dynbuf_manner {
  DYNBUF_FRESH = 0,
  // The caller says that it was woken: what it was granted comes first.
  DYNBUF_WOKEN = 1,
  // The caller never says whether it was woken: what others were granted in its
  // level is the last resort.
  DYNBUF_SILENT = 2,
  // The buffer is that of a channel, which says what it is for.
  DYNBUF_OF_CHANNEL = 4,
};

// A buffer for `buf`, which has none; NULL and BUF_WANTED if there is none.
struct buffer* dynbuf_take(struct buffer* buf, enum dynbuf_level level,
                           unsigned int manner);
void dynbuf_give(char* area);

// Waits. Who waits already stays where it is, or moves to a more urgent level.
void dynbuf_wait_for(enum dynbuf_level level, struct buffer_wait* bw);

// Waits no more; who waits calls.
void dynbuf_leave(struct buffer_wait* bw);

static inline enum dynbuf_level dynbuf_level_of(unsigned int crit) {
  switch (crit & ~DB_F_NOQUEUE) {
    case DB_PERMANENT:
    case DB_MUX_TX:
      return DYNBUF_SENT;
    case DB_CHANNEL:
      return DYNBUF_REQUEST;
    case DB_SE_RX:
      return DYNBUF_SE_RX;
    default:
      return DYNBUF_MUX_RX;
  }
}

// Ensures that `buf_` has a buffer: itself, or NULL if there is none.
//
// HAProxy does not say which side of a stream asks, so the arguments' text
// does: two functions ask for a channel's buffer, and a channel knows its side;
// and who never says DB_F_NOQUEUE may have been woken.
#define b_alloc(buf_, crit_)                                                  \
  ({                                                                          \
    struct buffer* const to_ = (buf_);                                        \
    const unsigned int as_ = (crit_);                                         \
    to_->size                                                                 \
        ? to_                                                                 \
        : dynbuf_take(                                                        \
              to_, dynbuf_level_of(as_),                                      \
              ((as_ & DB_F_NOQUEUE) ? DYNBUF_WOKEN : DYNBUF_FRESH) |          \
                  (__builtin_strstr(#crit_, "NOQUEUE") ? 0 : DYNBUF_SILENT) | \
                  (__builtin_strcmp(#buf_, "&chn->buf") == 0 ||               \
                           __builtin_strcmp(#buf_, "&s->res.buf") == 0        \
                       ? DYNBUF_OF_CHANNEL                                    \
                       : 0));                                                 \
  })

// Releases the buffer of `buf_`, which has one. The structure is cleared first:
// "show sess" looks at those of other threads.
#define __b_free(buf_)                   \
  do {                                   \
    struct buffer* const from_ = (buf_); \
    char* const area_ = from_->area;     \
    *from_ = BUF_NULL;                   \
    __ha_barrier_store();                \
    dynbuf_give(area_);                  \
  } while (0)

#define b_free(buf_)                         \
  do {                                       \
    struct buffer* const freed_ = (buf_);    \
    if (freed_->size != 0) __b_free(freed_); \
  } while (0)

// Every release has served who waits, on all threads.
static inline void offer_buffers(void* from, unsigned int count) {
  (void)from;
  (void)count;
}

// Waits for a buffer, unless `bw` does already. False where nobody may.
static inline int b_requeue(enum dynbuf_crit crit, struct buffer_wait* bw) {
  if (crit >= DB_MUX_RX) dynbuf_wait_for(dynbuf_level_of(crit), bw);
  return LIST_INLIST(&bw->list);
}
static inline int b_queue(enum dynbuf_crit crit, struct buffer_wait* bw,
                          void* target, int (*wakeup_cb)(void* target)) {
  bw->target = target;
  bw->wakeup_cb = wakeup_cb;
  return b_requeue(crit, bw);
}

// Ends the wait of `bw`, which is one of thread `thread`: that calls, or has
// been isolated.
static inline void _b_dequeue(struct buffer_wait* bw, int thread) {
  (void)thread;
  dynbuf_leave(bw);
}
static inline void b_dequeue(struct buffer_wait* bw) {
  if (LIST_INLIST(&bw->list)) dynbuf_leave(bw);
}

static inline int buffer_almost_full(const struct buffer* buf) {
  return !b_is_null(buf) && b_almost_full(buf);
}

#endif  // _HAPROXY_DYNBUF_H
