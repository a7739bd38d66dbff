/* The depot: a stack of magazines, empty magazines, loose buffers.
 *
 * Mirrors pool/depot/magazine_stack.h and depot.h, with the ledger's rule of
 * central_pool.h; each part names its function.  One step here is one atomic
 * operation there, and each slot is read or filled by a step of its own.
 *
 *   Thread    reserves one to three buffers, collects them, and gives them back
 *             in lots of any size, in a magazine or loose, up to ROUNDS times.
 *             It may stop forever anywhere, as every state is checked.
 *
 * A magazine holds two buffers.  A position is a slot of a magazine: the stack's
 * head names the top one, `below` of a magazine the next one under its first.
 * A buffer is one bit; a set of buffers is the sum of its bits.
 *
 * Checked:
 *   P1, P5  a buffer that is taken was in the pool: no other thread has it
 *   P5      a magazine is on the stack, empty, or in one thread's hands
 *   P1, P3  the depot holds what is credited or reserved: a reservation finds
 *           its buffers
 *   P4      no thread has more in its hands than it asked for
 *
 * Faults to put in, each of which must be found: COPY_AFTER_SWAP (what a pop
 * without its release half allows), NO_TAG, NO_TAG_ON_EMPTIES,
 * PARTIAL_POP_HOLDS, EMPTY_TOO_EARLY, TIDIES, CREDIT_BEFORE_PUSH.
 */
#ifndef BUFFERS
#define BUFFERS 3   /* at most 4 */
#endif
#ifndef MAGAZINES
#define MAGAZINES 3 /* at least 2 */
#endif
#ifndef THREADS
#define THREADS 2
#endif
#ifndef ROUNDS
#define ROUNDS 2    /* allocations of each thread */
#endif

#define NIL 255
#define ALL ((1 << BUFFERS) - 1)
#define MAG(p) ((p) >> 1)
#define TOP(m, n) (2 * (m) + (n) - 1)
#define BITS(s) (((s) & 1) + ((s) >> 1 & 1) + ((s) >> 2 & 1) + ((s) >> 3 & 1))
/* The position under p. */
#define UNDER(p) (((p) & 1) == 0 -> below[MAG(p)] : (p) - 1)
/* The lowest bit of s, and the number of it. */
#define LOWEST(s) ((s) & -(s))
#define NUMBER(b) ((b) == 1 -> 0 : ((b) == 2 -> 1 : ((b) == 4 -> 2 : 3)))

bool EveryBufferIsInOnePlace, EveryMagazineHasOneOwner,
     ThePoolHoldsWhatIsCounted, NoMoreInHandsThanAskedFor;
inline Require(truth, name) {
  if
  :: truth
  :: else -> assert(name)
  fi
}

byte slots[2 * MAGAZINES]
byte below[MAGAZINES]
byte head, tag          /* of the stack of magazines */
byte empties, empty_tag /* of the stack of empty ones */
byte loose              /* a set */
byte available, reserved

/* What is true, which no thread reads: the buffers on the stack, and where each
 * magazine is. */
byte stacked
#define ON_STACK 0
#define EMPTY 1
#define HELD 2
byte place[MAGAZINES]

#define COUNTED (BITS(stacked | loose) >= available + reserved)

init {
  byte i;
  atomic {
    do
    :: i == BUFFERS -> break
    :: else -> slots[i] = i; i++
    od;
    stacked = ALL;
    available = BUFFERS;
    head = BUFFERS - 1;
    below[0] = NIL;
    below[1] = 1;
    i = MAG(BUFFERS - 1) + 1;
    empties = (i < MAGAZINES -> TOP(i, 1) : NIL);
    do
    :: i == MAGAZINES -> break
    :: else ->
       place[i] = EMPTY;
       below[i] = (i + 1 < MAGAZINES -> TOP(i + 1, 1) : NIL);
       i++
    od;
    i = 0
  }
  atomic {
    do
    :: i == THREADS -> break
    :: else -> run Thread(); i++
    od
  }
}

/* MagazineStack::Push: the chain from first to last, of the caller's own. */
inline PushEmpties(first, last) {
  do
  :: atomic { seen = empties; seen_tag = empty_tag };
     below[last] = seen;
     atomic {
       if
       :: empties == seen && empty_tag == seen_tag ->
          empties = TOP(first, 1);
#ifndef NO_TAG_ON_EMPTIES
          empty_tag++;
#endif
          m = first;
          do
          :: place[m] = EMPTY;
             if
             :: m == last -> break
             :: else -> m = MAG(below[m])
             fi
          od;
          break
       :: else
       fi
     }
  od;
  atomic { seen = 0; seen_tag = 0; m = 0 }
}

/* MagazineStack::PopMagazine: m, or NIL. */
inline PopEmpty() {
  do
  :: atomic { seen = empties; seen_tag = empty_tag };
     if
     :: seen == NIL -> m = NIL; break
     :: else ->
        next = below[MAG(seen)];
        atomic {
          if
          :: empties == seen && empty_tag == seen_tag ->
             empties = next;
#ifndef NO_TAG_ON_EMPTIES
             empty_tag++;
#endif
             m = MAG(seen);
             Require(place[m] == EMPTY, EveryMagazineHasOneOwner);
             place[m] = HELD;
             break
          :: else
          fi
        }
     fi
  od;
  atomic { seen = 0; seen_tag = 0; next = 0 }
}

/* MagazineStack::PopBuffers: copies up to `left` slots from the top, then
 * lowers the head.  The taken go into `hands`. */
inline PopBuffers() {
  do
  :: atomic { seen = head; seen_tag = tag };
     if
     :: seen == NIL -> count = 0; break
     :: else ->
        atomic { next = seen; count = 0; copied = 0 };
        do
        :: count < left && next != NIL ->
           atomic {
#ifndef COPY_AFTER_SWAP
             copied = copied | 1 << slots[next];
#endif
             count++
           };
           next = UNDER(next)
        :: else -> break
        od;
#ifdef PARTIAL_POP_HOLDS
        /* The whole magazine, to put the rest back later. */
        if
        :: next != NIL && (next & 1) == 0 && MAG(next) == MAG(seen) ->
           atomic {
             copied = copied | 1 << slots[next];
             count++;
             next = UNDER(next)
           }
        :: else
        fi;
#endif
        atomic {
          if
          :: head == seen && tag == seen_tag ->
             head = next;
#ifndef NO_TAG
             tag++;
#endif
#ifndef COPY_AFTER_SWAP
             Require((copied & ~stacked) == 0 && BITS(copied) == count,
                     EveryBufferIsInOnePlace);
             stacked = stacked & ~copied;
#endif
             reserved = reserved - (count < left -> count : left);
             /* The magazines above the new head are empty, and this thread's:
              * a chain. */
             m = MAG(seen);
             start = seen;
             last = NIL;
             do
             :: seen == NIL || (next != NIL && MAG(seen) == MAG(next)) ->
                break
             :: else ->
                last = MAG(seen);
                Require(place[last] == ON_STACK, EveryMagazineHasOneOwner);
                place[last] = HELD;
                seen = below[last]
             od;
             break
          :: else
          fi
        }
     fi
  od;
  if
  :: count != 0 ->
#ifdef COPY_AFTER_SWAP
     atomic { seen = start; k = count };
     do
     :: k == 0 -> break
     :: else ->
        atomic {
          Require((stacked & 1 << slots[seen]) != 0, EveryBufferIsInOnePlace);
          copied = copied | 1 << slots[seen];
          stacked = stacked & ~(1 << slots[seen]);
          k--
        };
        seen = UNDER(seen)
     od;
#endif
     atomic {
       hands = hands | copied;
       left = (count < left -> left - count : 0);
       Require(BITS(hands) <= asked, NoMoreInHandsThanAskedFor)
     };
#ifdef EMPTY_TOO_EARLY
     if
     :: last == NIL -> place[m] = HELD; last = m
     :: else
     fi;
#endif
     if
     :: last != NIL -> first = m; PushEmpties(first, last)
     :: else
     fi
  :: else
  fi;
  atomic {
    seen = 0; seen_tag = 0; start = 0; next = 0; count = 0; copied = 0; m = 0;
    first = 0; last = 0
  }
}

/* Depot::Push of `lot`, in a magazine if there is an empty one. */
inline PushInMagazine() {
  PopEmpty();
  if
  :: m == NIL -> PushLoose()
  :: else ->
     atomic { k = lot; count = 0 };
     do
     :: k == 0 -> break
     :: else ->
        atomic {
          slots[TOP(m, count + 1)] = NUMBER(LOWEST(k));
          k = k & ~LOWEST(k);
          count++
        }
     od;
     do
     :: atomic { seen = head; seen_tag = tag };
        below[m] = seen;
        atomic {
          if
          :: head == seen && tag == seen_tag ->
             head = TOP(m, count);
#ifndef NO_TAG
             tag++;
#endif
             stacked = stacked | lot;
             hands = hands & ~lot;
             place[m] = ON_STACK;
             break
          :: else
          fi
        }
     od
  fi;
  atomic { seen = 0; seen_tag = 0; count = 0; m = 0 }
}
inline PushLoose() {
  atomic { loose = loose | lot; hands = hands & ~lot }
}

proctype Thread() {
  byte rounds, asked, left, hands, lot, first, last, m, k;
  byte seen, seen_tag, start, next, count, copied;
  do
  :: rounds == ROUNDS -> break
  :: else ->
     rounds++;
     if
     :: asked = 1
     :: asked = 2
     :: asked = 3
     fi;
     /* CentralPool::ReserveFree */
     atomic {
       if
       :: available >= asked ->
          available = available - asked;
          reserved = reserved + asked;
          left = asked
       :: else -> left = 0
       fi
     };
     /* Depot::Collect */
     do
     :: left == 0 -> break
     :: else ->
        PopBuffers();
        atomic {
          do
          :: left == 0 || loose == 0 -> break
          :: else ->
             hands = hands | LOWEST(loose);
             loose = loose & ~LOWEST(loose);
             reserved--;
             left--
          od
        }
     od;
#ifdef TIDIES
     if
     :: atomic { loose != 0 -> lot = LOWEST(loose); loose = loose & ~lot };
        Require(COUNTED, ThePoolHoldsWhatIsCounted);
        asked++;
        hands = hands | lot;
        PushInMagazine()
     :: true
     fi;
#endif
     /* CentralPool::Publish */
     do
     :: hands == 0 -> break
     :: else ->
        atomic { lot = LOWEST(hands) };
        if
        :: true
        :: hands != lot -> lot = lot | LOWEST(hands & ~lot)
        fi;
#ifdef CREDIT_BEFORE_PUSH
        atomic {
          available = available + BITS(lot);
          Require(COUNTED, ThePoolHoldsWhatIsCounted)
        };
#endif
        if
        :: PushLoose()
        :: PushInMagazine()
        fi;
#ifndef CREDIT_BEFORE_PUSH
        atomic {
          available = available + BITS(lot);
          Require(COUNTED, ThePoolHoldsWhatIsCounted)
        };
#endif
        lot = 0
     od
  od
}
