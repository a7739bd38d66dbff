// Waits, cancels and deadlines from several threads, through the C header: each
// wait ends in one way, nothing leaks, and no buffer has two owners.

#include <sched.h>

#include "tandem/c/tandem.h"
#include "tandem/tests/c/check.h"

enum { kWorkers = 4, kCancellers = 2, kCapacity = 4 };

struct worker {
  struct service* service;
  tandem_session session;
  uint64_t seed;
  char mark;
  int rounds;
  int granted;
  int cancelled;
};

static struct worker workers[kWorkers];
static int working;
// Waits that ended in each way: workers continue until there were some of both.
static int all_granted, all_cancelled;

static bool seen(const int* count) {
  return __atomic_load_n(count, __ATOMIC_SEQ_CST) >= 20;
}
static void count(int* mine, int* all) {
  ++*mine;
  __atomic_fetch_add(all, 1, __ATOMIC_SEQ_CST);
}

static void after(struct timespec* deadline, long nanos) {
  clock_gettime(CLOCK_MONOTONIC, deadline);
  deadline->tv_nsec += nanos;
  if (deadline->tv_nsec >= 1000000000) {
    deadline->tv_sec += 1;
    deadline->tv_nsec -= 1000000000;
  }
}

// Sleeps until the wait is over, sometimes only for a short time.
static bool wait_for(struct worker* w) {
  struct timespec deadline;
  const bool hurried = random_below(&w->seed, 4) == 0;
  if (hurried) after(&deadline, random_below(&w->seed, 200000));
  switch (session_block(&w->session, hurried ? &deadline : NULL)) {
    case TANDEM_WAIT_GRANTED:
      count(&w->granted, &all_granted);
      return true;
    case TANDEM_WAIT_CANCELLED:
      count(&w->cancelled, &all_cancelled);
      return false;
    default:
      CHECK(false);
      return false;
  }
}

// A connection's life: receives, holds the data, asks for the other side,
// processes, returns both.
static void* work(void* argument) {
  struct worker* const w = argument;
  const tandem_waker waker = tandem_blocking_waker();
  tandem_session* const s = &w->session;
  for (int i = 0; i < w->rounds || !seen(&all_granted) || !seen(&all_cancelled);
       ++i) {
    const tandem_side side = (tandem_side)random_below(&w->seed, 2);
    tandem_allocation got = session_alloc_recv_buffer(s, side, &waker);
    if (got == TANDEM_WAITING && !wait_for(w)) continue;
    CHECK(got == TANDEM_GRANTED || got == TANDEM_WAITING);
    put(s, side, w->mark, 64);
    // Other threads come in between, even on a single core.
    if (i % 8 == 0) sched_yield();
    got = session_alloc_buffers(s, &waker);
    // A complete that is cancelled keeps its data, and asks once more.
    while (got == TANDEM_WAITING && !wait_for(w)) {
      CHECK(session_size(s, side) == 64);
      got = session_alloc_buffers(s, &waker);
    }
    const tandem_side other = (tandem_side)(1 - side);
    put(s, other, w->mark, 32);
    get(s, other, w->mark, 32);
    get(s, side, w->mark, 64);
    session_release_buffers(s);
    CHECK(!has_buffer(s, side) && !has_buffer(s, other));
  }
  __atomic_fetch_sub(&working, 1, __ATOMIC_SEQ_CST);
  return NULL;
}

static void* cancel(void* argument) {
  uint64_t seed = *(uint64_t*)argument;
  intptr_t won = 0;
  while (__atomic_load_n(&working, __ATOMIC_SEQ_CST) != 0) {
    won += session_cancel_wait(&workers[random_below(&seed, kWorkers)].session);
    for (uint32_t pause = random_below(&seed, 1000); pause != 0; --pause) {
      __asm__ volatile("");
    }
  }
  return (void*)won;
}

static void waits_end_in_one_way(void) {
  struct service service = service_create(kCapacity, 2, NULL);
  uint64_t seed = test_seed();
  working = kWorkers;
  pthread_t threads[kWorkers + kCancellers];
  for (int i = 0; i < kWorkers; ++i) {
    workers[i] = (struct worker){.service = &service,
                                 .seed = seed * (uint64_t)(2 * i + 3),
                                 .mark = (char)('A' + i),
                                 .rounds = ROUNDS(20000)};
    tandem_session_init(&workers[i].session, service.allocator);
  }
  uint64_t seeds[kCancellers];
  for (int i = 0; i < kWorkers; ++i) {
    CHECK(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
  }
  for (int i = 0; i < kCancellers; ++i) {
    seeds[i] = seed * (uint64_t)(2 * i + 101);
    CHECK(pthread_create(&threads[kWorkers + i], NULL, cancel, &seeds[i]) == 0);
  }
  intptr_t won = 0;
  for (int i = 0; i < kWorkers + kCancellers; ++i) {
    void* result;
    CHECK(pthread_join(threads[i], &result) == 0);
    won += (intptr_t)result;
  }
  int granted = 0, cancelled = 0;
  for (int i = 0; i < kWorkers; ++i) {
    tandem_session_destroy(&workers[i].session);
    granted += workers[i].granted;
    cancelled += workers[i].cancelled;
  }
  // Deadlines cancel the rest.
  CHECK(cancelled >= won);
  tandem_allocator_snapshot waits = {.size = sizeof(waits)};
  CHECK(tandem_allocator_waits(service.allocator, &waits) == 0);
  uint64_t cancels = 0;
  for (uint64_t i = 0; i < waits.class_count; ++i) {
    CHECK(waits.classes[i].waits ==
          waits.classes[i].grants + waits.classes[i].cancels);
    cancels += waits.classes[i].cancels;
  }
  CHECK(cancels == (uint64_t)cancelled);
  printf("granted %d, cancelled %d, by others %d\n", granted, cancelled,
         (int)won);
  service_destroy(&service);
}

// S4, by way of event loops: any releasing thread serves a loop's sessions, and
// they continue on their own loop.
enum { kLoops = 3, kSessions = 12, kTurns = 400 };

struct loop;
struct connection {
  struct loop* loop;
  tandem_session buffers;
  tandem_node node;
  int turns;
};
struct loop {
  tandem_notifier* notifier;
  pthread_t thread;
  struct connection connections[kSessions];
  int living;
};

static void turn(void* argument) {
  struct connection* const c = argument;
  CHECK(pthread_equal(c->loop->thread, pthread_self()));
  for (;;) {
    const tandem_waker waker =
        tandem_notifier_waker(c->loop->notifier, &c->node);
    const tandem_allocation got = session_alloc_buffers(&c->buffers, &waker);
    if (got == TANDEM_WAITING) return;
    CHECK(got == TANDEM_GRANTED);
    put(&c->buffers, TANDEM_REQUEST, 'q', 16);
    get(&c->buffers, TANDEM_REQUEST, 'q', 16);
    session_release_buffers(&c->buffers);
    if (++c->turns == ROUNDS(kTurns)) {
      --c->loop->living;
      return;
    }
    if (c->turns % 3 == 0) {
      // It is the others' turn.
      tandem_notifier_post(c->loop->notifier, &c->node);
      return;
    }
  }
}

static void* run_loop(void* argument) {
  struct loop* const loop = argument;
  loop->thread = pthread_self();
  for (int i = 0; i < kSessions; ++i) turn(&loop->connections[i]);
  while (loop->living != 0) {
    // A server would call poll(2) here.
    if (tandem_notifier_dispatch(loop->notifier) == 0) sched_yield();
  }
  return NULL;
}

static void loops_serve_each_other(void) {
  struct service service = service_create(5, 2, NULL);
  static struct loop loops[kLoops];
  pthread_t threads[kLoops];
  for (int i = 0; i < kLoops; ++i) {
    CHECK(tandem_notifier_create(&loops[i].notifier, NULL, 0) == 0);
    loops[i].living = kSessions;
    for (int j = 0; j < kSessions; ++j) {
      struct connection* const c = &loops[i].connections[j];
      c->loop = &loops[i];
      tandem_session_init(&c->buffers, service.allocator);
      tandem_node_init(&c->node, turn, c);
    }
  }
  for (int i = 0; i < kLoops; ++i) {
    CHECK(pthread_create(&threads[i], NULL, run_loop, &loops[i]) == 0);
  }
  for (int i = 0; i < kLoops; ++i) {
    CHECK(pthread_join(threads[i], NULL) == 0);
    for (int j = 0; j < kSessions; ++j) {
      tandem_session_destroy(&loops[i].connections[j].buffers);
    }
  }
  for (int i = 0; i < kLoops; ++i) tandem_notifier_destroy(loops[i].notifier);
  service_destroy(&service);
}

int main(void) {
  RUN(waits_end_in_one_way);
  RUN(loops_serve_each_other);
  return 0;
}
