// The pool through the C header: options, errors, buffers, statistics.

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tandem/c/tandem.h"
#include "tandem/tests/c/check.h"

static void no_options_mean_the_defaults(void) {
  tandem_pool* pool;
  CHECK(tandem_pool_create(&pool, NULL, NULL, 0) == 0);
  CHECK(strcmp(tandem_pool_name(pool), "buffers") == 0);
  CHECK(tandem_buffer_size(pool) == 16384);
  CHECK(tandem_capacity(pool) == 1024);
  CHECK(tandem_reserve(pool) == 2);
  tandem_pool_destroy(pool);
  tandem_pool_destroy(NULL);
  tandem_allocator_destroy(NULL);
}

static void none_is_not_the_default(void) {
  const tandem_pool_options options = {.size = sizeof(options),
                                       .reserve = TANDEM_NONE,
                                       .cache_size = TANDEM_NONE};
  tandem_pool* pool;
  CHECK(tandem_pool_create(&pool, &options, NULL, 0) == 0);
  CHECK(tandem_reserve(pool) == 0);
  tandem_snapshot snapshot = {.size = sizeof(snapshot)};
  CHECK(tandem_pool_snapshot(pool, &snapshot) == 0);
  CHECK(snapshot.cache_limit == 0);
  tandem_pool_destroy(pool);
}

// Creation fails with EINVAL, and the message contains these words.
static void refused(const tandem_pool_options* options, const char* words) {
  tandem_pool* pool = NULL;
  char why[TANDEM_MESSAGE_SIZE] = "";
  CHECK(tandem_pool_create(&pool, options, why, sizeof(why)) == EINVAL);
  CHECK(pool == NULL);
  if (strstr(why, words) == NULL) {
    fprintf(stderr, "\"%s\" is not in \"%s\"\n", words, why);
    abort();
  }
}

static void wrong_option_is_named_with_value_and_range(void) {
  const size_t size = sizeof(tandem_pool_options);
  refused(&(tandem_pool_options){.size = size, .buffer_size = 100},
          "tandem_pool_options.buffer_size is 100; allowed: multiples of 64");
  refused(&(tandem_pool_options){.size = size, .capacity = 1u << 24},
          "tandem_pool_options.capacity is 16777216; allowed: 1 to 16777215");
  refused(&(tandem_pool_options){.size = size, .bias = 3},
          "tandem_pool_options.bias is 3; allowed: 0 to 2");
  refused(&(tandem_pool_options){.size = size, .huge_pages = 3},
          "tandem_pool_options.huge_pages is 3; allowed: 0 to 2");
  refused(&(tandem_pool_options){.size = size, .numa_policy = 3},
          "tandem_pool_options.numa_policy is 3; allowed: 0 to 2");
  refused(&(tandem_pool_options){.size = size, .numa_node = 1024},
          "tandem_pool_options.numa_node is 1024; allowed: 0 to 1023");
  refused(
      &(tandem_pool_options){.size = size, .pinned = true, .guard_pages = true},
      "tandem_pool_options.guard_pages is true");
  refused(&(tandem_pool_options){.size = size, .reserved = {0, 0, true}},
          "tandem_pool_options.reserved[2] is true; allowed: false");
}

// Messages name an option by its name in C, even where C++ has another.
static void messages_speak_of_c(void) {
  refused(&(tandem_pool_options){.size = sizeof(tandem_pool_options),
                                 .bias = TANDEM_BIAS_BIASED,
                                 .cold_first = true},
          "tandem_pool_options.bias is TANDEM_BIAS_BIASED");
}

static void message_is_cut_off_where_its_room_ends(void) {
  const tandem_pool_options options = {.size = sizeof(options),
                                       .buffer_size = 100};
  tandem_pool* pool;
  char why[8] = "-------";
  CHECK(tandem_pool_create(&pool, &options, why, 7) == EINVAL);
  CHECK(strcmp(why, "tandem") == 0);
  CHECK(why[7] == '\0');
  CHECK(tandem_pool_create(&pool, &options, why, 1) == EINVAL);
  CHECK(why[0] == '\0');
}

// E4: a program that was compiled with another header.
static void options_are_versioned_by_their_size(void) {
  // Older: it does not know the fields after `capacity`.
  struct {
    size_t size;
    const char* name;
    size_t buffer_size;
    uint32_t capacity;
    uint32_t not_its_own;
  } older = {.size = offsetof(tandem_pool_options, reserve),
             .name = "older",
             .buffer_size = 128,
             .capacity = 7,
             .not_its_own = 0xFFFF};
  tandem_pool* pool;
  CHECK(tandem_pool_create(&pool, (const tandem_pool_options*)&older, NULL,
                           0) == 0);
  CHECK(strcmp(tandem_pool_name(pool), "older") == 0);
  CHECK(tandem_capacity(pool) == 7 && tandem_reserve(pool) == 2);
  tandem_pool_destroy(pool);

  // Newer: a field that this library does not know must be 0.
  struct {
    tandem_pool_options known;
    uint64_t unknown;
  } newer = {.known = {.size = sizeof(newer), .capacity = 8}};
  CHECK(tandem_pool_create(&pool, &newer.known, NULL, 0) == 0);
  tandem_pool_destroy(pool);
  newer.unknown = 1;
  char words[64];
  snprintf(words, sizeof(words), "byte %zu of tandem_pool_options is 1",
           sizeof(tandem_pool_options));
  refused(&newer.known, words);

  // No size at all.
  refused(
      &(tandem_pool_options){.capacity = 8},
      "tandem_pool_options.size is 0; allowed: sizeof(tandem_pool_options)");
  refused(&(tandem_pool_options){.size = 1u << 30}, "tandem_pool_options.size");
}

static void results_are_versioned_by_their_size(void) {
  tandem_pool* pool;
  CHECK(tandem_pool_create(&pool, NULL, NULL, 0) == 0);
  tandem_snapshot snapshot;
  memset(&snapshot, 0x77, sizeof(snapshot));
  snapshot.size = offsetof(tandem_snapshot, available);
  CHECK(tandem_pool_snapshot(pool, &snapshot) == 0);
  CHECK(snapshot.size == offsetof(tandem_snapshot, available));
  CHECK(snapshot.capacity == 1024 && snapshot.reserve == 2);
  CHECK(snapshot.available == 0x77777777);
  snapshot.size = 7;
  CHECK(tandem_pool_snapshot(pool, &snapshot) == EINVAL);
  tandem_pool_destroy(pool);
}

static void wrong_allocator_options_are_named(void) {
  struct {
    tandem_allocator_options options;
    const char* words;
  } wrong[] = {
      {{.max_waiters = 1u << 20},
       "tandem_allocator_options.max_waiters is 1048576; allowed: 1 to "
       "1048575"},
      {{.class_count = 9},
       "tandem_allocator_options.class_count is 9; allowed: 0 to 5"},
      {{.classes = &(tandem_wait_class){.rank = 1}, .class_count = 1},
       "tandem_allocator_options.classes[0].name is NULL"},
      {{.classes = &(tandem_wait_class){.name = "a", .rank = 0},
        .class_count = 1},
       "tandem_allocator_options.classes[\"a\"].rank is 0"},
  };
  tandem_pool* pool;
  CHECK(tandem_pool_create(&pool, NULL, NULL, 0) == 0);
  char why[TANDEM_MESSAGE_SIZE];
  tandem_allocator* allocator;
  for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); ++i) {
    wrong[i].options.size = sizeof(tandem_allocator_options);
    CHECK(tandem_allocator_create(&allocator, pool, &wrong[i].options, why,
                                  sizeof(why)) == EINVAL);
    if (strstr(why, wrong[i].words) == NULL) {
      fprintf(stderr, "\"%s\" is not in \"%s\"\n", wrong[i].words, why);
      abort();
    }
  }
  CHECK(tandem_allocator_create(&allocator, pool, NULL, NULL, 0) == 0);
  tandem_allocator* second;
  CHECK(tandem_allocator_create(&second, pool, NULL, why, sizeof(why)) ==
        EPERM);
  CHECK(strstr(why, "has a session layer") != NULL);
  tandem_allocator_destroy(allocator);
  tandem_pool_destroy(pool);
}

// P3
static void pool_hands_out_all_its_buffers_and_not_one_more(void) {
  enum { kCapacity = 64 };
  const tandem_pool_options options = {
      .size = sizeof(options), .buffer_size = 192, .capacity = kCapacity};
  tandem_pool* pool;
  CHECK(tandem_pool_create(&pool, &options, NULL, 0) == 0);
  CHECK(tandem_thread_attach(pool) == 0);
  const tandem_region region = tandem_pool_region(pool);
  CHECK(region.stride >= 192 && region.bytes >= kCapacity * region.stride);
  void* buffers[kCapacity];
  bool seen[kCapacity] = {false};
  CHECK(!tandem_acquire_many(pool, (void * [kCapacity + 1]){0}, kCapacity + 1));
  CHECK(tandem_acquire_many(pool, buffers, kCapacity / 2));
  for (int i = kCapacity / 2; i < kCapacity; ++i) {
    buffers[i] = tandem_acquire(pool);
  }
  CHECK(tandem_acquire(pool) == NULL);
  CHECK(tandem_acquire_many(pool, NULL, 0));
  for (int i = 0; i < kCapacity; ++i) {
    const uint32_t index = tandem_index_of(pool, buffers[i]);
    CHECK(index < kCapacity && !seen[index]);
    seen[index] = true;
    CHECK(tandem_address_of(pool, index) == buffers[i]);
    CHECK((char*)region.base + index * region.stride == (char*)buffers[i]);
    memset(buffers[i], i, 192);
  }
  tandem_snapshot snapshot = {.size = sizeof(snapshot)};
  CHECK(tandem_pool_snapshot(pool, &snapshot) == 0);
  CHECK(snapshot.in_use == kCapacity && snapshot.threads == 1);
  CHECK(snapshot.failures != 0);
  tandem_release(pool, buffers[0]);
  tandem_release_many(pool, buffers + 1, kCapacity - 1);
  CHECK(tandem_pool_snapshot(pool, &snapshot) == 0);
  CHECK(snapshot.in_use == 0);
  CHECK(snapshot.available + snapshot.cached == kCapacity);
  tandem_pool_destroy(pool);
}

static void trim_gives_memory_back_unless_it_is_pinned(void) {
  const tandem_pool_options options = {.size = sizeof(options)};
  tandem_pool* pool;
  size_t bytes = 0;
  CHECK(tandem_pool_create(&pool, &options, NULL, 0) == 0);
  void* const buffer = tandem_acquire(pool);
  memset(buffer, 1, tandem_buffer_size(pool));
  tandem_release(pool, buffer);
  CHECK(tandem_trim(pool, NULL) == 0);
  CHECK(tandem_trim(pool, &bytes) == 0);
  tandem_pool_destroy(pool);
  const tandem_pool_options pinned = {.size = sizeof(pinned), .pinned = true};
  CHECK(tandem_pool_create(&pool, &pinned, NULL, 0) == 0);
  CHECK(tandem_trim(pool, &bytes) == EPERM);
  tandem_pool_destroy(pool);
}

// P1
static void locked_memory_stays(void) {
  const tandem_pool_options options = {.size = sizeof(options),
                                       .capacity = 2,
                                       .lock_memory = true,
                                       .exclude_from_core_dumps = true};
  tandem_pool* pool;
  char why[TANDEM_MESSAGE_SIZE];
  const int error = tandem_pool_create(&pool, &options, why, sizeof(why));
  if (error != 0) {
    // RLIMIT_MEMLOCK allows less here.
    CHECK(strstr(why, "tandem_pool_options.lock_memory") != NULL);
    return;
  }
  CHECK(tandem_trim(pool, NULL) == EPERM);
  // What the kernel has on the region: lo, locked; dd, not in core dumps.
  const uintptr_t base = (uintptr_t)tandem_pool_region(pool).base;
  FILE* const maps = fopen("/proc/self/smaps", "r");
  CHECK(maps != NULL);
  char line[512];
  bool in_region = false, found = false;
  while (fgets(line, sizeof(line), maps) != NULL) {
    unsigned long from, to;
    if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
      in_region = from <= base && base < to;
    } else if (in_region && strncmp(line, "VmFlags:", 8) == 0) {
      found = true;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
      CHECK(strstr(line, " lo") != NULL);  // sanitizers lock no memory
#endif
      CHECK(strstr(line, " dd") != NULL);
    }
  }
  fclose(maps);
  CHECK(found);
  tandem_pool_destroy(pool);
}

// E6
static void pieces_cover_all_buffers(void) {
  enum { kCapacity = 4096 };
  const tandem_pool_options options = {.size = sizeof(options),
                                       .buffer_size = 1u << 20,
                                       .capacity = kCapacity,
                                       .pinned = true};
  tandem_pool* pool;
  CHECK(tandem_pool_create(&pool, &options, NULL, 0) == 0);
  const size_t count = tandem_pool_piece_count(pool);
  CHECK(count >= 4);
  for (uint32_t i = 0; i < kCapacity; ++i) {
    const size_t at = tandem_piece_of(pool, i);
    CHECK(at < count);
    const struct iovec piece = tandem_pool_piece(pool, at);
    CHECK(piece.iov_len <= 1u << 30);
    const char* const buffer = tandem_address_of(pool, i);
    const char* const from = piece.iov_base;
    CHECK(from <= buffer && buffer + (1u << 20) <= from + piece.iov_len);
  }
  tandem_pool_destroy(pool);
  const tandem_pool_options guarded = {
      .size = sizeof(guarded), .capacity = 2, .guard_pages = true};
  CHECK(tandem_pool_create(&pool, &guarded, NULL, 0) == 0);
  CHECK(tandem_pool_piece_count(pool) == 0);
  tandem_pool_destroy(pool);
}

static void trimmer_trims_at_intervals(void) {
  const tandem_pool_options options = {.size = sizeof(options)};
  tandem_pool* pool;
  CHECK(tandem_pool_create(&pool, &options, NULL, 0) == 0);
  const tandem_trimmer_options every_ms = {.size = sizeof(every_ms),
                                           .every_ms = 1};
  tandem_trimmer* trimmer;
  CHECK(tandem_trimmer_create(&trimmer, pool, &every_ms, NULL, 0) == 0);
  // The creating function has trimmed once, when there was nothing to give
  // back.
  void* const buffer = tandem_acquire(pool);
  memset(buffer, 1, tandem_buffer_size(pool));
  tandem_release(pool, buffer);
  while (tandem_trimmer_trims(trimmer) < 2 ||
         tandem_trimmer_bytes(trimmer) < tandem_buffer_size(pool)) {
    usleep(1000);
  }
  tandem_trimmer_destroy(trimmer);
  tandem_trimmer_destroy(NULL);
  tandem_pool_destroy(pool);
}

static void trimmer_that_cannot_be_had_is_named(void) {
  const size_t size = sizeof(tandem_trimmer_options);
  const struct {
    tandem_trimmer_options options;
    bool pinned;
    int error;
    const char* words;
  } wrong[] = {
      {{.size = size},
       false,
       EINVAL,
       "tandem_trimmer_options.every_ms is 0 and on_pressure is false"},
      {{.size = size, .every_ms = 86400001},
       false,
       EINVAL,
       "tandem_trimmer_options.every_ms is 86400001 ms; allowed: 0 to "
       "86400000"},
      {{.size = size, .reserved = {0, true}},
       false,
       EINVAL,
       "tandem_trimmer_options.reserved[1] is true; allowed: false"},
      {{.size = size, .on_pressure = true, .pressure_file = "/none/such"},
       false,
       ENOENT,
       "/none/such"},
      {{.size = size, .every_ms = 1}, true, EPERM, "Trim is refused"},
      {{.size = 0, .every_ms = 1},
       false,
       EINVAL,
       "tandem_trimmer_options.size is 0"},
  };
  for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); ++i) {
    const tandem_pool_options options = {.size = sizeof(options),
                                         .pinned = wrong[i].pinned};
    tandem_pool* pool;
    CHECK(tandem_pool_create(&pool, &options, NULL, 0) == 0);
    tandem_trimmer* trimmer = NULL;
    char why[TANDEM_MESSAGE_SIZE];
    CHECK(tandem_trimmer_create(&trimmer, pool, &wrong[i].options, why,
                                sizeof(why)) == wrong[i].error);
    CHECK(trimmer == NULL);
    if (strstr(why, wrong[i].words) == NULL) {
      fprintf(stderr, "\"%s\" is not in \"%s\"\n", wrong[i].words, why);
      abort();
    }
    tandem_pool_destroy(pool);
  }
}

static void* attach(void* pool) {
  return (void*)(intptr_t)tandem_thread_attach(pool);
}

static void thread_without_a_cache_is_told_so(void) {
  const tandem_pool_options options = {.size = sizeof(options),
                                       .max_threads = 1};
  tandem_pool* pool;
  CHECK(tandem_pool_create(&pool, &options, NULL, 0) == 0);
  CHECK(tandem_thread_attach(pool) == 0);
  pthread_t thread;
  void* result;
  CHECK(pthread_create(&thread, NULL, attach, pool) == 0);
  CHECK(pthread_join(thread, &result) == 0);
  CHECK((intptr_t)result == ENOMEM);
  tandem_pool_destroy(pool);
}

static int dying[2];

static void note_death(const char* message) {
  const ssize_t written = write(dying[1], message, strlen(message));
  _exit(written > 0 ? 3 : 4);
}

// P7, E2
static void misuse_is_told_to_the_servers_handler(void) {
  const tandem_pool_options options = {.size = sizeof(options),
                                       .name = "misused"};
  tandem_pool* pool;
  CHECK(tandem_pool_create(&pool, &options, NULL, 0) == 0);
  CHECK(pipe(dying) == 0);
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK(tandem_set_abort_handler(note_death) == NULL);
    CHECK(tandem_set_abort_handler(note_death) == note_death);
    void* const buffer = tandem_acquire(pool);
    tandem_release(pool, buffer);
    tandem_release(pool, buffer);
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
  char message[TANDEM_MESSAGE_SIZE] = "";
  CHECK(read(dying[0], message, sizeof(message) - 1) > 0);
  CHECK(strstr(message, "misused") != NULL);
  close(dying[0]);
  close(dying[1]);
  tandem_pool_destroy(pool);
}

int main(void) {
  RUN(no_options_mean_the_defaults);
  RUN(none_is_not_the_default);
  RUN(wrong_option_is_named_with_value_and_range);
  RUN(messages_speak_of_c);
  RUN(message_is_cut_off_where_its_room_ends);
  RUN(options_are_versioned_by_their_size);
  RUN(results_are_versioned_by_their_size);
  RUN(wrong_allocator_options_are_named);
  RUN(pool_hands_out_all_its_buffers_and_not_one_more);
  RUN(trim_gives_memory_back_unless_it_is_pinned);
  RUN(locked_memory_stays);
  RUN(pieces_cover_all_buffers);
  RUN(trimmer_trims_at_intervals);
  RUN(trimmer_that_cannot_be_had_is_named);
  RUN(thread_without_a_cache_is_told_so);
  RUN(misuse_is_told_to_the_servers_handler);
  return 0;
}
