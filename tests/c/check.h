#ifndef TANDEM_TESTS_C_CHECK_H_
#define TANDEM_TESTS_C_CHECK_H_

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/c/tandem.h"

// Helpers for tests in C.

// Ends the test if the condition does not hold.
#define CHECK(condition)                                               \
  ((condition) ? (void)0                                               \
               : (fprintf(stderr, "%s:%d: %s: not so: %s\n", __FILE__, \
                          __LINE__, __func__, #condition),             \
                  abort()))

// Runs a test. Its name says what must hold.
#define RUN(test) (printf("%s\n", #test), fflush(stdout), test())

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define ROUNDS(rounds) ((rounds) / 5)
#else
#define ROUNDS(rounds) (rounds)
#endif

// A pool of buffers of 256 bytes and its session layer.
struct service {
  tandem_pool* pool;
  tandem_allocator* allocator;
};

static inline struct service service_create(
    uint32_t capacity, uint32_t reserve,
    const tandem_allocator_options* allocator_options) {
  const tandem_pool_options options = {.size = sizeof(options),
                                       .buffer_size = 256,
                                       .capacity = capacity,
                                       .reserve = reserve};
  struct service service;
  char why[TANDEM_MESSAGE_SIZE] = "";
  if (tandem_pool_create(&service.pool, &options, why, sizeof(why)) != 0 ||
      tandem_allocator_create(&service.allocator, service.pool,
                              allocator_options, why, sizeof(why)) != 0) {
    fprintf(stderr, "%s\n", why);
    abort();
  }
  return service;
}

// The number of free buffers.
static inline uint32_t service_free(const struct service* service) {
  tandem_snapshot snapshot = {.size = sizeof(snapshot)};
  CHECK(tandem_pool_snapshot(service->pool, &snapshot) == 0);
  return snapshot.available + snapshot.cached;
}

// Requires that no buffer is held and that no session waits.
static inline void service_destroy(struct service* service) {
  CHECK(service_free(service) == tandem_capacity(service->pool));
  CHECK(tandem_waiting(service->allocator) == 0);
  tandem_allocator_destroy(service->allocator);
  tandem_pool_destroy(service->pool);
}

// Puts `n` bytes of this value into a side, and takes them out again.
static inline void put(tandem_session* session, tandem_side side, char value,
                       size_t n) {
  struct iovec room[2];
  CHECK(session_writable(session, side, room) >= 1);
  CHECK(room[0].iov_len >= n);
  memset(room[0].iov_base, value, n);
  session_commit(session, side, n);
}
static inline void get(tandem_session* session, tandem_side side, char value,
                       size_t n) {
  struct iovec data[2];
  CHECK(session_readable(session, side, data) >= 1);
  CHECK(data[0].iov_len >= n);
  for (size_t i = 0; i < n; ++i) {
    CHECK(((const char*)data[0].iov_base)[i] == value);
  }
  session_consume(session, side, n);
}

static inline bool has_buffer(const tandem_session* session, tandem_side side) {
  return session_buffer(session, side) != NULL;
}

// A waker that counts.
static inline void count_wake(void* context) {
  __atomic_fetch_add((int*)context, 1, __ATOMIC_SEQ_CST);
}
static inline int wakes_of(const int* count) {
  return __atomic_load_n(count, __ATOMIC_SEQ_CST);
}
static inline tandem_waker counting(int* count) {
  const tandem_waker waker = {.wake = count_wake, .context = count};
  return waker;
}

// Small random numbers (xorshift), one state for each thread.
static inline uint32_t random_below(uint64_t* state, uint32_t bound) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return (uint32_t)((*state >> 32) % bound);
}

// The seed of a randomized test: TANDEM_TEST_SEED if set, otherwise a new one.
// Prints it.
static inline uint64_t test_seed(void) {
  const char* const given = getenv("TANDEM_TEST_SEED");
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const uint64_t seed = given != NULL ? strtoull(given, NULL, 10)
                                      : (uint64_t)now.tv_nsec * 1000003u + 1;
  printf("TANDEM_TEST_SEED=%llu\n", (unsigned long long)seed);
  return seed | 1;
}

#endif  // TANDEM_TESTS_C_CHECK_H_
