#include "tandem/tools/relay/relay.h"

#include <chrono>
#include <cstddef>
#include <memory>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tandem {

absl::StatusOr<std::unique_ptr<Relay>> Relay::Create(
    const RelayOptions& options) {
  if (absl::Status valid = Validate(options); !valid.ok()) return valid;
  const auto listen = ResolveAddress("listen", options.listen);
  if (!listen.ok()) return listen.status();
  const auto backend = ResolveAddress("backend", options.backend);
  if (!backend.ok()) return backend.status();

  std::unique_ptr<Relay> relay(new Relay);
  auto pool = BufferPool::Create({.name = "relay",
                                  .buffer_size = options.buffer_size,
                                  .capacity = options.buffers,
                                  .reserve = options.reserve});
  if (!pool.ok()) return std::move(pool).status();
  relay->pool_ = *std::move(pool);
  auto allocator = SessionAllocator::Create(
      relay->pool_.get(), {.max_waiters = options.max_waiters});
  if (!allocator.ok()) return std::move(allocator).status();
  relay->allocator_ = *std::move(allocator);

  auto listeners = Listen(*listen, static_cast<int>(options.threads));
  if (!listeners.ok()) return std::move(listeners).status();
  relay->address_ = listeners->address;
  // All quotas together leave a buffer for a receive beside the reserve.
  const size_t keep = options.buffers - options.reserve - 1;
  for (size_t i = 0; i < options.threads; ++i) {
    const RelayLoop::Limits limits = {
        .quota = keep / options.threads + (i < keep % options.threads ? 1 : 0),
        .max_waiters = options.max_waiters,
        .idle_timeout = absl::ToChronoNanoseconds(options.idle_timeout)};
    auto loop =
        RelayLoop::Create(*relay->allocator_, std::move(listeners->sockets[i]),
                          *backend, limits, relay->shortage_);
    if (!loop.ok()) return std::move(loop).status();
    relay->loops_.push_back(*std::move(loop));
  }
  return relay;
}

void Relay::Start() {
  running_ = static_cast<uint32_t>(loops_.size());
  for (const auto& loop : loops_) {
    threads_.emplace_back([this, &loop = *loop] {
      loop.Run();
      --running_;
    });
  }
}

void Relay::Drain() {
  for (const auto& loop : loops_) loop->Drain();
}

void Relay::Abort() {
  for (const auto& loop : loops_) loop->Abort();
}

void Relay::Join() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

RelaySnapshot Relay::Snapshot() const {
  RelaySnapshot snapshot;
  for (const auto& loop : loops_) {
    auto& thread = snapshot.threads.emplace_back();
    thread.ForEach(loop->counters(),
                   [](uint64_t& to, const ThreadCounter& from) { to = from; });
    snapshot.total.ForEach(thread,
                           [](uint64_t& to, uint64_t from) { to += from; });
  }
  snapshot.sessions = allocator_->Snapshot();
  return snapshot;
}

}  // namespace tandem
