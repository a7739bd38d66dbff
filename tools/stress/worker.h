#ifndef TANDEM_TOOLS_STRESS_WORKER_H_
#define TANDEM_TOOLS_STRESS_WORKER_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tandem/session/session_buffers.h"
#include "tandem/tools/stress/world.h"

namespace tandem::stress {

// One stream of random operations, executed by one thread after the other.
class Worker {
 public:
  Worker(World& world, uint32_t number);

  // Works until this thread's life or the whole run is over. Call it on a new
  // thread each time.
  void Live();

  // Gives back all buffers of the worker's sessions.
  void ReleaseAll();

 private:
  // The kinds of session requests.
  enum class Request { kReceive, kPair, kUrgent, kBulk };

  void Step();

  // --- sessions (worker.cc)
  Allocation Ask(StressSession& session, Request request, Side side);
  Allocation Ask(StressSession& session, Request request, Side side,
                 Waker waker);
  void AskAndMayWait(StressSession& session);
  void AskAndPark(StressSession& session, Request request, Side side);
  void AskAndAttend(StressSession& session, Request request, Side side);
  void BlockFor(StressSession& session);
  void PollFor(StressSession& session, bool counted);
  void AfterAttempt(StressSession& session, Request request, Allocation result);
  void AfterAttendedWait(StressSession& session, WaitStatus status);
  void Release(StressSession& session);
  void Migrate(size_t at);
  void CancelSomebody();

  // --- the order of service (order.cc)
  void CheckFifo();

  // --- the records (books.cc)
  void Book(StressSession& session);
  void UnbookEmpty(StressSession& session);
  void UnbookAll(StressSession& session);
  void AdoptWoken(StressSession& session);
  void AdoptCancelled(StressSession& session);
  void CollectArrivals();

  // --- buffers outside sessions (raw.cc)
  void UseRawBuffers();
  void Burst();
  void ReleaseRaw(std::byte* buffer);

  // --- moments of rest (rest.cc)
  void Rest();
  void RenewSessions();
  void CheckBooks();
  void ProbeAlone();
  void ProbeOrder(SessionBuffers& holder, const std::vector<std::byte*>& raw);

  Tally& tally() { return world_.tallies[number_]; }
  OwnerTag raw_tag() const { return OwnerTag{0x8000'0000u | number_}; }

  World& world_;
  const uint32_t number_;
  Decisions decisions_;
  Inbox& inbox_;
  std::vector<StressSession*> owned_;
  std::vector<StressSession*> arrived_;
  uint32_t uncounted_ = 0;  // operations not yet in World::round_ops
};

}  // namespace tandem::stress

#endif  // TANDEM_TOOLS_STRESS_WORKER_H_
