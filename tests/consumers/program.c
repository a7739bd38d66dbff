// A server's work, once, in C: a session takes its pair and gives it back.

#include <stdio.h>

#include "tandem/c/tandem.h"

int main(void) {
  char why[TANDEM_MESSAGE_SIZE];
  tandem_pool_options options = {.size = sizeof(options), .capacity = 3};
  tandem_pool* pool;
  tandem_allocator* allocator;
  if (tandem_pool_create(&pool, &options, why, sizeof(why)) != 0 ||
      tandem_allocator_create(&allocator, pool, NULL, why, sizeof(why)) != 0) {
    fprintf(stderr, "%s\n", why);
    return 1;
  }
  tandem_session session;
  tandem_session_init(&session, allocator);
  if (session_alloc_buffers(&session, NULL) != TANDEM_GRANTED) return 2;
  session_release_buffers(&session);
  tandem_session_destroy(&session);
  tandem_allocator_destroy(allocator);
  tandem_pool_destroy(pool);
  puts("a C program was served");
  return 0;
}
