// A coroutine in Asio waits for a pair.

#include <asio.hpp>
#include <cstdio>

#include "tandem/pool/buffer_pool.h"
#include "tandem/session/asio_wait.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"

int main() {
  auto pool =
      tandem::BufferPool::Create({.buffer_size = 4096, .capacity = 3}).value();
  auto allocator = tandem::SessionAllocator::Create(pool.get()).value();
  asio::io_context context;
  auto loop = tandem::AsioLoop::Create(context).value();
  tandem::SessionBuffers first(*allocator), second(*allocator);
  bool served = first.AllocateBuffers() != tandem::Allocation::kGranted;
  const auto wait = [&]() -> asio::awaitable<void> {
    served = co_await tandem::BuffersFor(second, *loop) ==
             tandem::Allocation::kGranted;
    loop->Stop();
  };
  asio::co_spawn(context, wait(), asio::detached);
  asio::post(context, [&] { first.ReleaseBuffers(); });
  context.run();
  if (!served) return 1;
  std::puts("an Asio program was served");
}
