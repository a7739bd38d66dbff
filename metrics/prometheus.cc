#include "tandem/metrics/prometheus.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>

namespace tandem {
namespace {

MetricLabels With(MetricLabels labels, std::string name, std::string value) {
  labels.push_back({std::move(name), std::move(value)});
  return labels;
}

// The bounds of all buckets except the last, in seconds: 2^i microseconds.
constexpr auto kWaitBounds = [] {
  std::array<double,
             std::tuple_size_v<decltype(WaitClassSnapshot::buckets)> - 1>
      bounds = {};
  for (size_t i = 0; i < bounds.size(); ++i) {
    bounds[i] = static_cast<double>(uint64_t{1} << i) / 1e6;
  }
  return bounds;
}();

}  // namespace

PoolMetrics MetricsOf(const BufferPool& pool) {
  return {.labels = {{"pool", pool.name()}},
          .snapshot = {.pool = pool.Snapshot(), .classes = {}}};
}

PoolMetrics MetricsOf(const SessionAllocator& sessions) {
  return {.labels = {{"pool", sessions.pool().name()}},
          .snapshot = sessions.Snapshot()};
}

void AddPools(std::span<const PoolMetrics> pools, Exposition& to) {
  AddFields(
      "tandem_pool_", kPoolFields,
      [&](auto add) {
        for (const PoolMetrics& pool : pools) {
          add(pool.labels, pool.snapshot.pool);
        }
      },
      to);
  AddFields(
      "tandem_pool_core_", kCoreFields,
      [&](auto add) {
        for (const PoolMetrics& pool : pools) {
          const PoolSnapshot& snapshot = pool.snapshot.pool;
          for (size_t i = 0; i < snapshot.cores.size(); ++i) {
            add(With(pool.labels, "core", std::to_string(i)),
                snapshot.cores[i]);
          }
          add(With(pool.labels, "core", "cold"), snapshot.cold);
        }
      },
      to);
  AddFields(
      "tandem_pool_cache_", kCacheFields,
      [&](auto add) {
        for (const PoolMetrics& pool : pools) {
          const auto& threads = pool.snapshot.pool.threads;
          for (size_t i = 0; i < threads.size(); ++i) {
            add(With(pool.labels, "cache", std::to_string(i)), threads[i]);
          }
        }
      },
      to);
  const auto each_class = [&](auto add) {
    for (const PoolMetrics& pool : pools) {
      for (const WaitClassSnapshot& c : pool.snapshot.classes) {
        add(With(pool.labels, "class", c.name), c);
      }
    }
  };
  AddFields("tandem_session_", kClassFields, each_class, to);
  to.Histogram("tandem_session_wait_seconds",
               "How long those waited that were served.");
  each_class([&](const MetricLabels& labels, const WaitClassSnapshot& c) {
    to.Add(labels, kWaitBounds, c.buckets,
           static_cast<double>(c.wait_nanos) / 1e9);
  });
}

std::string PrometheusText(std::span<const PoolMetrics> pools) {
  Exposition text;
  AddPools(pools, text);
  return text.text();
}

}  // namespace tandem
