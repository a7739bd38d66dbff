/* A thread cache, its owner, and two sessions that are short of buffers.
 *
 * Mirrors pool/cache/thread_cache.h, slow_path.h, sweep.h, lock_free_pool.h,
 * central_pool.h and the hand-over of session/waiter_queue.h; each part names its
 * function. One step here is one atomic operation there, or one instruction of a
 * section.
 *
 *   Owner     takes and gives single buffers through its cache: through the
 *             open gate, or by compare-and-swap while the gate is closed; opens
 *             the gate.
 *   Session   asks for a pair (needs 2, keeps 0) or a receive (needs 1, keeps
 *             the reserve): looks, and joins the sessions that wait before it;
 *             or raises a shortage, sweeps the cache unless a session waits,
 *             looks a last time, waits. Then it keeps the buffers forever, or
 *             gives them back and asks again.
 *   Reclaimer takes the cache's limit, for good, and then its buffers
 *             (LockFreePool::Adapt). It replaces the second session.
 *   Watch     moves only if something is wrong.
 *
 * A buffer is one bit; a set of buffers is the sum of its bits.
 *
 * Checked in every state, so it does not matter which process stops where:
 *   P1, P5  every buffer is in exactly one place
 *   P1      the depot holds what the ledger counts
 *   P3, P4  no session whose last look has failed sleeps while there is a buffer
 *           in the cache, except for one after which the owner's push in
 *           progress has yet to look; nor while the depot has enough, except for
 *           buffers that a process has credited and is about to serve
 *   S1      a receive leaves the reserve in the ledger, or in offers that came
 *           too late, which go back there
 *   S2      a session gets all that it needs at once
 *   S4      no buffer leaves the cache while a session sleeps
 *           the gate does not open with a limit that was taken away
 *
 * REFUSALS, with one session: the system refuses barriers at will. Then buffers
 * may lie beside a sleeper as long as the gate is closing: until the owner's next
 * operation that finds it so. And a section in progress may pass a sleeper.
 *
 * Faults to put in, each of which must be found:
 *   NO_BARRIER, CLOSING_IS_ENOUGH, GATE_STAYS_BEHIND (a thief that finds the
 *   gate closed in an older epoch than the word's does not move it),
 *   ANY_EPOCH_WILL_DO (with GATE_STAYS_BEHIND: the thief takes the word's epoch
 *   for the one that was closed), GATE_OPENS_BLINDLY (the owner opens the gate
 *   whatever its value is now), LIMIT_ZEROED_LAST,
 *   LIMIT_READ_FIRST, REFUSAL_TAKEN_FOR_DONE (with REFUSALS),
 *   NO_LOOK_AFTER_PUSH, NO_LOOK_AFTER_EPOCH, NO_LOOK_AFTER_CLOSING (with
 *   REFUSALS), PRESSURE_RAISED_LATE, CREDIT_BEFORE_PUSH, RECEIVE_TAKES_RESERVE,
 *   NO_SERVE_AFTER_SUBSCRIBE, NO_SERVE_AFTER_CREDIT, NOBODY_SWEEPS,
 *   JOIN_WHERE_NOBODY_WAITS.
 */
#ifndef BUFFERS
#define BUFFERS 3    /* at most 4 */
#endif
#ifndef RESERVE
#define RESERVE 1
#endif
#ifndef CACHE
#define CACHE 3      /* the cache's limit, at most 3 */
#endif
#ifndef OPERATIONS
#define OPERATIONS 4 /* of the owner */
#endif
#ifndef EPOCHS
#define EPOCHS 2     /* the last one that the owner begins; the first is 1 */
#endif
#ifndef ROUNDS
#define ROUNDS 1     /* requests of each session */
#endif
#ifndef FIRST
#define FIRST PAIR   /* what session 1 asks for */
#endif
#ifndef SECOND
#define SECOND RECEIVE /* and session 2; NOTHING: there is none; RECLAIM */
#endif

#define BATCH ((CACHE + 1) / 2) /* SlowPath::BatchOf: 1 or 2 */
#define ALL ((1 << BUFFERS) - 1)
#define SIZE(set) ((set & 1) + (set >> 1 & 1) + (set >> 2 & 1) + (set >> 3 & 1))
#define LOWEST(set) (set & -(set))
#define MIN(a, b) ((a) < (b) -> (a) : (b))

/* ---- Shared words ------------------------------------------------------- */

/* Ledger: one word, so each step may read and change all three. */
byte available = BUFFERS, waiting = 0, shortages = 0;
#define PRESSED (waiting || shortages || available < RESERVE)

byte pool = ALL;                       /* Depot: a set */

/* ThreadCache. `epoch`, `tag` and `top` are one word; `gate`, `gate_epoch` and
 * `ceiling` another one. */
byte epoch = 1, tag = 0, top = 0;
byte slot[3];
mtype = { Open, Closing, Closed };
mtype gate = Closed;
byte gate_epoch = 1, ceiling = 0;
byte limit = CACHE;
bool refused = false;                  /* a barrier has been refused */

/* The owner's restartable section: its next step, 0 outside of one. */
byte section = 0;

/* WaiterQueue: the state of each session's wait, and what it was granted. */
mtype = { Idle, Waiting, Granted };
#define OWNER 0
#define PROCESSES 3
mtype state[PROCESSES] = Idle;
byte granted[PROCESSES];
/* Who each process is about to serve; 0 once that wait is over, as a
 * compare-and-swap that expects its version then fails. */
byte candidate[PROCESSES];

/* Classes, in order of rank. */
#define NOTHING 0
#define PAIR 1
#define RECEIVE 2
#define RECLAIM 3
#define CLASS(k) ((k) == 1 -> FIRST : SECOND)
#define NEED(class) ((class) == PAIR -> 2 : 1)
#ifdef RECEIVE_TAKES_RESERVE
#define KEEP(class) 0
#else
#define KEEP(class) ((class) == PAIR -> 0 : RESERVE)
#endif
#define OWNER_CLASS RECEIVE

#define WAITS(k, class) (state[k] == Waiting && CLASS(k) <= class)
/* WaiterQueue::MustWait: asked only while the ledger counts waiters. */
#define MUST_WAIT(class) (waiting && (WAITS(1, class) || WAITS(2, class)))

#define SOMEBODY_WAITS (state[1] == Waiting || state[2] == Waiting)
/* WaiterQueue::Pick: by rank. */
#define NEXT                                                         \
  (state[1] == Waiting &&                                            \
           (state[2] != Waiting || CLASS(1) <= CLASS(2)) -> 1 : 2)

/* ---- What only the judge reads ------------------------------------------ */

byte hands[PROCESSES];  /* what an operation or its user has taken */
byte unlooked = 0;      /* pushed by the owner, which has yet to look after */
bool owes[PROCESSES];   /* credited, and has yet to serve */
bool asleep[PROCESSES]; /* its last look has failed */
byte offers[PROCESSES]; /* how many buffers it has reserved for a waiter */
bool given = false;     /* the limit is somebody else's now */

#define CACHED ((top > 0) * slot[0] + (top > 1) * slot[1] + (top > 2) * slot[2])
#define HANDS hands[0] + hands[1] + hands[2]
#define EachInOnePlace                                               \
  (pool + CACHED + HANDS + granted[1] + granted[2] == ALL &&         \
   (pool | CACHED | hands[0] | hands[1] | hands[2] | granted[1] |    \
    granted[2]) == ALL)
#define Counted (SIZE(pool) >= available)
/* Offers that come too late go back: nobody is to have them. */
#define LATE(k) ((candidate[k] == 0) * offers[k])
#define FairPop                                                      \
  (available + LATE(0) + LATE(1) + LATE(2) >= RESERVE &&             \
   !asleep[1] && !asleep[2])
/* Of what a receive was given. */
#define Reserved(class) ((class) == PAIR || available >= RESERVE)

/* The first in order could be served, and nobody has promised to. */
#define UNSERVED                                                     \
  (SOMEBODY_WAITS && asleep[NEXT] &&                                 \
   available >= NEED(CLASS(NEXT)) + KEEP(CLASS(NEXT)) &&             \
   !owes[0] && !owes[1] && !owes[2])
#define NobodyLeft                                                   \
  ((!asleep[1] && !asleep[2] || (CACHED & ~unlooked) == 0 ||         \
    refused && gate == Closing) && !UNSERVED)
#define LimitHeld (!given || ceiling == 0)

/* What a failure shows; none is ever true. */
bool EveryBufferIsInOnePlace, ThePoolHoldsWhatIsCounted;
bool AReceiveLeavesTheReserve, NobodyPassesASleeper, ASessionGetsAllItNeeds;
bool NobodySleepsBesideABuffer, NoGateOpensWithATakenLimit, OwnerSpinsForEver;
inline Check(condition, name) {
  if
  :: condition
  :: else -> assert(name)
  fi
}

/* ---- CentralPool -------------------------------------------------------------- */

mtype = { Done, Unfit, Revoked, Gone };
/* Every process has these. They are reset, so as not to tell states apart. */
#define LOCALS            \
  mtype result = Unfit;   \
  bool met = false;       \
  bool served = false;    \
  bool swept = false;     \
  byte lot = 0;           \
  byte count = 0;         \
  byte whom = 0;          \
  bool fenced = false;    \
  byte seen_epoch = 0;    \
  byte word_epoch = 0;    \
  byte seen_tag = 0;      \
  byte seen_top = 0

/* CentralPool::Collect of what is reserved, into `lot`: the rule "ledger before
 * lists" promises that the buffers are there. */
inline Collect(me, n) {
  atomic {
    Check(SIZE(pool) >= n, ThePoolHoldsWhatIsCounted);
    lot = LOWEST(pool);
    if
    :: n >= 2 -> lot = lot + LOWEST((pool - lot))
    :: else
    fi;
    if
    :: n >= 3 -> lot = lot + LOWEST((pool - lot))
    :: else
    fi;
    pool = pool - lot;
    hands[me] = hands[me] + lot
  }
}

/* Depot::Push of `lot`, then Ledger::Credit. */
inline PushAndCredit(me) {
#ifdef CREDIT_BEFORE_PUSH
  atomic { available = available + SIZE(lot); owes[me] = waiting != 0 };
  atomic { pool = pool + lot; hands[me] = hands[me] - lot; lot = 0 }
#else
  atomic { pool = pool + lot; hands[me] = hands[me] - lot };
  atomic {
    available = available + SIZE(lot);
    owes[me] = waiting != 0;
    offers[me] = 0;
    lot = 0
  }
#endif
}

/* CentralPool::Publish of `lot`: serves if the word that the credit left counts
 * waiters. */
inline Publish(me) {
  PushAndCredit(me);
#ifdef NO_SERVE_AFTER_CREDIT
  owes[me] = false;
#endif
  if
  :: owes[me] -> Serve(me)
  :: else
  fi
}

/* CentralPool::ReserveFree, and whether it was met. The compare-and-swap expects the
 * word that was read: one step. MustWait is asked between the two there, which
 * sessions.pml has apart. */
inline ReserveFree(n, class) {
  atomic {
    met = available >= n + RESERVE && !MUST_WAIT(class);
    if
    :: met ->
       available = available - (n);
       Check(Reserved(class), AReceiveLeavesTheReserve)
    :: else
    fi
  }
}

/* CentralPool::ReserveSwept: the last look, which may dig into the reserve. What it
 * must leave to a waiter may be owed by somebody who has stopped: it serves. */
inline ReserveSwept(me, n, class) {
  do
  :: atomic { MUST_WAIT(class) && !served -> served = true }; Serve(me)
  :: atomic { MUST_WAIT(class) && served -> met = false; break }
  :: atomic {
       !MUST_WAIT(class) -> met = available >= n + KEEP(class);
       if
       :: met ->
          available = available - (n);
          Check(Reserved(class), AReceiveLeavesTheReserve)
       :: else
       fi;
       break
     }
  od;
  served = false
}

/* WaiterQueue::ServeAs. One who loses the offer publishes and looks again. */
inline Serve(me) {
  do
  :: available == 0 -> break                        /* WaitDoor::HasFree */
  :: available != 0 ->
     atomic {                                       /* Pick */
       if
       :: SOMEBODY_WAITS -> whom = NEXT; candidate[me] = whom
       :: else -> break
       fi
     };
     if
     :: atomic {                                    /* CentralPool::TakeForWaiter */
          available < NEED(CLASS(whom)) + KEEP(CLASS(whom)) -> break
        }
     :: atomic {
          available >= NEED(CLASS(whom)) + KEEP(CLASS(whom)) ->
          available = available - NEED(CLASS(whom));
          offers[me] = NEED(CLASS(whom));
          Check(Reserved(CLASS(whom)), AReceiveLeavesTheReserve)
        };
        Collect(me, NEED(CLASS(whom)));
        if
        :: atomic {                                 /* Grant */
             candidate[me] != 0 ->
             hands[me] = hands[me] - lot;
             granted[whom] = lot;
             lot = 0;
             offers[me] = 0;
             EndWaitOf(whom)
           };
           waiting--                                /* Ledger::EndWait */
        :: atomic { candidate[me] == 0 -> skip };
           PushAndCredit(me)
        fi
     fi
  od;
  atomic { owes[me] = false; candidate[me] = 0; whom = 0 }
}

/* The compare-and-swap that ends a wait: others' will fail. */
inline EndWaitOf(who) {
  state[who] = Granted;
  asleep[who] = false;
  if
  :: candidate[0] == who -> candidate[0] = 0
  :: else
  fi;
  if
  :: candidate[1] == who -> candidate[1] = 0
  :: else
  fi;
  if
  :: candidate[2] == who -> candidate[2] = 0
  :: else
  fi
}

/* ---- ThreadCache: anyone ------------------------------------------------ */

/* RseqSection::Barrier: the kernel starts a section anew. That it also is a
 * fence says nothing here, where everybody sees each store at once. Tells by
 * `fenced` whether it has been done. */
inline Barrier() {
#ifdef NO_BARRIER
  fenced = true
#else
  if
  :: atomic {
       fenced = true;
       if
       :: section > 1 -> section = 1
       :: else
       fi
     }
#ifdef REFUSALS
  :: atomic {
       refused = true;
#ifdef REFUSAL_TAKEN_FOR_DONE
       fenced = true
#endif
     }
#endif
  fi
#endif
}

/* ThreadCache::Close, and what must follow it (sweep.h): the barrier, unless
 * the gate tells of one. Sets seen_epoch, and `fenced`: the cache may be taken
 * from. The owner needs no barrier against itself (CloseOwn). */
inline Close(me) {
  do
  :: atomic {
       gate == Open ->
       gate = (me == OWNER -> Closed : Closing);
       ceiling = 0;
       seen_epoch = gate_epoch;
       fenced = (gate == Closed);
       break
     }
  :: atomic {                                       /* reads the gate */
       gate != Open ->
       if
       :: me == OWNER -> gate = Closed
       :: else
       fi;
       seen_epoch = gate_epoch;
#ifdef CLOSING_IS_ENOUGH
       fenced = true
#else
       fenced = (gate == Closed)
#endif
     };
#ifdef GATE_STAYS_BEHIND
     break
#else
     word_epoch = epoch;                            /* reads the word */
     if
     :: atomic { word_epoch == seen_epoch -> word_epoch = 0; break }
     :: else ->
        atomic {              /* moves the gate to the epoch of the word */
          if
          :: gate != Open && gate_epoch == seen_epoch &&
             (gate == Closed) == fenced ->
             gate_epoch = word_epoch;
             seen_epoch = word_epoch;
             word_epoch = 0;
             break
          :: else -> word_epoch = 0
          fi
        }
     fi
#endif
  od;
  if
  :: fenced
  :: else ->
     Barrier();
     atomic {
       if                                           /* ThreadCache::SetClosed */
       :: fenced && gate == Closing && gate_epoch == seen_epoch -> gate = Closed
       :: else
       fi
     }
  fi;
#ifdef ANY_EPOCH_WILL_DO
  seen_epoch = epoch;
#endif
  Check(me != OWNER || seen_epoch == epoch, OwnerSpinsForEver)
}

#define SAME_WORD (epoch == word_epoch && tag == seen_tag && top == seen_top)

/* ThreadCache::Take, up to `most`, into `lot`: of epoch `only`, or of any if it
 * is 0. Slots are copied in one step, as a torn copy fails like a stale one. */
inline TakeFromCache(me, most, only) {
  do
  :: atomic {
       word_epoch = epoch;
       seen_tag = tag;
       seen_top = top;
       if
       :: only != 0 && word_epoch != only -> result = Gone; break
       :: (only == 0 || word_epoch == only) && top == 0 -> result = Unfit; break
       :: else -> count = MIN(top, most)
       fi
     };
     CopySlots();
     atomic {
       if
       :: SAME_WORD ->
          Check(only != 0 || FairPop, NobodyPassesASleeper);
          tag++;
          top = top - count;
          hands[me] = hands[me] + lot;
          result = Done;
          break
       :: else -> lot = 0
       fi
     }
  od;
  atomic { word_epoch = 0; seen_tag = 0; seen_top = 0; count = 0 }
}

/* slots[top - count, top) of the top that was read, into `lot`. */
inline CopySlots() {
  lot = slot[seen_top - 1] + (count == 2 -> slot[seen_top - 2] : 0)
}

/* SweepPiece, of one cache. With n != 0, for a Shortage: stops when the ledger
 * meets n, and tells by `met`. */
inline Sweep(me, n, class) {
  result = Gone;
  do
  :: result == Gone ->
     Close(me);
     if
     :: fenced -> TakeFromCache(me, BATCH, seen_epoch)
     :: else -> result = Unfit               /* the system refused: passed over */
     fi
  :: result == Unfit -> break
  :: result == Done ->
     Publish(me);
     if
     :: n != 0 -> ReserveFree(n, class)
     :: else
     fi;
     if
     :: met -> break
     :: else -> TakeFromCache(me, BATCH, seen_epoch)
     fi
  od;
  atomic { result = Unfit; seen_epoch = 0; fenced = false }
}

/* LockFreePool::Shortage, as far as its destructor; tells by `met`. */
inline Shortage(me, n, class) {
#ifdef PRESSURE_RAISED_LATE
  Sweep(me, n, class);
  shortages++;
#else
  /* RaiseShortage. While there is a wait, no cache holds a buffer. */
  atomic { shortages++; swept = waiting != 0 };
#ifdef NOBODY_SWEEPS
  swept = true;
#endif
  if
  :: swept -> swept = false
  :: else -> Sweep(me, n, class)
  fi;
#endif
  if
  :: met
  :: else -> ReserveSwept(me, n, class)
  fi
}

/* ---- ThreadCache and SlowPath: the owner ----------------------------- */

/* RseqSection::Pop and Push: plain loads and stores, the last one commits. The
 * kernel starts them anew whenever it likes (preemption, a signal), and at each
 * Barrier. */
#define PREEMPTED section > 1 -> section = 1

inline SectionPop(n) {                              /* n buffers, into lot */
  section = 1;
  do
  :: atomic {
       section == 1 ->
       lot = 0; seen_top = top; section = 2
     }
  :: atomic {
       section == 2 ->
       if
       :: gate != Open -> section = 0; result = Revoked; break
       :: gate == Open && seen_top < n -> section = 0; result = Unfit; break
       :: gate == Open && seen_top >= n -> section = 3
       fi
     }
  :: atomic { section == 3 -> count = n; CopySlots(); count = 0; section = 4 }
  :: atomic {
       section == 4 ->
       Check(FairPop || refused, NobodyPassesASleeper);
       top = seen_top - n;
       hands[OWNER] = hands[OWNER] + lot;
       section = 0; result = Done; break
     }
  :: atomic { PREEMPTED }
  od;
  seen_top = 0
}

inline SectionPush(set) {                           /* one buffer */
  section = 1;
  do
  :: atomic {
       section == 1 ->
       seen_top = top; section = 2
     }
  :: atomic {
       section == 2 ->
       if
       :: gate != Open -> section = 0; result = Revoked; break
       :: gate == Open && seen_top + 1 > ceiling ->
          section = 0; result = Unfit; break
       :: gate == Open && seen_top + 1 <= ceiling -> section = 3
       fi
     }
  :: atomic { section == 3 -> slot[seen_top] = set; section = 4 }
  :: atomic {
       section == 4 ->
       top = seen_top + 1;
       hands[OWNER] = hands[OWNER] - set;
       section = 0; result = Done; break
     }
  :: atomic { PREEMPTED }
  od;
  seen_top = 0
}

/* ThreadCache::PushShared of one buffer: fills a slot, then raises the top. */
inline PushShared(set) {
  do
  :: atomic {
       word_epoch = epoch; seen_tag = tag; seen_top = top;
       if
       :: top + 1 > limit -> result = Unfit; break
       :: else
       fi
     };
     slot[seen_top] = set;
     atomic {
       if
       :: SAME_WORD ->
          tag++;
          top++;
          hands[OWNER] = hands[OWNER] - set;
          unlooked = set;
          result = Done;
          break
       :: else
       fi
     }
  od;
  atomic { word_epoch = 0; seen_tag = 0; seen_top = 0 }
}

/* SlowPath::AfterQuietOperation: if the policy says so, which may be at any
 * time here, ThreadCache::Open. */
inline AfterQuietOperation() {
  if
  :: true
  :: epoch < EPOCHS ->
     atomic { seen_epoch = gate_epoch; fenced = (gate == Closed) };
#ifdef LIMIT_READ_FIRST
     count = limit;
#endif
     atomic { seen_tag = tag; seen_top = top };
     atomic {
       met = seen_tag == tag && seen_top == top;
       seen_tag = 0; seen_top = 0;
       if
       :: met -> epoch++; tag = 0
       :: else
       fi
     };
#ifndef LIMIT_READ_FIRST
     count = limit;
#endif
#ifndef NO_LOOK_AFTER_EPOCH
     atomic {
       if
       :: met && (PRESSED || refused) -> met = false; retreat = PRESSED
       :: else
       fi
     };
#endif
     atomic {                                 /* expects the gate that was read */
       if
       :: met &&
#ifndef GATE_OPENS_BLINDLY
          gate_epoch == seen_epoch && (gate == Closed) == fenced &&
#endif
          gate != Open ->
          gate = Open; gate_epoch = epoch; ceiling = count
       :: else
       fi;
       met = false; seen_epoch = 0; fenced = false; count = 0
     }
  fi
}

/* SlowPath::OnShared: an owner that finds the gate closing closes it for
 * good, and looks. */
inline OnShared() {
  if
  :: atomic {
       gate == Closing -> gate = Closed; gate_epoch = epoch; unlooked = CACHED
     };
     atomic {
       if
#ifndef NO_LOOK_AFTER_CLOSING
       :: PRESSED -> retreat = true
#endif
       :: else -> unlooked = 0
       fi
     }
  :: atomic { gate != Closing -> skip }
  fi
}

/* LockFreePool::TakeBiased, and if the gate was closed SlowPath::PopShared, of
 * one buffer. */
inline KeeperPop() {
  SectionPop(1);
  if
  :: result == Revoked -> OnShared()
  :: else
  fi;
  if
  :: atomic { result == Revoked && PRESSED -> result = Unfit }
  :: atomic { result == Revoked && !PRESSED -> skip };
     TakeFromCache(OWNER, 1, 0);                    /* PopShared */
     if
     :: result == Done -> AfterQuietOperation()
     :: else
     fi
  :: result == Done || result == Unfit
  fi;
  lot = 0
}

/* LockFreePool::GiveBiased, and if the gate was closed SlowPath::PushShared, of
 * one buffer. */
inline KeeperPush(set) {
  SectionPush(set);
  if
  :: result == Revoked -> OnShared()
  :: else
  fi;
  if
  :: atomic { result == Revoked && PRESSED -> result = Unfit }
  :: atomic { result == Revoked && !PRESSED -> skip };
     PushShared(set);
     if
     :: result == Done ->
#ifdef NO_LOOK_AFTER_PUSH
        unlooked = 0;
#else
        atomic {
          if
          :: PRESSED -> retreat = true
          :: else -> unlooked = 0
          fi
        };
#endif
        if
        :: !retreat -> AfterQuietOperation()
        :: else
        fi
     :: else
     fi
  :: result == Done || result == Unfit
  fi
}

/* LockFreePool::Take of one buffer, for a receive. What a refill brings more than
 * that is in `item` after. */
inline OwnerTakes() {
  KeeperPop();
  if
  :: result == Done
  :: else ->
     atomic {                                       /* TakeWithRefill */
       surplus = (PRESSED || available < 1 + RESERVE
                  -> 0 : MIN(MIN(BATCH - 1, CACHE - top),
                             available - 1 - RESERVE));
       ReserveFree(1 + surplus, OWNER_CLASS)
     };
     if
     :: met -> Collect(OWNER, 1 + surplus)
     :: else ->                                     /* TakeAfterDraining */
        Shortage(OWNER, 1, OWNER_CLASS);
        surplus = 0;
        if
        :: met -> Collect(OWNER, 1)
        :: else
        fi;
        shortages--                                 /* LowerShortage */
     fi;
     atomic {
       item = (surplus -> LOWEST(lot) : 0);
       lot = 0; surplus = 0; met = false
     }
  fi
}

/* Puts `item`: the end of SlowPath::Refill, where it goes back if the cache
 * does not take it; or LockFreePool::Give, which may flush first (MakeRoom). */
inline OwnerPuts(may_flush) {
  do
  :: item == 0 -> break
  :: item != 0 ->
     KeeperPush(item);
     if
     :: result == Done -> item = 0
     :: result != Done ->
        if
        :: atomic { may_flush && !PRESSED && top != 0 ->
             may_flush = false;
             surplus = MIN(top, BATCH)
           };                                       /* FlushThenPush */
           SectionPop(surplus);                     /* ThreadCache::PopUpTo */
           if
           :: result == Revoked -> TakeFromCache(OWNER, surplus, 0)
           :: else
           fi;
           surplus = 0
        :: atomic { !(may_flush && !PRESSED && top != 0) ->
             lot = item;
             item = 0
           }
        fi;
        Publish(OWNER)
     fi
  od
}

proctype Owner() {
  LOCALS;
  byte operations = 0;
  byte item = 0;        /* to be put into the cache */
  byte surplus = 0;     /* of a refill or flush: how many */
  bool may_flush = false;
  bool retreat = false; /* pressure came during the operation */
  do
  :: operations < OPERATIONS ->
     operations++;
     if
     :: true -> OwnerTakes()
     :: hands[OWNER] != 0 ->
        atomic { item = LOWEST(hands[OWNER]); may_flush = true }
     fi;
     OwnerPuts(may_flush);
     if
     :: retreat -> Sweep(OWNER, 0, OWNER_CLASS)     /* SlowPath::Retreat */
     :: else
     fi;
     atomic {
       unlooked = 0; retreat = false; may_flush = false; result = Unfit
     }
  :: true -> break
  od
}

/* ---- Sessions ----------------------------------------------------------- */

/* SessionAllocator::TakeOrWait, on a thread that has no cache. */
inline TakeOrWait(me, class) {
  ReserveFree(NEED(class), class);                  /* TakeCheaply */
  if
  :: met -> Collect(me, NEED(class))
  :: else ->
     /* WaiterQueue::TakeOrJoin: behind others, without a shortage, if any wait
      * still. */
     joined = MUST_WAIT(class);
     if
     :: joined ->
        atomic {                                    /* Ledger::TryJoinWait */
#ifndef JOIN_WHERE_NOBODY_WAITS
          joined = waiting != 0;
#endif
          waiting = waiting + joined
        }
     :: else
     fi;
     if
     :: joined
     :: else ->
        Shortage(me, NEED(class), class);
        if
        :: met -> Collect(me, NEED(class)); shortages--
        :: else -> atomic { shortages--; waiting++ } /* TryBecomeWait */
        fi
     fi;
     if
     :: met
     :: else ->                                     /* WaiterQueue::Link */
        joined = false;
        state[me] = Waiting;                        /* WaiterList::Append */
#ifndef NO_SERVE_AFTER_SUBSCRIBE
        Serve(me);
#endif
        asleep[me] = state[me] == Waiting;
end_asleep:
        atomic {                                    /* Redeem */
          state[me] == Granted ->
          hands[me] = hands[me] + granted[me];
          granted[me] = 0;
          state[me] = Idle
        }
     fi
  fi;
  atomic { met = false; lot = 0 }
}

proctype Session(byte me; byte class) {
  LOCALS;
  bool joined = false;
  byte rounds = 0;
  do
  :: rounds < ROUNDS ->
     rounds++;
     TakeOrWait(me, class);
     Check(SIZE(hands[me]) == NEED(class), ASessionGetsAllItNeeds);
     if
     :: true -> break                               /* keeps them forever */
     :: true -> lot = hands[me]; Publish(me)
     fi
  :: true -> break
  od
}

/* LockFreePool::Adapt, by a thread that finds this cache idle. */
proctype Reclaimer() {
  LOCALS;
#ifndef LIMIT_ZEROED_LAST
  limit = 0;
#endif
  Sweep(2, 0, RECEIVE);
#ifdef LIMIT_ZEROED_LAST
  limit = 0;
#endif
  given = true
}

/* ---- The judge ---------------------------------------------------------- */

/* Moves only if something is wrong, and says what. */
proctype Watch() {
end:
  if
  :: atomic { !EachInOnePlace -> assert(EveryBufferIsInOnePlace) }
  :: atomic { !Counted -> assert(ThePoolHoldsWhatIsCounted) }
  :: atomic { !NobodyLeft -> assert(NobodySleepsBesideABuffer) }
  :: atomic { !LimitHeld -> assert(NoGateOpensWithATakenLimit) }
  fi
}

init {
  atomic {
    run Watch();
    run Owner();
    run Session(1, FIRST);
    if
    :: SECOND == RECLAIM -> run Reclaimer()
    :: SECOND != NOTHING && SECOND != RECLAIM -> run Session(2, SECOND)
    :: else
    fi
  }
}
