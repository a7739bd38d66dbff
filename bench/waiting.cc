// Measures how long a waiter waits for its wake-up once its buffers are there,
// under overload: 10,000 sessions, 64 buffers, two event loops, and arrivals
// on a schedule of their own (open loop) that is faster than buffers come
// back. The peer is as fair: a list under a mutex, first come, first served,
// with hand-over.
//
//   bazel run -c opt //bench:waiting
//
// A session that has its pair keeps it for half a millisecond, as if it waited
// for a peer, and returns it. The time runs from just before the release that
// serves a session to the moment at which its event loop runs it. In a second
// run every other session leaves after 20 ms if it still waits. A second table
// shows threads that block (blocked_threads.h).

#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "tandem/bench/blocked_threads.h"
#include "tandem/bench/fair_list.h"
#include "tandem/bench/peers.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/session/event_notifier.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"
#include "tandem/session/waker.h"

namespace tandem::bench {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr size_t kSessions = 10'000;
constexpr size_t kBuffers = 64;
constexpr size_t kLoops = 2;
constexpr auto kKeep = microseconds(500);
constexpr auto kPatience = milliseconds(20);
// 32 pairs for 0.5 ms each are at most 64,000 a second.
constexpr double kArrivalsPerSecond = 80'000;
constexpr auto kRun = std::chrono::seconds(4);

// The beginning of the release that the calling thread is in.
thread_local Clock::time_point release_began;

// The common part of both kinds of sessions.
struct Session : EventNotifier::Node {
  EventNotifier* notifier = nullptr;
  void* loop = nullptr;
  Clock::time_point released;  // the release that served it
  bool busy = false;           // waits, or has its pair
  bool waits = false;
  uint64_t wait = 0;  // number of its wait

  void Wake() {
    released = release_began;
    notifier->Post(*this);
  }
};

class TandemPeer {
 public:
  static constexpr char kName[] = "Tandem";

  TandemPeer()
      : pool_(*BufferPool::Create(
            {.buffer_size = kBufferSize, .capacity = kBuffers})),
        allocator_(*SessionAllocator::Create(pool_.get(),
                                             {.max_waiters = kSessions})) {}

  struct Waiting : Session {
    explicit Waiting(TandemPeer& peer) : buffers(*peer.allocator_) {}
    SessionBuffers buffers;
  };

  bool TakeOrWait(Waiting& session) {
    const Allocation result = session.buffers.AllocateBuffers(
        {.wake =
             [](void* context) noexcept {
               static_cast<Waiting*>(context)->Wake();
             },
         .context = &session});
    if (result != Allocation::kGranted && result != Allocation::kWaiting) {
      std::abort();
    }
    return result == Allocation::kGranted;
  }
  void Collect(Waiting& session) {
    if (session.buffers.FinishWait() != WaitStatus::kGranted) std::abort();
  }
  void Release(Waiting& session) { session.buffers.ReleaseBuffers(); }
  bool Cancel(Waiting& session) { return session.buffers.CancelWait(); }

 private:
  std::unique_ptr<BufferPool> pool_;
  std::unique_ptr<SessionAllocator> allocator_;
};

class FairPeer {
 public:
  static constexpr char kName[] = "fair list";

  struct Waiting : Session, FairList::Waiter {
    explicit Waiting(FairPeer& /*peer*/) {}
  };

  bool TakeOrWait(Waiting& session) { return list_.TakeOrWait(session); }
  void Collect(Waiting& /*session*/) {}
  void Release(Waiting& session) {
    const std::array<std::byte*, 2> pair = {session.buffers[0],
                                            session.buffers[1]};
    list_.Release(pair, [](FairList::Waiter& served) {
      static_cast<Waiting&>(served).Wake();
    });
  }
  bool Cancel(Waiting& session) { return list_.Cancel(session); }

 private:
  FairList list_{kBuffers};
};

// One event loop and its share of the sessions.
template <class Peer>
class Loop {
 public:
  using Waiting = typename Peer::Waiting;

  Loop(Peer& peer, uint32_t seed, bool cancels)
      : peer_(peer),
        random_(seed),
        cancels_(cancels),
        notifier_(*EventNotifier::Create()) {
    for (size_t i = 0; i < kSessions / kLoops; ++i) {
      Waiting& session = sessions_.emplace_back(peer);
      session.notifier = notifier_.get();
      session.loop = this;
      session.on_ready = [](EventNotifier::Node& node) {
        auto& ready = static_cast<Waiting&>(static_cast<Session&>(node));
        static_cast<Loop*>(ready.loop)->Woken(ready);
      };
    }
  }

  void Run(Clock::time_point start) {
    std::exponential_distribution<double> gap(kArrivalsPerSecond / kLoops);
    const auto next_gap = [&] {
      return nanoseconds(static_cast<int64_t>(gap(random_) * 1e9));
    };
    Clock::time_point arrival = start + next_gap();
    const Clock::time_point end = start + kRun;
    size_t next = 0;
    for (;;) {
      const Clock::time_point now = Clock::now();
      if (now >= end) break;
      // Handles all arrivals up to now, however late this loop is.
      for (; arrival <= now; arrival += next_gap()) {
        ++arrivals;
        Arrive(sessions_[next], now);
        next = (next + 1) % sessions_.size();
      }
      while (!held_.empty() && held_.front().first <= now) {
        Waiting& session = *held_.front().second;
        held_.pop_front();
        Return(session);
      }
      while (!leaving_.empty() && leaving_.front().due <= now) {
        const Leaving leaving = leaving_.front();
        leaving_.pop_front();
        Leave(leaving);
      }
      pollfd wait = {.fd = notifier_->fd(), .events = POLLIN, .revents = 0};
      if (poll(&wait, 1, 0) > 0) notifier_->Dispatch();
    }
  }

  // Ends all waits and returns all buffers. Requires that all loops
  // have stopped.
  void Finish() {
    notifier_->Dispatch();
    for (Waiting& session : sessions_) {
      if (session.waits && peer_.Cancel(session)) session.waits = false;
    }
  }
  void Drain() {
    notifier_->Dispatch();
    while (!held_.empty()) {
      Waiting& session = *held_.front().second;
      held_.pop_front();
      Return(session);
    }
  }

  std::vector<int64_t> nanos;  // from release to wake-up
  uint64_t arrivals = 0;
  uint64_t cancelled = 0;

 private:
  struct Leaving {
    Clock::time_point due;
    Waiting* session;
    uint64_t wait;
  };

  void Arrive(Waiting& session, Clock::time_point now) {
    if (session.busy) return;  // its connection has more to do already
    session.busy = true;
    ++session.wait;
    session.waits = true;
    if (peer_.TakeOrWait(session)) {
      Hold(session, now);
    } else if (cancels_ && session.wait % 2 == 0) {
      leaving_.push_back({now + kPatience, &session, session.wait});
    }
  }
  void Woken(Waiting& session) {
    const Clock::time_point now = Clock::now();
    nanos.push_back(nanoseconds(now - session.released).count());
    peer_.Collect(session);
    Hold(session, now);
  }
  void Hold(Waiting& session, Clock::time_point now) {
    session.waits = false;
    held_.emplace_back(now + kKeep, &session);
  }
  void Return(Waiting& session) {
    session.busy = false;
    release_began = Clock::now();
    peer_.Release(session);
  }
  void Leave(const Leaving& leaving) {
    Waiting& session = *leaving.session;
    if (!session.waits || session.wait != leaving.wait) return;
    release_began = Clock::now();
    if (!peer_.Cancel(session)) return;
    session.waits = session.busy = false;
    ++cancelled;
  }

  Peer& peer_;
  std::mt19937 random_;
  const bool cancels_;
  std::unique_ptr<EventNotifier> notifier_;
  std::deque<Waiting> sessions_;
  std::deque<std::pair<Clock::time_point, Waiting*>> held_;
  std::deque<Leaving> leaving_;
};

double At(const std::vector<int64_t>& sorted, double part) {
  if (sorted.empty()) return 0;
  const auto at =
      static_cast<size_t>(part * static_cast<double>(sorted.size()));
  return static_cast<double>(sorted[std::min(at, sorted.size() - 1)]) / 1000;
}

template <class Peer>
void Measure(bool cancels) {
  Peer peer;
  std::deque<Loop<Peer>> loops;
  for (size_t i = 0; i < kLoops; ++i) {
    loops.emplace_back(peer, static_cast<uint32_t>(i + 1), cancels);
  }
  const Clock::time_point start = Clock::now() + milliseconds(10);
  std::vector<std::thread> threads;
  for (Loop<Peer>& loop : loops) {
    threads.emplace_back([&loop, start] { loop.Run(start); });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<int64_t> nanos;
  uint64_t arrivals = 0;
  uint64_t cancelled = 0;
  for (Loop<Peer>& loop : loops) {
    nanos.insert(nanos.end(), loop.nanos.begin(), loop.nanos.end());
    arrivals += loop.arrivals;
    cancelled += loop.cancelled;
  }
  for (Loop<Peer>& loop : loops) loop.Finish();
  for (Loop<Peer>& loop : loops) loop.Drain();
  std::sort(nanos.begin(), nanos.end());
  const double seconds = std::chrono::duration<double>(kRun).count();
  std::printf(
      "| %-9s | %-3s | %8.0f | %8.0f | %8.0f | %6.1f | %6.1f | %8.1f |\n",
      Peer::kName, cancels ? "yes" : "no",
      static_cast<double>(arrivals) / seconds,
      static_cast<double>(nanos.size()) / seconds,
      static_cast<double>(cancelled) / seconds, At(nanos, 0.5), At(nanos, 0.99),
      At(nanos, 0.9999));
}

void Main() {
  std::printf(
      "%zu sessions for %zu buffers, %zu event loops; microseconds from "
      "release "
      "to wake-up\n\n"
      "| who       | cancels | arrivals/s | grants/s | cancels/s | p50 | p99 | "
      "p99.99 |\n|---|---|--:|--:|--:|--:|--:|--:|\n",
      kSessions, kBuffers, kLoops);
  for (const bool cancels : {false, true}) {
    Measure<TandemPeer>(cancels);
    Measure<FairPeer>(cancels);
  }
  // There are records for twice the waiters and the buffers, and 512 more.
  std::printf(
      "\nqueue's memory: Tandem %zu KiB, whatever is cancelled; fair "
      "list %zu KiB in the sessions\n",
      (2 * (kSessions + kBuffers) + 512) * 68 / 1024,
      kSessions * sizeof(FairList::Waiter) / 1024);
  MeasureBlockedThreads();
}

}  // namespace
}  // namespace tandem::bench

int main() { tandem::bench::Main(); }
