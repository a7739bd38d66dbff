#ifndef _HAPROXY_DYNBUF_H
#define _HAPROXY_DYNBUF_H

// Other files rely on this header to include these.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Must be the first include.
#include <haproxy/activity.h>
#include <haproxy/api.h>
#include <haproxy/buf.h>
#include <haproxy/chunk.h>
#include <haproxy/dynbuf-t.h>
#include <haproxy/global.h>
#include <haproxy/pool.h>
#include <import/ist.h>

// HAProxy's buffers from one Tandem pool for the whole process, written from
// what HAProxy's other files need.
//
// A level is one of Tandem's classes (S8): level i keeps i buffers for the
// levels below it, in place of HAProxy's emergency buffers, and is served after
// them. All streams progress if a holder of a buffer asks for more only in
// lower levels (docs/design.md, section 8). So a stream's response has a lower
// level than its request. HAProxy itself asks for both in one class, so all
// streams can hold the one and wait forever for the other. A stream in mode tcp
// has no multiplexer that needs its own buffers: its request and response are
// one level lower.
//
// Any thread that releases a buffer may serve a waiter; the waiter is called on
// its own thread. The granted buffer waits for it there, and goes back after a
// while if the waiter does not take it.
enum dynbuf_level {
  DYNBUF_SENT,      // what a connection sends: first, and never held back
  DYNBUF_RESPONSE,  // of a stream
  DYNBUF_REQUEST,
  DYNBUF_SE_RX,   // what a multiplexer or an applet has received for a stream
  DYNBUF_MUX_RX,  // what a connection has received
  DYNBUF_LEVELS,
};

// Holds the size of a buffer, but no buffers.
extern struct pool_head* pool_head_buffer;

// Called early, once: true unless there is no memory. The first thread that
// starts creates the pool of buffers later.
int init_buffer(void);

// Flags of an allocation.
enum dynbuf_manner {
  DYNBUF_FRESH = 0,
  // The caller says that it was woken: its granted buffer comes first.
  DYNBUF_WOKEN = 1,
  // The caller never says whether it was woken: buffers that were granted to
  // others in its level are the last resort.
  DYNBUF_SILENT = 2,
  // The buffer belongs to a channel, which determines its purpose.
  DYNBUF_OF_CHANNEL = 4,
};

// Takes a buffer for `buf`, which has none; returns NULL and sets BUF_WANTED if
// there is none.
struct buffer* dynbuf_take(struct buffer* buf, enum dynbuf_level level,
                           unsigned int manner);
void dynbuf_give(char* area);

// Makes `bw` wait. If it already waits, it keeps its place, or moves to a more
// urgent level.
void dynbuf_wait_for(enum dynbuf_level level, struct buffer_wait* bw);

// Ends the wait. Only the waiter calls this.
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

// Ensures that `buf_` has a buffer: returns `buf_`, or NULL if there is none.
//
// HAProxy does not say which side of a stream asks, so the macro uses the text
// of its arguments: two functions ask for a channel's buffer, and a channel
// knows its side. A caller that never says DB_F_NOQUEUE may have been woken.
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

// Releases the buffer of `buf_`, which has one. Clears the structure first,
// because "show sess" reads the structures of other threads.
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

// Nothing to do: every release has already served the waiters of all threads.
static inline void offer_buffers(void* from, unsigned int count) {
  (void)from;
  (void)count;
}

// Waits for a buffer, unless `bw` already waits. False if waiting is not
// allowed.
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

// Ends the wait of `bw`, which belongs to `thread`: that thread calls, or is
// isolated.
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
