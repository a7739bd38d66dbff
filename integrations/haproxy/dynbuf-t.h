#ifndef _HAPROXY_DYNBUF_T_H
#define _HAPROXY_DYNBUF_T_H

#include <haproxy/list-t.h>

// Types of HAProxy's buffer allocation, here on Tandem: see dynbuf.h.

// What a buffer is wanted for, the least urgent first. The first two are never
// queued, the last must not fail.
enum dynbuf_crit {
  DB_GROW_RING,  // one more for a ring that has some
  DB_UNLIKELY,   // what is rarely wanted, and may fail
  DB_MUX_RX,     // a connection's received bytes
  DB_SE_RX,      // what a multiplexer or applet makes of them for the stream
  DB_CHANNEL,    // a stream's request or response
  DB_MUX_TX,     // a connection's bytes to be sent
  DB_PERMANENT,  // for ever
};

// Together with one of the above: "I was woken, and have had my turn".
#define DB_F_NOQUEUE 0x80000000U

// Who waits for a buffer; embedded by its owner. `list` tells whether it waits:
// until it does, nothing else need be set.
struct buffer_wait {
  void* target;  // of wakeup_cb
  // Called once a buffer is there, on the owner's thread. False: it takes none.
  int (*wakeup_cb)(void* target);
  struct list list;
  struct dynbuf_wait*
      wait;  // its place in Tandem's queue; NULL while it is told
};

#endif  // _HAPROXY_DYNBUF_T_H
