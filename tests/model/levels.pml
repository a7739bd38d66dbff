/* Streams that take single buffers by class, as HAProxy's do on Tandem
 * (integrations/haproxy; docs/design.md, section 8).
 *
 * Level 0 keeps nothing. Each further level keeps STEP buffers more than the
 * level below it, and is served after it. A stream asks for its first buffer in
 * any level. While it holds some, it asks for more in lower levels only. In the
 * end it returns all. One step decides what each gets; sessions.pml has shown
 * that this is allowed.
 *
 * Checks that there is no deadlock (no invalid end state), with one buffer more
 * than the highest level keeps: as many as levels if STEP is 1.
 *
 * Faults to put in, each of which must be found: KEEPS_NOTHING (the deadlock of
 * HAProxy 3.0 in mode tcp: request and response in one class), ASKS_AS_BEFORE
 * (a stream that holds a buffer asks for more in its own level), and fewer
 * buffers than levels.
 */
#ifndef LEVELS
#define LEVELS 2     /* of mode tcp: request, response; of HTTP/1: 5 */
#endif
#ifndef CAPACITY
#define CAPACITY (STEP * (LEVELS - 1) + 1)
#endif
#ifndef STEP
#define STEP 1       /* what a level keeps more than the one below */
#endif
#ifndef STREAMS
#define STREAMS 4
#endif
#ifdef KEEPS_NOTHING
#define Keep(level) 0
#else
#define Keep(level) (STEP * (level))
#endif
#ifdef ASKS_AS_BEFORE
#define Next(level) level
#else
#define Next(level) level - 1
#endif

byte free = CAPACITY;
byte waiting[5]; /* by level */

#define GoesFirst(level) \
  ((level < 1 || waiting[0] == 0) && (level < 2 || waiting[1] == 0) && \
   (level < 3 || waiting[2] == 0) && (level < 4 || waiting[3] == 0))

/* Chooses a level, from this one down. */
inline Choose(from) {
  level = from;
  do
  :: level > 0 -> level--
  :: break
  od
}

active [STREAMS] proctype Stream() {
  byte held, level;
  do
  :: held == 0 || level > 0 ->
    if
    :: held == 0 -> Choose(LEVELS - 1)
    :: else -> Choose(Next(level))
    fi;
    waiting[level]++;
    atomic {
      free > Keep(level) && GoesFirst(level) ->
      free--;
      waiting[level]--;
      held++
    }
  :: held > 0 -> atomic { free = free + held; held = 0 }
  od
}
