#ifndef TANDEM_METRICS_PROMETHEUS_H_
#define TANDEM_METRICS_PROMETHEUS_H_

#include <span>
#include <string>
#include <string_view>

#include "tandem/metrics/exposition.h"
#include "tandem/metrics/fields.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/session/session_allocator.h"

namespace tandem {

// One pool, with or without its session layer, at one moment.
struct PoolMetrics {
  // Labels of each of its metrics, which tell pools apart.
  MetricLabels labels;
  // Has no classes if the pool has no session layer.
  SessionSnapshot snapshot;
};

// Takes a snapshot of a pool, or of a session layer and its pool. The only
// label is pool="NAME", with the pool's name.
//
// Threads: any.
// Cost:    allocates, and visits all free buffers: call it once for each
//          scrape, not for each request.
PoolMetrics MetricsOf(const BufferPool& pool);
PoolMetrics MetricsOf(const SessionAllocator& sessions);

// The text that Prometheus scrapes, for any number of pools (kExpositionType is
// its Content-Type):
//
//   tandem_pool_...       kPoolFields
//   tandem_pool_core_...  kCoreFields, label core: a number, or "cold"
//   tandem_pool_cache_... kCacheFields, label cache: a number
//   tandem_session_...    kClassFields, label class: its name; and
//                         tandem_session_wait_seconds, a histogram
//
// Numbers that only grow since creation are counters.
// docs/grafana_dashboard.json plots the most important numbers.
std::string PrometheusText(std::span<const PoolMetrics> pools);

// Appends the same to a text with other families.
void AddPools(std::span<const PoolMetrics> pools, Exposition& to);

// Appends a family for each field. `rows` calls its argument with (labels, row)
// for each row that gets a metric.
template <class Struct, size_t n, class Rows>
void AddFields(std::string_view prefix, const Field<Struct> (&fields)[n],
               const Rows& rows, Exposition& to) {
  for (const Field<Struct>& field : fields) {
    const std::string name = std::string(prefix).append(field.name);
    field.grows ? to.Counter(name, field.help) : to.Gauge(name, field.help);
    rows([&](const MetricLabels& labels, const Struct& row) {
      to.Add(labels, field.of(row));
    });
  }
}

}  // namespace tandem

#endif  // TANDEM_METRICS_PROMETHEUS_H_
