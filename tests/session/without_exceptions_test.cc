// E1: the pool and the session layer, except for the Asio adapter, compile and
// work with -fno-exceptions -fno-rtti.

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdlib>
#include <memory>

#include "tandem/pool/buffer_pool.h"
#include "tandem/session/blocking_wait.h"
#include "tandem/session/coroutine.h"
#include "tandem/session/deadline_list.h"
#include "tandem/session/event_notifier.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"

#if defined(__cpp_exceptions) || defined(__cpp_rtti)
#error "compiled with what it is to do without"
#endif

namespace tandem {
namespace {

struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() {}
  };
};

Detached Wait(SessionBuffers& session, EventNotifier& notifier, bool& served) {
  const Allocation got = co_await BuffersFor(session, notifier);
  served = got == Allocation::kGranted;
}

bool Works() {
  const auto refused = BufferPool::Create({.capacity = 0});
  if (refused.ok()) return false;
  const auto pool = BufferPool::Create({.buffer_size = 256, .capacity = 4});
  if (!pool.ok()) return false;
  const auto sessions = SessionAllocator::Create(pool->get());
  if (!sessions.ok()) return false;
  const auto notifier = EventNotifier::Create();
  if (!notifier.ok()) return false;
  std::byte* const one = (*pool)->Acquire();
  SessionBuffers holder(**sessions), blocked(**sessions), awaits(**sessions);
  if (holder.AllocateBuffers() != Allocation::kGranted) return false;
  if (blocked.AllocateBuffers(BlockingWaker()) != Allocation::kWaiting) {
    return false;
  }
  bool served = false;
  Wait(awaits, **notifier, served);
  const auto now = std::chrono::steady_clock::now();
  if (BlockUntilServed(blocked, now) != WaitStatus::kCancelled) return false;
  (*pool)->Release(one);
  holder.ReleaseBuffers();
  return (*notifier)->Dispatch() == 1 && served;
}

}  // namespace
}  // namespace tandem

int main() { return tandem::Works() ? EXIT_SUCCESS : EXIT_FAILURE; }
