#include "tandem/tools/relay/relay.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace tandem {
namespace {

// Limits a time to one year, so that it can be added to any moment.
std::chrono::nanoseconds FromNow(absl::Duration time) {
  return absl::ToChronoNanoseconds(std::min(time, absl::Hours(24 * 365)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Relay>> Relay::Create(
    const RelayOptions& options) {
  if (absl::Status valid = Validate(options); !valid.ok()) return valid;
  const auto listen = ResolveAddress("listen", options.listen);
  if (!listen.ok()) return listen.status();
  auto backends = ResolveAddresses("backend", options.backend);
  if (!backends.ok()) return std::move(backends).status();
  // A name may have addresses of a family that the system does not support.
  std::erase_if(*backends, [](const SocketAddress& address) {
    return !OpenSocket(address.family()).valid() && errno == EAFNOSUPPORT;
  });
  if (backends->empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--backend is \"", options.backend,
                     "\": the system has no address of that family"));
  }

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
  // All quotas together leave the reserve and one buffer for a receive.
  const size_t keep = options.buffers - options.reserve - 1;
  for (size_t i = 0; i < options.threads; ++i) {
    const RelayLimits limits = {
        .quota = keep / options.threads + (i < keep % options.threads ? 1 : 0),
        .max_waiters = options.max_waiters,
        .idle_timeout = FromNow(options.idle_timeout),
        .connect_timeout = FromNow(options.connect_timeout),
        .drain_timeout = FromNow(options.drain_timeout)};
    auto loop =
        RelayLoop::Create(*relay->allocator_, std::move(listeners->sockets[i]),
                          *backends, limits, relay->shortage_);
    if (!loop.ok()) return std::move(loop).status();
    relay->loops_.push_back(*std::move(loop));
  }
  // A session uses two descriptors.
  if (const OwnedFd next = OpenSocket(backends->front().family());
      !next.valid() || next.get() + 1 >= DescriptorLimit()) {
    return absl::ResourceExhaustedError(
        "there are too few file descriptors for a session: see ulimit -n");
  }
  return relay;
}

absl::Status Relay::Start() {
  threads_.reserve(loops_.size());
  for (const auto& loop : loops_) {
    ++running_;
    try {
      threads_.emplace_back([this, &loop = *loop] {
        loop.Run();
        --running_;
      });
    } catch (const std::system_error& error) {
      --running_;
      Abort();
      Join();
      return absl::ResourceExhaustedError(
          absl::StrCat("--threads is ", loops_.size(),
                       ": cannot start a thread: ", error.code().message()));
    }
  }
  return absl::OkStatus();
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
