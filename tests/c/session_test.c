// The session layer through the C header, by rule (S1 to S8).

#include <errno.h>

#include "tandem/c/tandem.h"
#include "tandem/tests/c/check.h"

// The origin: sessions that each hold a request buffer and all need one for the
// response. A session that has both gives them back, so the next one continues.
static void sessions_that_hold_one_each_do_not_dead_lock(void) {
  enum { kSessions = 8 };
  struct service service = service_create(kSessions + 2, 2, NULL);
  tandem_session sessions[kSessions];
  int wakes[kSessions] = {0};
  for (int i = 0; i < kSessions; ++i) {
    tandem_session_init(&sessions[i], service.allocator);
    CHECK(session_alloc_recv_buffer(&sessions[i], TANDEM_REQUEST, NULL) ==
          TANDEM_GRANTED);
    put(&sessions[i], TANDEM_REQUEST, 'q', 100);
  }
  // The last two are for sessions that hold one: no receive gets them.
  tandem_session late;
  tandem_session_init(&late, service.allocator);
  CHECK(session_alloc_recv_buffer(&late, TANDEM_REQUEST, NULL) ==
        TANDEM_EXHAUSTED);
  int served = 0;
  bool waits[kSessions] = {false};
  for (int i = 0; i < kSessions; ++i) {
    const tandem_waker waker = counting(&wakes[i]);
    const tandem_allocation got = session_alloc_buffers(&sessions[i], &waker);
    CHECK(got == (i < 2 ? TANDEM_GRANTED : TANDEM_WAITING));
    waits[i] = got == TANDEM_WAITING;
  }
  while (served < kSessions) {
    const int before = served;
    for (int i = 0; i < kSessions; ++i) {
      if (waits[i] && wakes_of(&wakes[i]) == 1) {
        CHECK(session_finish_wait(&sessions[i]) == TANDEM_WAIT_GRANTED);
        waits[i] = false;
      }
      if (waits[i] || !has_buffer(&sessions[i], TANDEM_REQUEST)) continue;
      CHECK(has_buffer(&sessions[i], TANDEM_RESPONSE));
      get(&sessions[i], TANDEM_REQUEST, 'q', 100);
      session_release_buffers(&sessions[i]);
      ++served;
    }
    CHECK(served > before);
  }
  for (int i = 0; i < kSessions; ++i) tandem_session_destroy(&sessions[i]);
  tandem_session_destroy(&late);
  service_destroy(&service);
}

// S1
static void receive_leaves_the_reserve_and_pairs_take_it(void) {
  struct service service = service_create(4, 2, NULL);
  tandem_session a, b, c;
  tandem_session_init(&a, service.allocator);
  tandem_session_init(&b, service.allocator);
  tandem_session_init(&c, service.allocator);
  CHECK(session_alloc_recv_buffer(&a, TANDEM_REQUEST, NULL) == TANDEM_GRANTED);
  CHECK(session_alloc_recv_buffer(&a, TANDEM_REQUEST, NULL) == TANDEM_GRANTED);
  CHECK(session_alloc_recv_buffer(&b, TANDEM_RESPONSE, NULL) == TANDEM_GRANTED);
  CHECK(session_alloc_recv_buffer(&c, TANDEM_REQUEST, NULL) ==
        TANDEM_EXHAUSTED);
  CHECK(session_alloc_buffers(&c, NULL) == TANDEM_GRANTED);
  tandem_session_destroy(&a);
  tandem_session_destroy(&b);
  tandem_session_destroy(&c);
  service_destroy(&service);
}

// S2
static void pair_is_taken_whole_or_not_at_all(void) {
  struct service service = service_create(3, TANDEM_NONE, NULL);
  tandem_session a, b;
  tandem_session_init(&a, service.allocator);
  tandem_session_init(&b, service.allocator);
  CHECK(session_alloc_buffers(&a, NULL) == TANDEM_GRANTED);
  CHECK(session_alloc_buffers(&b, NULL) == TANDEM_EXHAUSTED);
  CHECK(!has_buffer(&b, TANDEM_REQUEST) && !has_buffer(&b, TANDEM_RESPONSE));
  // On failure, an empty buffer goes back and a buffer with data stays.
  CHECK(session_alloc_recv_buffer(&b, TANDEM_REQUEST, NULL) == TANDEM_GRANTED);
  CHECK(session_alloc_buffers(&b, NULL) == TANDEM_EXHAUSTED);
  CHECK(!has_buffer(&b, TANDEM_REQUEST));
  CHECK(session_alloc_recv_buffer(&b, TANDEM_REQUEST, NULL) == TANDEM_GRANTED);
  put(&b, TANDEM_REQUEST, 'x', 1);
  CHECK(session_alloc_buffers(&b, NULL) == TANDEM_EXHAUSTED);
  CHECK(has_buffer(&b, TANDEM_REQUEST));
  tandem_session_destroy(&a);
  tandem_session_destroy(&b);
  service_destroy(&service);
}

// S3
static void release_keeps_what_holds_data(void) {
  struct service service = service_create(2, TANDEM_NONE, NULL);
  tandem_session a;
  tandem_session_init(&a, service.allocator);
  CHECK(session_alloc_buffers(&a, NULL) == TANDEM_GRANTED);
  put(&a, TANDEM_RESPONSE, 'r', 7);
  session_release_buffers(&a);
  CHECK(!has_buffer(&a, TANDEM_REQUEST) && has_buffer(&a, TANDEM_RESPONSE));
  get(&a, TANDEM_RESPONSE, 'r', 7);
  session_release_buffers(&a);
  CHECK(!has_buffer(&a, TANDEM_RESPONSE));
  tandem_session_destroy(&a);
  service_destroy(&service);
}

static void side_is_a_ring_of_bytes(void) {
  struct service service = service_create(2, TANDEM_NONE, NULL);
  tandem_session a;
  struct iovec pieces[2];
  tandem_session_init(&a, service.allocator);
  CHECK(session_size(&a, TANDEM_REQUEST) == 0);
  CHECK(session_space(&a, TANDEM_REQUEST) == 0);
  CHECK(session_readable(&a, TANDEM_REQUEST, pieces) == 0);
  CHECK(session_writable(&a, TANDEM_REQUEST, pieces) == 0);
  CHECK(session_alloc_buffers(&a, NULL) == TANDEM_GRANTED);
  CHECK(session_space(&a, TANDEM_REQUEST) == 256);
  put(&a, TANDEM_REQUEST, 'a', 200);
  get(&a, TANDEM_REQUEST, 'a', 150);
  CHECK(session_size(&a, TANDEM_REQUEST) == 50);
  CHECK(session_space(&a, TANDEM_REQUEST) == 206);
  CHECK(session_writable(&a, TANDEM_REQUEST, pieces) == 2);
  CHECK(pieces[0].iov_len == 56 && pieces[1].iov_len == 150);
  CHECK(pieces[1].iov_base == session_buffer(&a, TANDEM_REQUEST));
  session_commit(&a, TANDEM_REQUEST, 206);
  CHECK(session_readable(&a, TANDEM_REQUEST, pieces) == 2);
  CHECK(pieces[0].iov_len == 106 && pieces[1].iov_len == 150);
  tandem_session_destroy(&a);
  service_destroy(&service);
}

static char order[8];
static void note_letter(void* context) {
  strncat(order, (const char*)context, 1);
}

// S4
static void waiters_are_served_in_order_with_their_buffers(void) {
  struct service service = service_create(2, TANDEM_NONE, NULL);
  void* buffers[2];
  CHECK(tandem_acquire_many(service.pool, buffers, 2));
  tandem_session a, b;
  tandem_session_init(&a, service.allocator);
  tandem_session_init(&b, service.allocator);
  const tandem_waker wake_a = {.wake = note_letter, .context = "a"};
  const tandem_waker wake_b = {.wake = note_letter, .context = "b"};
  order[0] = '\0';
  CHECK(session_alloc_buffers(&a, &wake_a) == TANDEM_WAITING);
  CHECK(session_alloc_buffers(&b, &wake_b) == TANDEM_WAITING);
  CHECK(tandem_waiting(service.allocator) == 2);
  CHECK(session_finish_wait(&a) == TANDEM_WAIT_WAITING);
  CHECK(tandem_acquire(service.pool) == NULL);
  tandem_release_many(service.pool, buffers, 2);
  CHECK(strcmp(order, "a") == 0);
  // No allocation overtakes a waiting session.
  CHECK(tandem_acquire(service.pool) == NULL);
  CHECK(session_finish_wait(&a) == TANDEM_WAIT_GRANTED);
  CHECK(session_finish_wait(&a) == TANDEM_WAIT_NONE);
  session_release_buffers(&a);
  CHECK(strcmp(order, "ab") == 0);
  // The next allocation also finishes the wait.
  CHECK(session_alloc_buffers(&b, NULL) == TANDEM_GRANTED);
  CHECK(has_buffer(&b, TANDEM_REQUEST) && has_buffer(&b, TANDEM_RESPONSE));
  tandem_session_destroy(&a);
  tandem_session_destroy(&b);
  service_destroy(&service);
}

// S5
static void cancelled_wait_is_over(void) {
  struct service service = service_create(2, TANDEM_NONE, NULL);
  void* buffers[2];
  CHECK(tandem_acquire_many(service.pool, buffers, 2));
  tandem_session a;
  int wakes = 0;
  tandem_waker waker = counting(&wakes);
  tandem_session_init(&a, service.allocator);
  CHECK(!session_cancel_wait(&a));
  CHECK(session_alloc_buffers(&a, &waker) == TANDEM_WAITING);
  CHECK(session_cancel_wait(&a));
  CHECK(session_finish_wait(&a) == TANDEM_WAIT_CANCELLED);
  CHECK(wakes == 0);
  waker.on_cancel = true;
  CHECK(session_alloc_buffers(&a, &waker) == TANDEM_WAITING);
  CHECK(session_cancel_wait(&a));
  CHECK(wakes == 1);
  CHECK(session_finish_wait(&a) == TANDEM_WAIT_CANCELLED);
  // Granted first: the cancel comes too late, and nothing is lost.
  CHECK(session_alloc_buffers(&a, &waker) == TANDEM_WAITING);
  tandem_release_many(service.pool, buffers, 2);
  CHECK(!session_cancel_wait(&a));
  CHECK(session_finish_wait(&a) == TANDEM_WAIT_GRANTED);
  tandem_session_destroy(&a);
  service_destroy(&service);
}

// S7
static void too_many_waiters_are_told_so(void) {
  const tandem_allocator_options options = {.size = sizeof(options),
                                            .max_waiters = 1};
  struct service service = service_create(2, TANDEM_NONE, &options);
  void* buffers[2];
  CHECK(tandem_acquire_many(service.pool, buffers, 2));
  tandem_session a, b;
  int wakes = 0;
  const tandem_waker waker = counting(&wakes);
  tandem_session_init(&a, service.allocator);
  tandem_session_init(&b, service.allocator);
  CHECK(session_alloc_buffers(&a, &waker) == TANDEM_WAITING);
  CHECK(session_alloc_buffers(&b, &waker) == TANDEM_OVERLOADED);
  CHECK(session_finish_wait(&b) == TANDEM_WAIT_NONE);
  tandem_session_destroy(&a);
  tandem_session_destroy(&b);
  tandem_release_many(service.pool, buffers, 2);
  service_destroy(&service);
}

// S7: a wait ends at its deadline.
static void thread_sleeps_until_its_deadline(void) {
  struct service service = service_create(2, TANDEM_NONE, NULL);
  void* buffers[2];
  CHECK(tandem_acquire_many(service.pool, buffers, 2));
  tandem_session a;
  const tandem_waker waker = tandem_blocking_waker();
  tandem_session_init(&a, service.allocator);
  CHECK(session_block(&a, NULL) == TANDEM_WAIT_NONE);
  CHECK(session_alloc_buffers(&a, &waker) == TANDEM_WAITING);
  struct timespec deadline;
  clock_gettime(CLOCK_MONOTONIC, &deadline);
  deadline.tv_nsec += 10 * 1000 * 1000;
  CHECK(session_block(&a, &deadline) == TANDEM_WAIT_CANCELLED);
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  CHECK((now.tv_sec - deadline.tv_sec) * 1000000000 + now.tv_nsec >=
        deadline.tv_nsec);
  // A deadline beyond every clock counts as none.
  CHECK(session_alloc_buffers(&a, &waker) == TANDEM_WAITING);
  tandem_release_many(service.pool, buffers, 2);
  deadline.tv_sec = INT64_MAX;
  CHECK(session_block(&a, &deadline) == TANDEM_WAIT_GRANTED);
  tandem_session_destroy(&a);
  service_destroy(&service);
}

// S8
static void declared_class_keeps_what_it_says(void) {
  const tandem_wait_class classes[] = {
      {.name = "urgent", .keep = 0, .rank = 10},
      {.name = "idle", .keep = 3, .rank = 210}};
  const tandem_allocator_options options = {
      .size = sizeof(options), .classes = classes, .class_count = 2};
  struct service service = service_create(4, 2, &options);
  const tandem_class urgent = tandem_find_class(service.allocator, "urgent");
  const tandem_class idle = tandem_find_class(service.allocator, "idle");
  CHECK(tandem_find_class(service.allocator, "complete") == 0);
  CHECK(urgent == 1);
  CHECK(idle == 4);
  CHECK(tandem_find_class(service.allocator, "none") == TANDEM_NO_CLASS);
  tandem_session sessions[5];
  for (int i = 0; i < 5; ++i) {
    tandem_session_init(&sessions[i], service.allocator);
  }
  CHECK(session_alloc_buffer_as(&sessions[0], idle, TANDEM_REQUEST, NULL) ==
        TANDEM_GRANTED);
  CHECK(session_alloc_buffer_as(&sessions[1], idle, TANDEM_REQUEST, NULL) ==
        TANDEM_EXHAUSTED);
  for (int i = 1; i < 4; ++i) {
    CHECK(session_alloc_buffer_as(&sessions[i], urgent, TANDEM_RESPONSE,
                                  NULL) == TANDEM_GRANTED);
  }
  int wakes = 0;
  const tandem_waker waker = counting(&wakes);
  CHECK(session_alloc_buffer_as(&sessions[4], urgent, TANDEM_REQUEST, &waker) ==
        TANDEM_WAITING);
  session_release_buffers(&sessions[1]);
  CHECK(wakes == 1);
  tandem_allocator_snapshot waits = {.size = sizeof(waits)};
  CHECK(tandem_allocator_waits(service.allocator, &waits) == 0);
  CHECK(waits.class_count == 5);
  CHECK(strcmp(waits.classes[urgent].name, "urgent") == 0);
  CHECK(waits.classes[urgent].waits == 1);
  CHECK(waits.classes[urgent].grants == 1);
  CHECK(waits.classes[urgent].waiting == 0);
  CHECK(waits.classes[idle].waits == 0);
  for (int i = 0; i < 5; ++i) tandem_session_destroy(&sessions[i]);
  service_destroy(&service);
}

static void go_on(void* context) { ++*(int*)context; }

static void event_loop_is_told_through_its_descriptor(void) {
  struct service service = service_create(2, TANDEM_NONE, NULL);
  tandem_notifier* notifier;
  CHECK(tandem_notifier_create(&notifier, NULL, 0) == 0);
  CHECK(tandem_notifier_fd(notifier) >= 0);
  int calls = 0;
  tandem_node node;
  tandem_node_init(&node, go_on, &calls);
  tandem_session a;
  tandem_session_init(&a, service.allocator);
  for (int round = 0; round < 3; ++round) {
    void* buffers[2];
    CHECK(tandem_acquire_many(service.pool, buffers, 2));
    const tandem_waker waker = tandem_notifier_waker(notifier, &node);
    CHECK(session_alloc_buffers(&a, &waker) == TANDEM_WAITING);
    CHECK(tandem_notifier_dispatch(notifier) == 0);
    tandem_release_many(service.pool, buffers, 2);
    CHECK(calls == round);
    CHECK(tandem_notifier_dispatch(notifier) == 1);
    CHECK(calls == round + 1);
    CHECK(session_finish_wait(&a) == TANDEM_WAIT_GRANTED);
    session_release_buffers(&a);
  }
  tandem_notifier_post(notifier, &node);
  CHECK(tandem_notifier_dispatch(notifier) == 1);
  CHECK(calls == 4);
  tandem_session_destroy(&a);
  tandem_notifier_destroy(notifier);
  tandem_notifier_destroy(NULL);
  service_destroy(&service);
}

// A C server has sessions from malloc(3), in structures of its own.
static void session_lies_wherever_eight_bytes_do(void) {
  struct service service = service_create(2, TANDEM_NONE, NULL);
  struct connection {
    uint64_t before;
    tandem_session buffers;
    uint64_t after;
  };
  for (size_t shift = 0; shift < 64; shift += 8) {
    char* const memory = malloc(sizeof(struct connection) + 64);
    CHECK(memory != NULL);
    struct connection* const c = (struct connection*)(memory + shift);
    c->before = c->after = 0x5A5A5A5A5A5A5A5A;
    tandem_session_init(&c->buffers, service.allocator);
    CHECK(session_alloc_buffers(&c->buffers, NULL) == TANDEM_GRANTED);
    CHECK(c->before == 0x5A5A5A5A5A5A5A5A && c->after == c->before);
    tandem_session_destroy(&c->buffers);
    free(memory);
  }
  service_destroy(&service);
}

// E5
static void buffer_moves_with_its_bytes(void) {
  struct service service = service_create(4, TANDEM_NONE, NULL);
  tandem_session a, b;
  tandem_session_init(&a, service.allocator);
  tandem_session_init(&b, service.allocator);
  CHECK(session_detach(&a, TANDEM_REQUEST).buffer == NULL);
  CHECK(session_alloc_buffers(&a, NULL) == TANDEM_GRANTED);
  put(&a, TANDEM_REQUEST, 'm', 99);
  const tandem_detached moved = session_detach(&a, TANDEM_REQUEST);
  CHECK(moved.buffer != NULL && moved.head == 0 && moved.size == 99);
  CHECK(!has_buffer(&a, TANDEM_REQUEST));
  session_adopt(&b, TANDEM_RESPONSE, moved);
  CHECK(session_buffer(&b, TANDEM_RESPONSE) == moved.buffer);
  get(&b, TANDEM_RESPONSE, 'm', 9);
  session_swap(&a, TANDEM_RESPONSE, &b, TANDEM_RESPONSE);
  CHECK(session_size(&b, TANDEM_RESPONSE) == 0);
  session_swap(&a, TANDEM_REQUEST, &a, TANDEM_RESPONSE);
  CHECK(session_buffer(&a, TANDEM_REQUEST) == moved.buffer);
  CHECK(!has_buffer(&a, TANDEM_RESPONSE));
  get(&a, TANDEM_REQUEST, 'm', 90);
  // A buffer of the pool itself can be adopted too, and a detached one may go
  // back to the pool.
  session_adopt(&a, TANDEM_RESPONSE,
                (tandem_detached){.buffer = tandem_acquire(service.pool)});
  tandem_release(service.pool, session_detach(&b, TANDEM_RESPONSE).buffer);
  tandem_session_destroy(&a);
  tandem_session_destroy(&b);
  service_destroy(&service);
}

// E5: a server with rings of its own says which buffers are empty.
static void server_decides_what_is_empty(void) {
  struct service service = service_create(2, TANDEM_NONE, NULL);
  tandem_session a;
  struct iovec pieces[2];
  tandem_session_init(&a, service.allocator);
  CHECK(session_alloc_buffers(&a, NULL) == TANDEM_GRANTED);
  session_set_content(&a, TANDEM_REQUEST, 250, 10);
  session_release_buffers(&a);
  CHECK(has_buffer(&a, TANDEM_REQUEST) && !has_buffer(&a, TANDEM_RESPONSE));
  CHECK(session_readable(&a, TANDEM_REQUEST, pieces) == 2);
  CHECK(pieces[0].iov_len == 6 && pieces[1].iov_len == 4);
  session_set_content(&a, TANDEM_REQUEST, 0, 0);
  session_release_buffers(&a);
  CHECK(!has_buffer(&a, TANDEM_REQUEST));
  tandem_session_destroy(&a);
  service_destroy(&service);
}

// S8: for a server that keeps its buffers elsewhere.
static void buffer_may_be_had_in_a_class_without_a_session(void) {
  struct service service = service_create(4, 2, NULL);
  const tandem_class receive = tandem_find_class(service.allocator, "receive");
  const tandem_class complete =
      tandem_find_class(service.allocator, "complete");
  void* buffers[4];
  buffers[0] = tandem_acquire_as(service.allocator, receive);
  buffers[1] = tandem_acquire_as(service.allocator, receive);
  CHECK(buffers[0] != NULL && buffers[1] != NULL);
  CHECK(tandem_acquire_as(service.allocator, receive) == NULL);
  buffers[2] = tandem_acquire_as(service.allocator, complete);
  buffers[3] = tandem_acquire_as(service.allocator, complete);
  CHECK(buffers[2] != NULL && buffers[3] != NULL);
  // And waits in it: a caller that holds a buffer elsewhere is served before
  // one that holds none.
  tandem_session a, b;
  int wakes_a = 0, wakes_b = 0;
  const tandem_waker wake_a = counting(&wakes_a), wake_b = counting(&wakes_b);
  tandem_session_init(&a, service.allocator);
  tandem_session_init(&b, service.allocator);
  CHECK(session_alloc_buffer_as(&a, receive, TANDEM_REQUEST, &wake_a) ==
        TANDEM_WAITING);
  CHECK(session_alloc_buffer_as(&b, complete, TANDEM_REQUEST, &wake_b) ==
        TANDEM_WAITING);
  tandem_release(service.pool, buffers[0]);
  CHECK(wakes_a == 0 && wakes_b == 1);
  CHECK(session_finish_wait(&b) == TANDEM_WAIT_GRANTED);
  tandem_session_destroy(&b);
  CHECK(wakes_a == 0);
  tandem_release_many(service.pool, buffers + 1, 3);
  CHECK(wakes_a == 1);
  tandem_session_destroy(&a);
  service_destroy(&service);
}

// Fills the spares behind what they hold, and empties them from the start.
static void put_spares(tandem_spares* spares, const char* bytes, size_t n) {
  struct iovec room[TANDEM_MAX_SPARES];
  const int count = tandem_spares_writable(spares, room);
  size_t done = 0;
  for (int i = 0; i < count && done < n; ++i) {
    const size_t left = n - done;
    const size_t part = room[i].iov_len < left ? room[i].iov_len : left;
    memcpy(room[i].iov_base, bytes + done, part);
    done += part;
  }
  CHECK(done == n);
  tandem_spares_commit(spares, n);
}
static void get_spares(tandem_spares* spares, const char* bytes, size_t n) {
  struct iovec data[TANDEM_MAX_SPARES];
  const int count = tandem_spares_readable(spares, data);
  size_t done = 0;
  for (int i = 0; i < count && done < n; ++i) {
    const size_t left = n - done;
    const size_t part = data[i].iov_len < left ? data[i].iov_len : left;
    CHECK(memcmp(data[i].iov_base, bytes + done, part) == 0);
    done += part;
  }
  CHECK(done == n);
  tandem_spares_consume(spares, n);
}

static void spares_are_one_row_of_bytes(void) {
  struct service service = service_create(64, 2, NULL);
  char bytes[3 * 256];
  for (size_t i = 0; i < sizeof(bytes); ++i)
    bytes[i] = (char)(i * 31 + i / 256);
  tandem_spares spares;
  tandem_spares_init(&spares, service.allocator);
  CHECK(tandem_spares_count(&spares) == 0 && tandem_spares_size(&spares) == 0);
  struct iovec parts[TANDEM_MAX_SPARES];
  CHECK(tandem_spares_writable(&spares, parts) == 0);
  CHECK(tandem_spares_take(&spares, TANDEM_MAX_SPARES));
  CHECK(tandem_spares_count(&spares) == 3);
  CHECK(tandem_spares_writable(&spares, parts) == 3);
  put_spares(&spares, bytes, 200);
  put_spares(&spares, bytes + 200, 400);
  CHECK(tandem_spares_size(&spares) == 600 && tandem_spares_kept(&spares) == 3);
  get_spares(&spares, bytes, 300);
  // A release keeps the two buffers that hold data, and their bytes.
  CHECK(tandem_spares_kept(&spares) == 2);
  tandem_spares_release(&spares);
  CHECK(tandem_spares_count(&spares) == 2);
  CHECK(service_free(&service) == 62);
  get_spares(&spares, bytes + 300, 300);
  tandem_spares_release(&spares);
  CHECK(tandem_spares_count(&spares) == 0 && service_free(&service) == 64);
  // Both ends give back what holds data.
  CHECK(tandem_spares_take(&spares, 1));
  put_spares(&spares, bytes, 1);
  tandem_spares_clear(&spares);
  CHECK(tandem_spares_size(&spares) == 0 && service_free(&service) == 64);
  CHECK(tandem_spares_take(&spares, 2));
  put_spares(&spares, bytes, 257);
  tandem_spares_destroy(&spares);
  service_destroy(&service);
}

// S4
static void spares_are_not_had_under_shortage(void) {
  struct service service = service_create(16, 2, NULL);
  tandem_spares spares;
  tandem_spares_init(&spares, service.allocator);
  void* buffers[15];
  // The reserve, a quarter of the pool and the spare itself: 7.
  CHECK(tandem_acquire_many(service.pool, buffers, 10));
  CHECK(!tandem_spares_take(&spares, 1));
  CHECK(tandem_acquire_many(service.pool, buffers + 10, 5));
  tandem_session waiter;
  int wakes = 0;
  const tandem_waker waker = counting(&wakes);
  tandem_session_init(&waiter, service.allocator);
  CHECK(session_alloc_buffers(&waiter, &waker) == TANDEM_WAITING);
  CHECK(!tandem_spares_take(&spares, 1));
  tandem_release_many(service.pool, buffers, 15);
  CHECK(wakes == 1);
  CHECK(session_finish_wait(&waiter) == TANDEM_WAIT_GRANTED);
  CHECK(tandem_spares_take(&spares, 1));
  tandem_spares_destroy(&spares);
  tandem_session_destroy(&waiter);
  service_destroy(&service);
}

int main(void) {
  RUN(sessions_that_hold_one_each_do_not_dead_lock);
  RUN(receive_leaves_the_reserve_and_pairs_take_it);
  RUN(pair_is_taken_whole_or_not_at_all);
  RUN(release_keeps_what_holds_data);
  RUN(side_is_a_ring_of_bytes);
  RUN(waiters_are_served_in_order_with_their_buffers);
  RUN(cancelled_wait_is_over);
  RUN(too_many_waiters_are_told_so);
  RUN(thread_sleeps_until_its_deadline);
  RUN(declared_class_keeps_what_it_says);
  RUN(event_loop_is_told_through_its_descriptor);
  RUN(session_lies_wherever_eight_bytes_do);
  RUN(buffer_moves_with_its_bytes);
  RUN(server_decides_what_is_empty);
  RUN(buffer_may_be_had_in_a_class_without_a_session);
  RUN(spares_are_one_row_of_bytes);
  RUN(spares_are_not_had_under_shortage);
  return 0;
}
