// A server in C with one thread and epoll(7). Its argument is the number of
// buffers, for any number of connections. It sends a client's bytes back in
// capitals. It listens on a free port, and prints it.

#include <arpa/inet.h>
#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tandem/c/tandem.h"

struct connection {
  int fd;
  tandem_session buffers;
  tandem_node node;  // lets the loop continue this connection
};

static int epoll;
static tandem_notifier* notifier;
static tandem_allocator* allocator;

// Turns the request's bytes into the response's. The response must be empty.
static void answer_in_capitals(tandem_session* s) {
  struct iovec from[2], to[2];
  session_readable(s, TANDEM_REQUEST, from);
  session_writable(s, TANDEM_RESPONSE, to);
  for (size_t i = 0; i < from[0].iov_len; ++i) {
    ((char*)to[0].iov_base)[i] = toupper(((unsigned char*)from[0].iov_base)[i]);
  }
  session_consume(s, TANDEM_REQUEST, from[0].iov_len);
  session_commit(s, TANDEM_RESPONSE, from[0].iov_len);
}

// Sends, processes and receives as far as possible. If buffers or the socket
// are not ready, the loop calls this again when they are.
static void go_on(void* context) {
  struct connection* const c = context;
  tandem_session* const s = &c->buffers;
  const tandem_waker waker = tandem_notifier_waker(notifier, &c->node);
  struct iovec bytes[2];
  ssize_t n = 1;
  for (tandem_allocation got = TANDEM_GRANTED; n > 0;) {
    if (session_size(s, TANDEM_RESPONSE) != 0) {
      n = writev(c->fd, bytes, session_readable(s, TANDEM_RESPONSE, bytes));
      if (n > 0) session_consume(s, TANDEM_RESPONSE, n);
    } else if (session_size(s, TANDEM_REQUEST) != 0) {
      got = session_alloc_buffers(s, &waker);
      if (got == TANDEM_GRANTED) answer_in_capitals(s);
    } else {
      session_release_buffers(s);
      got = session_alloc_recv_buffer(s, TANDEM_REQUEST, &waker);
      if (got == TANDEM_GRANTED) {
        n = readv(c->fd, bytes, session_writable(s, TANDEM_REQUEST, bytes));
        if (n > 0) session_commit(s, TANDEM_REQUEST, n);
      }
    }
    if (got == TANDEM_WAITING) return;
    if (got == TANDEM_OVERLOADED) n = 0;
  }
  session_release_buffers(s);  // No empty buffer is held during a socket wait.
  struct epoll_event event = {EPOLLONESHOT, {c}};
  event.events |= session_size(s, TANDEM_RESPONSE) != 0 ? EPOLLOUT : EPOLLIN;
  if (n < 0 && errno == EAGAIN &&
      epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event) == 0)
    return;
  tandem_session_destroy(s);
  close(c->fd);
  free(c);
}

static void accept_from(int listener) {
  const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  struct connection* const c = fd < 0 ? NULL : malloc(sizeof(*c));
  if (c == NULL) return;
  c->fd = fd;
  tandem_session_init(&c->buffers, allocator);
  tandem_node_init(&c->node, go_on, c);
  struct epoll_event event = {EPOLLIN | EPOLLONESHOT, {c}};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

int main(int argc, char** argv) {
  tandem_pool_options options = {.size = sizeof(options)};
  if (argc == 2) options.capacity = strtoul(argv[1], NULL, 10);
  tandem_pool* pool;
  char why[TANDEM_MESSAGE_SIZE];
  if (tandem_pool_create(&pool, &options, why, sizeof(why)) != 0 ||
      tandem_allocator_create(&allocator, pool, NULL, why, sizeof(why)) != 0 ||
      tandem_notifier_create(&notifier, why, sizeof(why)) != 0)
    errx(1, "%s", why);
  struct sockaddr_in address = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {0}};
  socklen_t length = sizeof(address);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (bind(listener, (struct sockaddr*)&address, length) != 0 ||
      listen(listener, 1024) != 0 ||
      getsockname(listener, (struct sockaddr*)&address, &length) != 0)
    err(1, "listen");
  dprintf(STDOUT_FILENO, "%d\n", ntohs(address.sin_port));
  epoll = epoll_create1(EPOLL_CLOEXEC);
  signal(SIGPIPE, SIG_IGN);
  struct epoll_event event = {EPOLLIN, {&listener}};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  event.data.ptr = notifier;
  epoll_ctl(epoll, EPOLL_CTL_ADD, tandem_notifier_fd(notifier), &event);
  for (;;) {
    if (epoll_wait(epoll, &event, 1, -1) != 1) continue;
    if (event.data.ptr == &listener)
      accept_from(listener);
    else if (event.data.ptr == notifier)
      tandem_notifier_dispatch(notifier);
    else
      go_on(event.data.ptr);
  }
}
