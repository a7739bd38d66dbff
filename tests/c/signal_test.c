// P10 through the C header: handlers do the same as the code that they
// interrupt, with sessions of their own.

#include <signal.h>
#include <sys/time.h>

#include "tandem/c/tandem.h"
#include "tandem/tests/c/check.h"

// One of the two parties on the thread. It does all operations in turn.
struct party {
  tandem_session first;
  tandem_session second;
  char mark;
  int steps;
  int wakes;
  int waits;
  int cancels;
  bool waiting[2];
};

static void ended(struct party* p, tandem_session* session) {
  p->waiting[session == &p->second] = false;
  for (int side = 0; side < 2; ++side) {
    char* const buffer = session_buffer(session, (tandem_side)side);
    if (buffer != NULL) *buffer = p->mark;
  }
}

static void note(struct party* p, tandem_session* session,
                 tandem_allocation got) {
  if (got != TANDEM_WAITING) {
    ended(p, session);
    return;
  }
  bool* const waiting = &p->waiting[session == &p->second];
  p->waits += *waiting ? 0 : 1;
  *waiting = true;
}

static void finish(struct party* p, tandem_session* session) {
  if (session_finish_wait(session) != TANDEM_WAIT_WAITING) ended(p, session);
}

static void release(struct party* p, tandem_session* session) {
  for (int side = 0; side < 2; ++side) {
    const char* const buffer = session_buffer(session, (tandem_side)side);
    CHECK(buffer == NULL || *buffer == p->mark);
  }
  session_release_buffers(session);
}

static void step(struct party* p) {
  const tandem_waker waker = counting(&p->wakes);
  const int step = __atomic_fetch_add(&p->steps, 1, __ATOMIC_SEQ_CST);
  switch (step % 7) {
    case 0:
      note(p, &p->first,
           session_alloc_recv_buffer(&p->first, TANDEM_REQUEST, NULL));
      break;
    case 1:
      note(p, &p->second, session_alloc_buffers(&p->second, &waker));
      break;
    case 2:
      note(p, &p->first, session_alloc_buffers(&p->first, NULL));
      break;
    case 3:
      note(p, &p->first,
           session_alloc_recv_buffer(&p->first, TANDEM_RESPONSE, &waker));
      break;
    case 4:
      if (step % 2 == 0) p->cancels += session_cancel_wait(&p->second);
      finish(p, &p->second);
      break;
    case 5:
      if (step % 3 == 0) p->cancels += session_cancel_wait(&p->first);
      finish(p, &p->first);
      break;
    case 6:
      release(p, &p->second);
      release(p, &p->first);
      break;
  }
}

static void begin(struct party* p, struct service* service, char mark) {
  *p = (struct party){.mark = mark};
  tandem_session_init(&p->first, service->allocator);
  tandem_session_init(&p->second, service->allocator);
}

static void end(struct party* p) {
  tandem_session* const sessions[] = {&p->first, &p->second};
  for (int i = 0; i < 2; ++i) {
    p->cancels += session_cancel_wait(sessions[i]);
    finish(p, sessions[i]);
    release(p, sessions[i]);
    tandem_session_destroy(sessions[i]);
  }
  CHECK(p->waits == p->wakes + p->cancels);
}

static struct party in_main, in_handler;

static void handle(int signal) {
  (void)signal;
  for (int i = 0; i < 3; ++i) step(&in_handler);
}

static void handlers_may_do_what_they_interrupted(uint32_t capacity) {
  struct service service = service_create(capacity, 1, NULL);
  // From here on the thread's handlers may use the pool.
  CHECK(tandem_thread_attach(service.pool) == 0);
  begin(&in_main, &service, 'm');
  begin(&in_handler, &service, 'h');
  struct sigaction action = {.sa_handler = handle};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  const struct itimerval often = {{0, 50}, {0, 50}};
  CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
  const int enough = ROUNDS(6000);
  while (__atomic_load_n(&in_handler.steps, __ATOMIC_SEQ_CST) < enough) {
    for (int i = 0; i < 100; ++i) step(&in_main);
  }
  const struct itimerval never = {{0, 0}, {0, 0}};
  CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
  action.sa_handler = SIG_IGN;
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  const int waits = in_handler.waits;
  end(&in_main);
  end(&in_handler);
  CHECK(capacity > 4 || waits > 0);
  service_destroy(&service);
}

int main(void) {
  const uint32_t capacities[] = {2, 3, 4, 8, 32};
  for (size_t i = 0; i < sizeof(capacities) / sizeof(capacities[0]); ++i) {
    printf("handlers_may_do_what_they_interrupted(%u)\n", capacities[i]);
    handlers_may_do_what_they_interrupted(capacities[i]);
  }
  return 0;
}
