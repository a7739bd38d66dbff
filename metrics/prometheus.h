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
  // Of each of its metrics, to tell pools apart.
  MetricLabels labels;
  // Without classes if it is a pool alone.
  SessionSnapshot snapshot;
};

// Looks at a pool, or at a session layer and its pool, now. The one label is
// pool="NAME", the pool's.
//
// Threads: any. Allocates, and goes over all free buffers: once for each
// scrape, not for each request.
PoolMetrics MetricsOf(const BufferPool& pool);
PoolMetrics MetricsOf(const SessionAllocator& sessions);

// What Prometheus scrapes of any number of pools (kExpositionType says of what
// type the body is):
//
//   tandem_pool_...       kPoolFields
//   tandem_pool_core_...  kCoreFields, label core: a number, or "cold"
//   tandem_pool_cache_... kCacheFields, label cache: a number
//   tandem_session_...    kClassFields, label class: its name; and
//                         tandem_session_wait_seconds, a histogram
//
// Numbers that only grow since creation are counters.
// docs/grafana_dashboard.json plots what matters most.
std::string PrometheusText(std::span<const PoolMetrics> pools);

// The same, among other families.
void AddPools(std::span<const PoolMetrics> pools, Exposition& to);

// A family for each field. `rows` calls what it is given, (labels, row), for
// each row of which there is to be a metric.
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
