#ifndef _HAPROXY_DYNBUF_T_H
#define _HAPROXY_DYNBUF_T_H

#include <haproxy/list-t.h>

// Types of HAProxy's buffer allocation, here on Tandem: see dynbuf.h.

// The purpose of a buffer, the least urgent first. The first two purposes are
// never queued; the last one must not fail.
enum dynbuf_crit {
  DB_GROW_RING,  // one more buffer for a ring that has some
  DB_UNLIKELY,   // rarely needed, and may fail
  DB_MUX_RX,     // bytes received from a connection
  DB_SE_RX,      // the same, decoded by a multiplexer or applet for the stream
  DB_CHANNEL,    // a stream's request or response
  DB_MUX_TX,     // bytes to send on a connection
  DB_PERMANENT,  // forever
};

// Combined with one of the above: "I was woken, and this is my turn".
#define DB_F_NOQUEUE 0x80000000U

// A waiter for a buffer; embedded by its owner. `list` tells whether it waits.
// Until it waits, no other field need be set.
struct buffer_wait {
  void* target;  // argument of wakeup_cb
  // Called on the owner's thread once a buffer is there. False: the owner takes
  // none.
  int (*wakeup_cb)(void* target);
  struct list list;
  struct dynbuf_wait* wait;  // its place in a queue; NULL during the call
};

#endif  // _HAPROXY_DYNBUF_T_H
