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
// A session connects to the first of the backend's addresses that takes it.
// Whenever one side can be received from and the other sent to, it then has a
// visit of these steps:
//
//   1. a buffer for what arrives: a receive allocation, which leaves the
//      reserve; a session that is refused waits for both buffers instead
//   2. both buffers, to process the session: a pair allocation, which waits
//   3. bytes move, both ways, as far as the two sockets let them; if a buffer
//      is filled, some more go on for it, where there are any to spare
//   4. empty buffers go back: a session with nothing to do holds none
//
// What a peer does not take at once is kept in its buffer, and its direction
// receives nothing until that is sent. So that slow peers can't take the pool
// from everybody, a loop keeps no more than its quota (RelayLoop); beyond it a
// direction looks at what has arrived (MSG_PEEK), sends what the other side
// takes, and removes just that from the socket: nothing is left in the buffer.
//
// The loop watches both sockets from their beginning to their end, edge by edge
// (EPOLLET): no call is made to wait for one. A peer is readable until a
// receive has got less than it asked for, and writable until a send has.
//
// Threads:  its loop's.
// Lifetime: owned by its context's list. When it is over it joins the ready
//           queue, and the loop that takes it from there destroys it.
class RelaySession : public ReadyQueue::Node,
                     private EventNotifier::Node,
                     private DeadlineList::Node {
 public:
  using Place = std::list<RelaySession>::iterator;

  // `backend`: a socket to connect with, of the family of the first address.
  RelaySession(RelayContext& context, OwnedFd&& client, OwnedFd&& backend);

  // Begins, as what stands there in the context's list.
  void Start(Place place);

  // Notes what epoll_wait(2) tells of a socket of a session's.
  static void Note(void* watched, uint32_t events);

  // Goes on, as far as it can.
  void Turn();

  // Ends it now: closes both connections, and resets them if bytes are lost by
  // that.
  void Abort();

  // Moves to the end of the context's list.
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
    kPausing,    // until it asks for buffers again: too many wait
    kLingering,  // until what was sent before a reset has arrived
    kOver,
  };

  // How it ends, and with that when. From kNow on: now.
  enum class End : uint8_t {
    kInOrder,   // when both directions are over
    kReset,     // likewise, but the connections are reset: a peer did so
    kNow,       // in order
    kResetNow,  // by resets: bytes are lost by it, or there is no backend
    kRefused,   // by resets, before a byte has moved: too many wait for buffers
  };

  // One end of the session. epoll(7) knows it by its address.
  struct Peer {
    RelaySession& session;
    OwnedFd fd;
    bool readable = false;
    bool writable = false;
    // Ended by the peer, or broken: it is readable until a receive says so.
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
    bool received_end = false;  // nothing more will come
    bool over = false;          // and all has been sent, or can't be
  };

  // Has the loop tell of the peer from now on. False if it can't.
  bool Watch(Peer& peer);
  // Tries the addresses, from number `address_` on, until one may answer.
  void Connect();
  // Looks whether it has answered.
  void FinishConnect();
  void ConnectNext();
  // Has buffers, or sees to it that it will be called when it has.
  void Visit();
  // Steps 1 and 2. False if that takes time.
  bool Allocate();
  // Steps 3 and 4.
  void Serve();
  // Gives back all buffers, and ends.
  void Close();
  void Linger();
  void Finish();

  void OnGranted();
  void OnDeadline();

  // Bytes that have been received and not sent.
  bool IsEmpty(const Direction& direction) const;
  // Buffers that hold some.
  uint32_t Held(const Direction& direction) const;
  void Discard(Direction& direction);
  bool CanMove(const Direction& direction) const;
  bool CanMove() const;
  bool MustEnd() const;
  void Move(Direction& direction);
  // Receives into the ring, and into spare buffers if there are any or, should
  // more have come than the ring holds, some to be had.
  void Receive(Direction& direction);
  void TakeSpares(Direction& direction);
  // One recvmsg(2) into `room`. Returns how many bytes.
  size_t Receive(Direction& direction, std::span<iovec> room, int flags);
  size_t Send(Direction& direction);
  // Sends what is received without removing it, then removes what was sent.
  void Pass(Direction& direction);
  // A peer has reset its connection: so will the other one be.
  void Break();
  void EndIfDone(Direction& direction);
  // How many of a direction's buffers may hold data beyond this visit.
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
