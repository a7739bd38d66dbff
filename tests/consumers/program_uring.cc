// A coroutine waits for a pair, which comes as a completion of a ring.

#include <liburing.h>

#include <coroutine>
#include <cstdio>
#include <exception>

#include "tandem/pool/buffer_pool.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"
#include "tandem/session/uring_buffers.h"
#include "tandem/session/uring_wait.h"

struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

int main() {
  io_uring ring;
  if (io_uring_queue_init(8, &ring, 0) != 0) {
    std::puts("there is no io_uring here");
    return 0;
  }
  auto pool = tandem::BufferPool::Create(
                  {.buffer_size = 4096, .capacity = 3, .pinned = true})
                  .value();
  if (!tandem::RegisterRegion(ring, *pool).ok()) return 1;
  auto allocator = tandem::SessionAllocator::Create(pool.get()).value();
  auto loop = tandem::UringLoop::Create(ring).value();
  tandem::SessionBuffers first(*allocator), second(*allocator);
  if (first.AllocateBuffers() != tandem::Allocation::kGranted) return 2;
  bool served = false;
  const auto wait = [&]() -> Detached {
    const tandem::Allocation got = co_await tandem::BuffersFor(second, *loop);
    served = got == tandem::Allocation::kGranted;
  };
  wait();
  first.ReleaseBuffers();
  while (!served) {
    io_uring_submit_and_wait(&ring, loop->Prepare() ? 1 : 0);
    for (io_uring_cqe* cqe; io_uring_peek_cqe(&ring, &cqe) == 0;) {
      loop->Handle(*cqe);
      io_uring_cqe_seen(&ring, cqe);
    }
  }
  io_uring_queue_exit(&ring);
  std::puts("an io_uring program was served");
}
