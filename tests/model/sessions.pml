/* Sessions that ask for buffers by class, wait, are served, and leave.
 *
 * Mirrors session/session_buffers.cc, session_allocator.cc, waiter_queue.h and
 * the ledger's side of pool/depot.h; each part names its function. Where the
 * buffers lie is pool_cache.pml's part: here they are a number.
 *
 *   Session   receives (one buffer; the reserve remains), completes (the other
 *             one), or takes a pair; gives back both at once, or one and then
 *             the other; asks again, or stops. It keeps the premise of S6: who
 *             has had both returns both before it asks again. All but session 0
 *             may cancel; who does gives back what it holds.
 *   Watch     moves only if something is wrong.
 *
 * One step here is one atomic operation there; with -DCOARSE, and with
 * -DLIVENESS, one operation of a session.
 *
 * Checked
 *   P1  every buffer is free, held, or being offered        (Watch)
 *   S1  a receive leaves the reserve                        (Reserved)
 *   S2  a pair, and a complete, come whole
 *   S4  no allocation passes a waiter of its class or a higher one whose last
 *       look has failed; a class is served in order
 *   S5  of a cancel and a grant one wins, and nothing is lost
 *   S6  no dead-lock: nobody but who has stopped stays where it is (no invalid
 *       end state). With LIVENESS, under weak fairness: whenever session 0
 *       waits, it is served                                 (served)
 *
 * Faults to put in, each of which must be found: ONE_QUEUE_FOR_BOTH_PAIRS,
 * RECEIVE_TAKES_RESERVE, NO_SERVE_AFTER_SUBSCRIBE, NO_SERVE_AFTER_CREDIT,
 * LATE_OFFER_IS_DROPPED, DROPPED_WAKE_UP, and for liveness NOBODY_MUST_WAIT and
 * NOBODY_IS_DUE. With RESERVE=0 the theorem does not hold: that is the
 * dead-lock this project began with.
 */
#ifndef SESSIONS
#define SESSIONS 3  /* at most 4 */
#endif
#ifndef CAPACITY
#define CAPACITY 2
#endif
#ifndef RESERVE
#define RESERVE 1
#endif
#ifndef OVERTAKES
#define OVERTAKES 1 /* SessionOptions::max_overtakes */
#endif
#ifndef CANCELS
#define CANCELS 1   /* 0: nobody cancels */
#endif
#ifdef LIVENESS
#define COARSE
#endif
#ifdef COARSE
#define operation atomic
#else
#define operation
#endif

/* Classes by rank; 0 is served first and never held back. */
#define COMPLETE 0
#define PAIR 1
#define RECEIVE 2
#define CLASSES 3
#ifdef RECEIVE_TAKES_RESERVE
#define KEEP(class) 0
#else
#define KEEP(class) ((class) == RECEIVE -> RESERVE : 0)
#endif
#ifdef ONE_QUEUE_FOR_BOTH_PAIRS
#define LINE(class) ((class) == COMPLETE -> PAIR : (class))
#else
#define LINE(class) (class)
#endif
#define NEED(class, who) ((class) == RECEIVE -> 1 : 2 - hold[who])
#define Reserved(class) ((class) != RECEIVE || available >= RESERVE)

/* ---- Shared words ------------------------------------------------------- */

#define MOST 4
#define NOBODY MOST

byte available = CAPACITY, waiting = 0; /* Ledger: one word */

/* WaiterQueue: one record for each session. Its place in `line` is its arrival:
 * those who wait are numbered from 1 on, so links and arrivals are one. */
mtype = { Idle, Waiting, Granted, Cancelled };
mtype state[MOST] = Idle;
byte line[MOST];
byte arrival[MOST];
byte arrivals = 0;
bool woken[MOST];
byte overtaken[CLASSES];

/* Who each session is about to serve; NOBODY once that wait is over, as a
 * compare-and-swap that expects its version then fails. */
byte candidate[MOST] = NOBODY;

byte hold[MOST];   /* buffers of a session */
byte offer[MOST];  /* and in the hands of one that serves */
bool asleep[MOST]; /* its last look has failed */

#define SUM(of) (of[0] + of[1] + of[2] + of[3])
#define NothingLost (available + SUM(hold) + SUM(offer) == CAPACITY)

/* What a failure shows; none is ever true. */
bool NothingIsLost, AReceiveLeavesTheReserve, APairComesWhole;
bool NobodyPassesASleeper, FirstComeFirstServed;
inline Check(condition, name) {
  if
  :: condition
  :: else -> assert(name)
  fi
}

/* ---- WaiterQueue: order ------------------------------------------------- */

/* WaiterList::First of class c: NOBODY if nobody waits in it. */
inline First(c) {
  first = NOBODY;
  for (i : 0 .. SESSIONS - 1) {
    if
    :: state[i] == Waiting && line[i] == c &&
       (first == NOBODY -> true : arrival[i] < arrival[first]) -> first = i
    :: else
    fi
  }
}

/* WaiterQueue::IsDue. */
#ifdef NOBODY_IS_DUE
#define DUE(c) false
#else
#define DUE(c) (overtaken[c] >= OVERTAKES)
#endif

inline CountOvertake(c) {
  if
  :: overtaken[c] < OVERTAKES -> overtaken[c]++
  :: else
  fi
}

/* WaiterQueue::MustWait, asked only while the ledger counts waiters. */
inline MustWait(class) {
  must_wait = false;
#ifndef NOBODY_MUST_WAIT
  for (c : 0 .. CLASSES - 1) {
    if
    :: waiting != 0 && (c <= class || class != COMPLETE && DUE(c)) ->
       First(c);
       must_wait = must_wait || first != NOBODY
    :: else
    fi
  }
#endif
}

/* WaiterQueue::Pick: by rank, but for who is due and has come before. */
inline Pick(me) {
  atomic {
    next = NOBODY;
    for (c : 0 .. CLASSES - 1) {
      First(c);
      if
      :: first == NOBODY
      :: first != NOBODY && next == NOBODY -> next = first; its_line = c
      :: first != NOBODY && next != NOBODY ->
         if
         :: arrival[first] > arrival[next] || its_line == COMPLETE
         :: else ->
            if
            :: DUE(c) -> next = first; its_line = c; passed = 0
            :: else -> passed = passed | 1 << c
            fi
         fi
      fi
    };
    if
    :: next != NOBODY -> need = NEED(its_line, next)
    :: else
    fi;
    candidate[me] = next;
    i = 0; c = 0; first = 0
  }
}

/* ---- WaiterQueue: serving ----------------------------------------------- */

/* The compare-and-swap that ends a wait: others' will fail. */
inline EndWaitOf(who, how) {
  state[who] = how;
  asleep[who] = false;
  for (i : 0 .. SESSIONS - 1) {
    if
    :: candidate[i] == who -> candidate[i] = NOBODY
    :: else
    fi;
    if
    :: arrival[i] > arrival[who] -> arrival[i]--
    :: else
    fi
  };
  arrivals--;
  arrival[who] = 0
}

/* WaiterQueue::ServeAs. One who is late publishes, and looks again. */
inline Serve(me) {
  do
  :: true ->
     Pick(me);
     if
     :: next == NOBODY -> break
     :: else
     fi;
     atomic {                                       /* Depot::TakeForWaiter */
       if
       :: available < need + KEEP(its_line) -> break
       :: else -> available = available - need; offer[me] = need
       fi;
       Check(Reserved(its_line), AReceiveLeavesTheReserve)
     };
     if
     :: atomic {                                    /* Grant */
          candidate[me] != NOBODY ->
          First(its_line);
          Check(first == next, FirstComeFirstServed);
          hold[next] = hold[next] + offer[me];
          offer[me] = 0;
          EndWaitOf(next, Granted);
          i = 0; first = 0
        };
        waiting--;                                  /* Ledger::EndWait */
        atomic {
          overtaken[its_line] = 0;
          for (c : 0 .. CLASSES - 1) {
            if
            :: passed >> c & 1 -> CountOvertake(c)
            :: else
            fi
          };
          c = 0
        };
#ifdef DROPPED_WAKE_UP
        woken[next] = woken[next] || next == me
#else
        woken[next] = true
#endif
     :: atomic {                                    /* too late */
          candidate[me] == NOBODY ->
#ifndef LATE_OFFER_IS_DROPPED
          available = available + offer[me];
#endif
          offer[me] = 0
        }
     fi
  od;
  atomic {
    candidate[me] = NOBODY;
    next = 0; its_line = 0; passed = 0; need = 0
  }
}

/* Depot::Publish: the credit, then Serve if the word that it left counts
 * waiters. */
inline Release(me, n) {
  atomic {
    available = available + n;
    hold[me] = hold[me] - n;
    counted = waiting != 0
  };
#ifndef NO_SERVE_AFTER_CREDIT
  if
  :: counted -> Serve(me)
  :: else
  fi;
#endif
  counted = false
}

/* ---- Sessions ----------------------------------------------------------- */

/* The last look of an allocation, by all means: Depot::ReserveSwept. What it
 * must leave to a waiter may be owed by somebody else: it serves, once. */
inline Look(me, class) {
  do
  :: true ->
     atomic {
       MustWait(LINE(class));
       met = !must_wait && available >= NEED(class, me) + KEEP(class);
       if
       :: met ->
          for (i : 0 .. SESSIONS - 1) {             /* S4 */
            Check(!(asleep[i] && line[i] <= LINE(class)), NobodyPassesASleeper)
          };
          available = available - NEED(class, me);
          hold[me] = hold[me] + NEED(class, me);
          counted = waiting != 0;
          Check(Reserved(class), AReceiveLeavesTheReserve)
       :: else
       fi;
       i = 0; c = 0; first = 0
     };
     if
     :: must_wait && !served -> served = true; Serve(me)
     :: else -> break
     fi
  od;
  atomic {                                          /* Overtook */
    for (c : class + 1 .. CLASSES - 1) {
      First(c);
      if
      :: counted && class != COMPLETE && first != NOBODY -> CountOvertake(c)
      :: else
      fi
    };
    i = 0; c = 0; first = 0;
    must_wait = false; served = false; counted = false
  }
}

/* WaiterQueue::Subscribe. */
inline Subscribe(me, class) {
  waiting++;                                        /* TryBecomeWait */
  atomic {                                          /* WaiterList::Append */
    line[me] = LINE(class);
    arrivals++;
    arrival[me] = arrivals;
    state[me] = Waiting
  };
#ifndef NO_SERVE_AFTER_SUBSCRIBE
  Serve(me);
#endif
  asleep[me] = state[me] == Waiting
}

/* SessionBuffers::AllocateReceiveBuffer and AllocateBuffers. Who fails to
 * complete and holds an empty buffer gives it back, and asks for a pair. */
inline Ask(me, class) {
  do
  :: Look(me, class);
     if
     :: met -> break
     :: !met && class == COMPLETE -> class = PAIR; Release(me, 1)
     :: !met -> Subscribe(me, class); break
     fi
  od;
  met = false
}

/* WaiterQueue::Cancel. */
inline Cancel(me) {
  atomic {
    counted = state[me] == Waiting;
    if
    :: counted ->
       EndWaitOf(me, Cancelled);
       First(line[me]);
       overtaken[line[me]] = (first == NOBODY -> 0 : overtaken[line[me]])
    :: else
    fi;
    i = 0; first = 0
  };
  if
  :: counted ->
     waiting--;                                     /* Ledger::EndWait */
     Serve(me)
  :: else
  fi;
  counted = false
}

proctype Session(byte me) {
  byte class = 0, give = 0;
  bool both = false;            /* has had both, and returns the other next */
  byte i = 0, c = 0, first = 0; /* what inlines work with */
  byte next = 0, its_line = 0, need = 0, passed = 0;
  bool met = false, must_wait = false, served = false, counted = false;
  do
  :: atomic {
       if
       :: hold[me] == 0 -> class = RECEIVE
       :: hold[me] == 0 -> class = PAIR
       :: hold[me] == 0 -> break
       :: hold[me] == 1 && !both -> class = COMPLETE
       :: hold[me] == 1 -> give = 1; both = false
       :: hold[me] == 2 -> give = 1; both = true
       :: hold[me] == 2 -> give = 2
       fi
     };
     if
     :: give == 0 ->
        operation { Ask(me, class) };
        if
        :: state[me] == Idle
        :: state[me] != Idle
        :: CANCELS && me != 0 && state[me] != Idle -> operation { Cancel(me) }
        fi;
        atomic {                                    /* FinishWait */
          state[me] == Idle || state[me] == Cancelled || woken[me] ->
          if
          :: state[me] == Cancelled -> give = hold[me]
          :: else ->
             Check(hold[me] == (class == RECEIVE -> 1 : 2), APairComesWhole)
          fi;
          state[me] = Idle; woken[me] = false; line[me] = 0; class = 0
        }
     :: else
     fi;
     if
     :: give != 0 -> operation { Release(me, give) }; give = 0
     :: else
     fi
  od
}

/* ---- The judge ---------------------------------------------------------- */

proctype Watch() {
end:
  atomic { !NothingLost -> assert(NothingIsLost) }
}

#ifdef LIVENESS
ltl served { [] (asleep[0] -> <> !asleep[0]) }
#endif

init {
  byte k;
  atomic {
    run Watch();
    for (k : 0 .. SESSIONS - 1) {
      run Session(k)
    }
  }
}
