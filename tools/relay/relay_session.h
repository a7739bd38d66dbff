#ifndef TANDEM_TOOLS_RELAY_RELAY_SESSION_H_
#define TANDEM_TOOLS_RELAY_RELAY_SESSION_H_

#include <sys/uio.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <span>

#include "tandem/session/deadline_list.h"
#include "tandem/session/event_notifier.h"
#include "tandem/session/ring_buffer.h"
#include "tandem/session/session_buffers.h"
#include "tandem/session/spare_buffers.h"
#include "tandem/tools/relay/relay_context.h"
#include "tandem/tools/relay/relay_snapshot.h"
#include "tandem/tools/relay/socket.h"

namespace tandem {

// One client, its backend, and the bytes between them.
//
// A session connects to the first of the backend's addresses that accepts the
// connection. Whenever one side has bytes to receive and the other side can
// take them, the session gets a visit with these steps:
//
//   1. a buffer for what arrives: a receive allocation, which leaves the
//      reserve; a session that is refused waits for both buffers instead
//   2. both buffers, to process the session: a pair allocation, which waits
//   3. bytes move, both ways, as far as the two sockets allow; if a buffer
//      is full, spare buffers extend it, if there are any
//   4. empty buffers go back: an idle session holds none
//
// Bytes that a peer does not take at once stay in its buffer, and that
// direction receives nothing until they are sent. To keep slow peers from
// taking the whole pool, a loop keeps no more than its quota (RelayLoop).
// Beyond the quota a direction peeks at the bytes that have arrived (MSG_PEEK),
// sends what the other side takes, and removes only that from the socket: no
// byte is left in the buffer.
//
// The loop watches both sockets for their whole life, edge-triggered (EPOLLET):
// it needs no system call to wait for one. A peer is readable until a receive
// returns less than it asked for, and writable until a send does.
//
// Threads:  its loop's thread.
// Lifetime: its context's list owns it. When it is over it joins the ready
//           queue, and the loop that takes it from there destroys it.
class RelaySession : public ReadyQueue::Node,
                     private EventNotifier::Node,
                     private DeadlineList::Node {
 public:
  using Place = std::list<RelaySession>::iterator;

  // `backend`: a socket to connect with, of the family of the first address.
  RelaySession(RelayContext& context, OwnedFd&& client, OwnedFd&& backend);

  // Starts the session; `place` is its position in the context's list.
  void Start(Place place);

  // Notes the events that epoll_wait(2) reports for a socket of a session.
  static void Note(void* watched, uint32_t events);

  // Continues as far as possible.
  void Turn();

  // Ends the session now: closes both connections, and resets them if that
  // loses bytes.
  void Abort();

  // Moves the session to the end of the context's list.
  void Touch();

  Place place() const { return place_; }
  RelayContext::Clock::time_point active_since() const { return active_since_; }
  bool is_over() const { return phase_ == Phase::kOver; }
  bool waits_for_buffers() const {
    return phase_ == Phase::kWaiting || phase_ == Phase::kPausing;
  }

 private:
  enum class Phase : uint8_t {
    kConnecting,
    kMoving,     // bytes move as they come
    kWaiting,    // for buffers
    kPausing,    // until it asks again: too many sessions wait
    kLingering,  // until bytes sent before a reset have arrived
    kOver,
  };

  // How the session ends, which also decides when. From kNow on: now.
  enum class End : uint8_t {
    kInOrder,   // when both directions are over
    kReset,     // the same, but with resets: a peer reset its connection
    kNow,       // in order
    kResetNow,  // by resets: bytes are lost, or there is no backend
    kRefused,   // by resets, before a byte has moved: too many wait
  };

  // One end of the session. epoll(7) identifies it by its address.
  struct Peer {
    RelaySession& session;
    OwnedFd fd;
    bool readable = false;
    bool writable = false;
    // Ended by the peer, or broken: it stays readable until a receive reports
    // that.
    bool ended = false;
  };

  // The bytes from one peer to the other: first those in the side's ring, then
  // those in its spare buffers.
  struct Direction {
    Peer& from;
    Peer& to;
    const Side side;
    ThreadCounter& moved;
    SpareBuffers spares;
    bool received_end = false;  // no more bytes will arrive
    bool over = false;          // and all bytes are sent, or cannot be sent
  };

  // Makes the loop watch the peer from now on. False on failure.
  bool Watch(Peer& peer);
  // Tries the addresses, from number `address_` on, until one may accept.
  void Connect();
  // Checks whether the address has accepted.
  void FinishConnect();
  void ConnectNext();
  // Serves if the session gets its buffers; otherwise its wake-up does.
  void Visit();
  // Steps 1 and 2. False if the session must wait.
  bool Allocate();
  // Steps 3 and 4.
  void Serve();
  // Gives back all buffers, and ends the session.
  void Close();
  void Linger();
  void Finish();

  void OnGranted();
  void OnDeadline();

  // Bytes that have been received and not sent.
  bool IsEmpty(const Direction& direction) const;
  // The number of buffers that hold such bytes.
  uint32_t Held(const Direction& direction) const;
  void Discard(Direction& direction);
  bool CanMove(const Direction& direction) const;
  bool CanMove() const;
  bool MustEnd() const;
  void Move(Direction& direction);
  // Receives into the ring. Also receives into spare buffers if it has some, or
  // if more bytes have arrived than the ring holds and spares are available.
  void Receive(Direction& direction);
  void TakeSpares(Direction& direction);
  // One recvmsg(2) into `room`. Returns the number of bytes.
  size_t Receive(Direction& direction, std::span<iovec> room, int flags);
  size_t Send(Direction& direction);
  // Sends received bytes without removing them, then removes those that were
  // sent.
  void Pass(Direction& direction);
  // A peer has reset its connection: resets the other one as well.
  void Break();
  void EndIfDone(Direction& direction);
  // How many of a direction's buffers may hold data after this visit.
  size_t MayKeep(const Direction& direction) const;
  Direction& Opposite(const Direction& direction) {
    return directions_[direction.side == Side::kRequest ? 1 : 0];
  }

  RingBuffer ring(Side side) { return buffers_.ring(side); }
  RingView ring(Side side) const { return buffers_.ring(side); }

  RelayContext& context_;
  SessionBuffers buffers_;
  Peer client_;
  Peer backend_;
  std::array<Direction, 2> directions_;
  Place place_;
  RelayContext::Clock::time_point active_since_;
  std::chrono::milliseconds pause_;
  size_t address_ = 0;  // of the context's backends
  uint8_t kept_ = 0;    // buffers with data in them, between visits
  Phase phase_ = Phase::kConnecting;
  End end_ = End::kInOrder;
  bool begun_ = false;  // a byte has moved
};

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_RELAY_SESSION_H_
