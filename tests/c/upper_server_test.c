// The example in C, tested by its clients: 40 at once on 4 buffers. Each gets
// every byte back, in capitals.

#include <arpa/inet.h>
#include <ctype.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tandem/tests/c/check.h"

enum { kClients = 40, kBytes = 200 * 1000 };

// A client's number and the position determine the bytes that it sends.
static char byte_at(int client, size_t position) {
  return (char)('a' + (client * 7 + position * 13 + position / 251) % 26);
}

struct client {
  int fd;
  size_t sent;
  size_t received;
};

static int connect_to(int port) {
  const struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)port),
                                      .sin_addr = {htonl(INADDR_LOOPBACK)}};
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(connect(fd, (const struct sockaddr*)&address, sizeof(address)) == 0);
  return fd;
}

static void send_some(struct client* c, int number) {
  char bytes[5000];
  size_t n = 0;
  while (n < sizeof(bytes) && c->sent + n < kBytes) {
    bytes[n] = byte_at(number, c->sent + n);
    ++n;
  }
  const ssize_t sent = send(c->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
  CHECK(sent > 0);
  c->sent += (size_t)sent;
  if (c->sent == kBytes) shutdown(c->fd, SHUT_WR);
}

static void receive_some(struct client* c, int number) {
  char bytes[3000];
  const ssize_t n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
  CHECK(n > 0);
  for (ssize_t i = 0; i < n; ++i) {
    CHECK(bytes[i] == toupper(byte_at(number, c->received + (size_t)i)));
  }
  c->received += (size_t)n;
}

static void forty_clients_get_every_byte_on_four_buffers(int port) {
  struct client clients[kClients];
  struct pollfd polls[kClients];
  for (int i = 0; i < kClients; ++i) {
    clients[i] = (struct client){.fd = connect_to(port)};
  }
  int left = kClients;
  while (left > 0) {
    for (int i = 0; i < kClients; ++i) {
      const bool sends = clients[i].sent < kBytes;
      const bool done = clients[i].received == kBytes;
      polls[i] =
          (struct pollfd){.fd = done ? -1 : clients[i].fd,
                          .events = (short)(POLLIN | (sends ? POLLOUT : 0))};
    }
    // Otherwise a server that hangs would go unnoticed.
    CHECK(poll(polls, kClients, 20 * 1000) > 0);
    for (int i = 0; i < kClients; ++i) {
      if (polls[i].revents & POLLOUT) send_some(&clients[i], i);
      if (polls[i].revents & (POLLIN | POLLHUP | POLLERR)) {
        receive_some(&clients[i], i);
        left -= clients[i].received == kBytes;
      }
    }
  }
  char none;
  for (int i = 0; i < kClients; ++i) {
    CHECK(recv(clients[i].fd, &none, 1, 0) == 0);
    close(clients[i].fd);
  }
}

// Clients that disconnect in the middle leave nothing behind.
static void server_survives_who_hangs_up(int port) {
  for (int i = 0; i < 200; ++i) {
    const int fd = connect_to(port);
    struct client c = {.fd = fd};
    for (int j = 0; j < i % 4; ++j) send_some(&c, i);
    // A reset, not an end, if there is something unread.
    const struct linger at_once = {.l_onoff = i % 2};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(fd);
  }
}

int main(int argc, char** argv) {
  CHECK(argc == 2);
  int out[2];
  CHECK(pipe(out) == 0);
  const pid_t server = fork();
  CHECK(server >= 0);
  if (server == 0) {
    dup2(out[1], STDOUT_FILENO);
    close(out[0]);
    close(out[1]);
    execl(argv[1], argv[1], "4", (char*)NULL);
    _exit(127);
  }
  close(out[1]);
  FILE* const from = fdopen(out[0], "r");
  int port;
  CHECK(fscanf(from, "%d", &port) == 1);
  // Clients that stay silent to the end hold no buffer.
  for (int i = 0; i < 10; ++i) connect_to(port);
  forty_clients_get_every_byte_on_four_buffers(port);
  server_survives_who_hangs_up(port);
  forty_clients_get_every_byte_on_four_buffers(port);
  // The server is still there.
  CHECK(waitpid(server, NULL, WNOHANG) == 0);
  kill(server, SIGKILL);
  CHECK(waitpid(server, NULL, 0) == server);
  return 0;
}
