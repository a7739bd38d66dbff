#ifndef TANDEM_TOOLS_RELAY_RELAY_SESSION_H_
#define TANDEM_TOOLS_RELAY_RELAY_SESSION_H_

#include <array>
#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <utility>

#include "tandem/session/asio_completion.h"
#include "tandem/session/ring_buffer.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tools/relay/relay_snapshot.h"
#include "tandem/tools/relay/socket.h"

namespace tandem {

class RelayLoop;
class RelaySession;

// A session as its loop knows it.
struct RelayEntry {
  std::unique_ptr<RelaySession> session;
  std::chrono::steady_clock::time_point active_since;
};
using RelayEntries = std::list<RelayEntry>;

// One client, its backend, and the bytes between them.
//
// Whenever one side can be received from and the other sent to:
//
//   1. a buffer for what arrives: receive allocation, which leaves the reserve;
//      who is refused it waits for both
//   2. both buffers, to process the session: pair allocation, which waits
//   3. bytes move, both ways, as far as the two sockets let them
//   4. empty buffers go back: a session with nothing to do holds none
//
// What a peer does not take at once is kept in its buffer, and its direction
// receives nothing until that is sent. So that slow peers can't take the pool
// from everybody, a loop keeps no more than its quota (RelayLoop); beyond it a
// direction looks at what has arrived (MSG_PEEK), sends what the other side
// takes, and removes just that from the socket: nothing is left in the buffer.
//
// Threads:  its loop's.
// Lifetime: until Run has ended.
class RelaySession {
 public:
  RelaySession(RelayLoop& loop, RelayEntries::iterator place, OwnedFd client,
               OwnedFd backend);
  RelaySession(const RelaySession&) = delete;
  RelaySession& operator=(const RelaySession&) = delete;

  // From the connection to the backend to the end of both.
  asio::awaitable<void> Run();

  // Ends it: closes both connections, and resets them if bytes are lost by
  // that.
  void Abort();

  bool waits_for_buffers() const { return waits_for_buffers_; }

 private:
  // One end of the session, as its loop knows it.
  struct Peer {
    Peer(asio::io_context& context, OwnedFd fd)
        : descriptor(context), unattached(std::move(fd)) {}

    // From here on the loop watches it. False if it can't.
    bool Attach();

    asio::posix::stream_descriptor descriptor;
    OwnedFd unattached;
    int fd = unattached.get();
    // As of the last call that said something else.
    bool readable = false;
    bool writable = false;
    bool watches_read = false;
    bool watches_write = false;
  };

  // The bytes from one peer to the other.
  struct Direction {
    Peer& from;
    Peer& to;
    const Side side;
    ThreadCounter& bytes;
    bool received_end = false;  // nothing more will come
    bool over = false;          // and all has been sent, or can't be
  };

  asio::awaitable<bool> Connect();
  // Until a direction can move. False if the session is over.
  asio::awaitable<bool> Movable();
  // Steps 1 and 2. False if the session is over.
  asio::awaitable<bool> Allocate();
  // Until nothing refers to this any more.
  asio::awaitable<void> Close();
  // Until what was sent before a reset has arrived: a reset would discard it.
  asio::awaitable<void> Linger();

  bool CanMove(const Direction& direction) const;
  bool CanMove() const;
  bool IsOver() const;
  // Steps 3 and 4.
  void Move();
  void Move(Direction& direction);
  void Receive(Direction& direction, int flags);
  size_t Send(Direction& direction);
  // Sends what is received without removing it, then removes what was sent.
  void Pass(Direction& direction);
  // A peer has reset its connection: so will the other one be.
  void Break();
  void EndIfDone(Direction& direction);
  // Whether a side's buffer may hold data beyond this visit.
  bool MayKeep(Side side) const;

  // Has the loop tell when a peer becomes readable or writable.
  void Watch();
  void WatchRead(Peer& peer);
  void WatchWrite(Peer& peer);
  bool IsWatched() const;

  RingBuffer ring(Side side) { return buffers_.ring(side); }
  RingView ring(Side side) const { return buffers_.ring(side); }

  RelayLoop& loop_;
  const RelayEntries::iterator place_;
  SessionBuffers buffers_;
  Peer client_;
  Peer backend_;
  std::array<Direction, 2> directions_;
  AsioCompletion<> event_;
  size_t kept_ = 0;  // buffers with data in them, between visits
  bool waits_for_buffers_ = false;
  bool begun_ = false;    // a byte has moved
  bool reset_ = false;    // the connections are to be reset at the end
  bool aborted_ = false;  // it ends now
  bool refused_ = false;
};

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_RELAY_SESSION_H_
