/* Sessions that ask for buffers by class, wait, are served, and leave.
 *
 * Mirrors session/session_buffers.cc, session_allocator.cc, waiter_queue.h and
 * the ledger's side of pool/depot/central_pool.h; each part names its function.
 * pool_cache.pml has the places where buffers lie: here they are a number.
 *
 *   Session   receives (one buffer; the reserve remains), completes (the other
 *             one), or takes a pair; gives back both at once, or one and then
 *             the other; asks again, or stops. It keeps the premise of S6: a
 *             session that has had both returns both before it asks again. All
 *             but session 0 may cancel, and then give back what they hold. With
 *             SPARES, a session that has both may take a spare buffer and
 *             return it, if at a look no session waits and more than the
 *             reserve is free.
 *   Watch     moves only if something is wrong.
 *
 * One step here is one atomic operation there; with -DCOARSE, one operation of
 * a session. MustWait and Pick read the lists of all classes in one step.
 *
 * Checked
 *   P1  every buffer is free, held, or being offered        (Watch)
 *   S1  a receive leaves the reserve                        (Reserved)
 *   S2  a pair, and a complete, come whole
 *   S4  no allocation passes a waiter of its class or a higher one whose last
 *       look has failed; a class is served in order
 *   S5  of a cancel and a grant one wins, and nothing is lost
 *   S6  no deadlock: only sessions that have stopped stay where they are (no
 *       invalid end state). With LIVENESS, under weak fairness: whenever
 *       session 0 waits, it is served                       (served)
 *
 * Faults to put in, each of which must be found: ONE_QUEUE_FOR_BOTH_PAIRS,
 * RECEIVE_TAKES_RESERVE, NO_SERVE_AFTER_SUBSCRIBE, NO_SERVE_AFTER_CREDIT,
 * LATE_OFFER_IS_DROPPED, DROPPED_WAKE_UP, NO_SERVE_WHEN_DUE; with SPARES,
 * SPARES_PASS_WAITERS, SPARES_TAKE_RESERVE and SPARES_ARE_WAITED_FOR; and for
 * liveness NOBODY_MUST_WAIT and NOBODY_IS_DUE. With RESERVE=0 the theorem does
 * not hold: that is the deadlock this project began with.
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
#ifndef DECLARED
#define DECLARED 0  /* 1: a declared class as well, between pair and receive */
#endif
#ifndef SPARES
#define SPARES 0    /* 1: a session that has both may take a spare as well */
#endif
#ifdef COARSE
#define operation(what) atomic { what; Settled(me) }
#else
#define operation(what) what
#endif

/* Classes by rank; 0 is served first and never held back. */
#define COMPLETE 0
#define PAIR 1
#define SINGLE 2 /* from here on they need one buffer, and keep some */
#define RECEIVE (SINGLE + DECLARED)
#define CLASSES (RECEIVE + 1)
#define MARGIN(class)                                                \
  ((class) < SINGLE -> 0 : ((class) == RECEIVE -> RESERVE : CAPACITY - 1))
#ifdef RECEIVE_TAKES_RESERVE
#define KEEP(class) 0
#else
#define KEEP(class) MARGIN(class)
#endif
#ifdef ONE_QUEUE_FOR_BOTH_PAIRS
#define LINE(class) ((class) == COMPLETE -> PAIR : (class))
#else
#define LINE(class) (class)
#endif
#define NEED(class, who) ((class) >= SINGLE -> 1 : 2 - hold[who])
#define Reserved(class) (available >= MARGIN(class))

/* ---- Shared words ------------------------------------------------------- */

#define MOST 4
#define NOBODY MOST

byte available = CAPACITY, waiting = 0; /* Ledger: one word */

/* WaiterQueue: one record for each session. Those who wait are numbered from 1
 * on, twice: by when they came, and in each class by where they are linked. */
mtype = { Idle, Waiting, Granted, Cancelled };
mtype state[MOST] = Idle;
byte line[MOST];
byte arrival[MOST];
byte place[MOST];
byte arrivals = 0;
bool woken[MOST];
byte overtaken[CLASSES];

/* Who each session is about to serve; NOBODY once that wait is over, as a
 * compare-and-swap that expects its version then fails. */
byte candidate[MOST] = NOBODY;

byte hold[MOST];   /* buffers of a session */
byte offer[MOST];  /* and in the hands of one that serves */
bool asleep[MOST]; /* its last look has failed */
byte before[MOST]; /* bit i: i was asleep when this one's last look began */

#define SUM(of) (of[0] + of[1] + of[2] + of[3])
#define NothingLost (available + SUM(hold) + SUM(offer) == CAPACITY)

/* What a failure shows; none is ever true. */
bool NothingIsLost, AReceiveLeavesTheReserve, APairComesWhole;
bool NobodyPassesASleeper, FirstComeFirstServed, NobodySleepsBesideABuffer;
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
       (first == NOBODY -> true : place[i] < place[first]) -> first = i
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

/* WaiterQueue::MustWait, asked only if the ledger counted waiters. */
inline MustWait(class) {
  must_wait = false;
#ifndef NOBODY_MUST_WAIT
  for (c : 0 .. CLASSES - 1) {
    if
    :: c <= class || class != COMPLETE && DUE(c) ->
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
    fi;
    if
    :: state[i] == Waiting && line[i] == line[who] && place[i] > place[who] ->
       place[i]--
    :: else
    fi;
    before[i] = before[i] & ~(1 << who)
  };
  arrivals--;
  arrival[who] = 0;
  place[who] = 0
}

/* WaiterQueue::ServeAs. One who is late publishes, and looks again. */
inline Serve(me) {
  do
  :: available == 0 -> break                        /* WaitDoor::HasFree */
  :: available != 0 ->
     Pick(me);
     if
     :: next == NOBODY -> break
     :: else
     fi;
     atomic {                                       /* CentralPool::TakeForWaiter */
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
        overtaken[its_line] = 0;
        atomic {
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

/* CentralPool::Publish: the credit, then Serve if the word that it left counts
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

/* CentralPool::ReserveSwept, the last look of an allocation. What it must leave to a
 * waiter may be owed by somebody else: it serves, once. Then Overtook. */
inline Load() {
  seen_available = available;
  seen_waiting = waiting
}
inline Look(me, class) {
  atomic {
    before[me] = asleep[0] | asleep[1] << 1 | asleep[2] << 2 | asleep[3] << 3;
    Load()
  };
  do
  :: true ->
     atomic {
       if
       :: seen_waiting != 0 -> MustWait(LINE(class))
       :: else -> must_wait = false
       fi;
       i = 0; c = 0; first = 0
     };
     if
     :: must_wait && !served -> served = true; Serve(me); atomic { Load() }
     :: must_wait && served -> break
     :: !must_wait && seen_available < NEED(class, me) + KEEP(class) -> break
     :: !must_wait && seen_available >= NEED(class, me) + KEEP(class) ->
        atomic {                                    /* Ledger::TryReserve */
          met = available == seen_available && waiting == seen_waiting;
          if
          :: met ->
             for (i : 0 .. SESSIONS - 1) {          /* S4 */
               Check(!(before[me] >> i & 1 && line[i] <= LINE(class)),
                     NobodyPassesASleeper)
             };
             i = 0;
             available = available - NEED(class, me);
             hold[me] = hold[me] + NEED(class, me);
             Check(Reserved(class), AReceiveLeavesTheReserve);
             break
          :: else -> Load()
          fi
        }
     fi
  od;
  atomic {
    before[me] = 0;
    counted = met && seen_waiting != 0;
    seen_available = 0; seen_waiting = 0;
    must_wait = false; served = false
  };
  if
  :: counted && class != COMPLETE -> Overtook(me, class)
  :: else
  fi;
  counted = false
}

/* WaiterQueue::Overtook: there may be enough for who goes first from now on. */
inline Overtook(me, class) {
  atomic {
    for (c : class + 1 .. CLASSES - 1) {
      First(c);
      if
      :: first != NOBODY ->
         is_due = is_due || overtaken[c] + 1 == OVERTAKES;
         CountOvertake(c)
      :: else
      fi
    };
    i = 0; c = 0; first = 0
  };
#ifndef NO_SERVE_WHEN_DUE
  if
  :: is_due -> Serve(me)
  :: else
  fi;
#endif
  is_due = false
}

/* SpareBuffers::Take, after its look (HasToSpare): CentralPool::ReserveFree, as
 * for a receive. Who is refused goes on without; nobody is served. */
#ifdef SPARES_TAKE_RESERVE
#define KEEP_OF_SPARE 0
#else
#define KEEP_OF_SPARE KEEP(RECEIVE)
#endif
inline TakeSpare(me) {
  atomic {
    before[me] = asleep[0] | asleep[1] << 1 | asleep[2] << 2 | asleep[3] << 3;
    Load()
  };
  do
  :: seen_available <= KEEP_OF_SPARE -> break
  :: else ->
     atomic {
#ifndef SPARES_PASS_WAITERS
       if
       :: seen_waiting != 0 -> MustWait(RECEIVE)
       :: else
       fi;
#endif
       i = 0; c = 0; first = 0
     };
     if
     :: must_wait -> break
     :: else ->
        atomic {                                    /* Ledger::TryReserve */
          met = available == seen_available && waiting == seen_waiting;
          if
          :: met ->
             for (i : 0 .. SESSIONS - 1) {          /* S4 */
               Check(!(before[me] >> i & 1 && line[i] <= RECEIVE),
                     NobodyPassesASleeper)
             };
             i = 0;
             available--;
             hold[me]++;
             Check(Reserved(RECEIVE), AReceiveLeavesTheReserve);
             break
          :: else -> Load()
          fi
        }
     fi
  od;
  atomic {
    before[me] = 0;
    counted = met && seen_waiting != 0;
    give = met;
    met = false; seen_available = 0; seen_waiting = 0; must_wait = false
  };
  if
  :: counted -> Overtook(me, RECEIVE)
  :: else
  fi;
  counted = false
}

/* WaiterQueue::TakeOrJoin: waits behind others, if any wait still, without a
 * look of its own. */
inline Join(me, class) {
  atomic {                                          /* WaitDoor::MustWait */
    if
    :: waiting != 0 -> MustWait(LINE(class))
    :: else
    fi;
    i = 0; c = 0; first = 0
  };
  if
  :: must_wait ->
     atomic {                                       /* Ledger::TryJoinWait */
       joined = waiting != 0;
       waiting = waiting + joined;
       must_wait = false
     }
  :: else
  fi;
  if
  :: joined -> Link(me, class)
  :: else
  fi
}

/* WaiterQueue::Link, of one that the ledger counts. */
inline Link(me, class) {
  atomic {
    line[me] = LINE(class);
    arrivals++;
    arrival[me] = arrivals
  };
  atomic {                                          /* WaiterList::Append */
    for (i : 0 .. SESSIONS - 1) {
      place[me] = place[me] + (state[i] == Waiting && line[i] == line[me])
    };
    place[me]++;
    state[me] = Waiting;
    i = 0
  };
#ifndef NO_SERVE_AFTER_SUBSCRIBE
  Serve(me);
#endif
  asleep[me] = state[me] == Waiting
}

/* SessionBuffers::AllocateReceiveBuffer and AllocateBuffers. Who fails to
 * complete gives back the buffer it holds, if that is empty, and asks for a
 * pair, under the same shortage; or else asks again. */
inline Ask(me, class) {
  do
  :: true ->
     if
     :: again == (class == COMPLETE) -> Join(me, class)
     :: else
     fi;
     if
     :: joined -> break
     :: else
     fi;
     Look(me, class);
     if
     :: met -> break
     :: !met && class == COMPLETE && !again ->
        class = PAIR; again = true; Release(me, 1)
     :: !met && class == COMPLETE && !again -> again = true
     :: !met && (class != COMPLETE || again) ->
        waiting++;                                  /* TryBecomeWait */
        Link(me, class);
        break
     fi
  od;
  atomic { met = false; again = false; joined = false }
}

/* WaiterQueue::Cancel. */
inline Cancel(me) {
  atomic {
    counted = state[me] == Waiting;
    if
    :: counted -> EndWaitOf(me, Cancelled)
    :: else
    fi;
    i = 0
  };
  if
  :: counted ->
     atomic { First(line[me]); i = 0 };
     if
     :: first == NOBODY -> overtaken[line[me]] = 0
     :: else
     fi;
     first = 0;
     waiting--;                                     /* Ledger::EndWait */
     Serve(me)
  :: else
  fi;
  counted = false
}

/* Between operations nobody is left whose turn it is and for whom there is
 * enough. */
inline Settled(me) {
  Pick(me);
  Check(next == NOBODY || available < need + KEEP(its_line),
        NobodySleepsBesideABuffer);
  candidate[me] = NOBODY;
  next = 0; its_line = 0; passed = 0; need = 0
}

/* WaitDoor::HasToSpare. */
#ifdef SPARES_PASS_WAITERS
#define MAY_TAKE_SPARE (available > RESERVE)
#elif defined(SPARES_TAKE_RESERVE)
#define MAY_TAKE_SPARE (waiting == 0 && available > 0)
#else
#define MAY_TAKE_SPARE (waiting == 0 && available > RESERVE)
#endif

proctype Session(byte me) {
  byte class = 0, give = 0;
  bool both = false;            /* has had both, and returns the other next */
  byte i = 0, c = 0, first = 0; /* what inlines work with */
  byte next = 0, its_line = 0, need = 0, passed = 0;
  byte seen_available = 0, seen_waiting = 0;
  bool met = false, must_wait = false, served = false, counted = false;
  bool is_due = false, again = false, joined = false, spare = false;
  do
  :: atomic {
       if
       :: hold[me] == 0 -> class = RECEIVE
       :: hold[me] == 0 -> class = PAIR
       :: DECLARED && hold[me] == 0 -> class = SINGLE
       :: hold[me] == 0 -> break
       :: hold[me] == 1 && !both -> class = COMPLETE
       :: hold[me] == 1 -> give = 1; both = false
       :: hold[me] == 2 -> give = 1; both = true
       :: hold[me] == 2 -> give = 2
#ifdef SPARES_ARE_WAITED_FOR
       :: hold[me] == 2 -> spare = true; MAY_TAKE_SPARE
#elif SPARES
       :: hold[me] == 2 && MAY_TAKE_SPARE -> spare = true
#endif
       fi
     };
     if
     :: spare -> operation(TakeSpare(me)); spare = false
     :: !spare && give == 0 ->
        operation(Ask(me, class));
        if
        :: state[me] == Idle
        :: state[me] != Idle
        :: CANCELS && me != 0 && state[me] != Idle -> operation(Cancel(me))
        fi;
        atomic {                                    /* FinishWait */
          state[me] == Idle || state[me] == Cancelled || woken[me] ->
          if
          :: state[me] == Cancelled -> give = hold[me]
          :: else ->
             Check(hold[me] == (class >= SINGLE -> 1 : 2), APairComesWhole)
          fi;
          state[me] = Idle; woken[me] = false; line[me] = 0; class = 0
        }
     :: !spare && give != 0
     fi;
     if
     :: give != 0 -> operation(Release(me, give)); give = 0
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
