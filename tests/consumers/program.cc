// A server's work, once: two sessions, and a pair for one of them.

#include <cstdio>
#include <memory>
#include <thread>

#include "tandem/metrics/prometheus.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/pool/die.h"
#include "tandem/session/blocking_wait.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"

int main() {
  auto pool =
      tandem::BufferPool::Create({.buffer_size = 4096, .capacity = 3}).value();
  auto allocator = tandem::SessionAllocator::Create(pool.get()).value();
  tandem::SessionBuffers first(*allocator), second(*allocator);
  if (first.AllocateBuffers() != tandem::Allocation::kGranted) return 1;
  if (second.AllocateBuffers(tandem::BlockingWaker()) !=
      tandem::Allocation::kWaiting) {
    return 2;
  }
  std::thread releases([&] { first.ReleaseBuffers(); });
  const tandem::WaitStatus status = tandem::BlockUntilServed(second);
  releases.join();
  if (status != tandem::WaitStatus::kGranted) return 3;
  const tandem::PoolMetrics metrics[] = {tandem::MetricsOf(*allocator)};
  if (tandem::PrometheusText(metrics).find("in_use{pool=\"buffers\"} 2") ==
      std::string::npos) {
    return 4;
  }
  std::puts("a C++ program was served");
}
