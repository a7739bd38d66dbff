#include "tandem/tools/relay/stats/metrics.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "prometheus/client_metric.h"
#include "prometheus/metric_family.h"
#include "prometheus/metric_type.h"
#include "prometheus/text_serializer.h"
#include "tandem/pool/snapshot.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/wait_counters.h"

namespace tandem {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

class Families {
 public:
  // A family begins; what Add adds is of it.
  Families& Gauge(std::string name, std::string_view help) {
    families_.push_back({.name = std::move(name),
                         .help = std::string(help),
                         .type = MetricType::Gauge,
                         .metric = {}});
    return *this;
  }
  Families& Counter(std::string_view name, std::string_view help) {
    Gauge(absl::StrCat(name, "_total"), help);
    families_.back().type = MetricType::Counter;
    return *this;
  }

  Families& Add(double value, Labels labels = {}) {
    ClientMetric metric;
    metric.label = std::move(labels);
    if (families_.back().type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    families_.back().metric.push_back(std::move(metric));
    return *this;
  }

  // A family for each field, with one metric for each of `rows`.
  template <class Struct, size_t n>
  void AddFields(std::string_view prefix,
                 const StatusField<Struct> (&fields)[n], const char* label,
                 const std::vector<Struct>& rows) {
    for (const StatusField<Struct>& field : fields) {
      const std::string name = absl::StrCat(prefix, field.name);
      field.grows ? Counter(name, field.help) : Gauge(name, field.help);
      for (size_t i = 0; i < rows.size(); ++i) {
        Add(static_cast<double>(rows[i].*field.member),
            {{label, std::to_string(i)}});
      }
    }
  }

  void Add(MetricFamily family) { families_.push_back(std::move(family)); }

  std::string Serialize() const {
    return prometheus::TextSerializer().Serialize(families_);
  }

 private:
  std::vector<MetricFamily> families_;
};

void AddRelay(const RelayStatus& status, Families& to) {
  to.Gauge("tandem_relay_uptime_seconds", "Time since the relay began.")
      .Add(status.uptime);
  to.Gauge("tandem_relay_draining", "1: it accepts no more connections.")
      .Add(status.draining);
  to.Gauge("tandem_relay_sessions", "Sessions that are open.");
  const std::vector<LoopNumbers>& loops = status.snapshot.threads;
  for (size_t i = 0; i < loops.size(); ++i) {
    to.Add(static_cast<double>(loops[i].open()), {{"loop", std::to_string(i)}});
  }
  to.AddFields("tandem_relay_", kLoopFields, "loop", loops);
}

void AddPool(const PoolSnapshot& pool, Families& to) {
  to.Gauge("tandem_pool_buffers", "Buffers, by where they are.")
      .Add(pool.available, {{"state", "available"}})
      .Add(pool.cached, {{"state", "cached"}})
      .Add(pool.in_use, {{"state", "in_use"}});
  to.Gauge("tandem_pool_capacity_buffers", "All buffers.").Add(pool.capacity);
  to.Gauge("tandem_pool_reserve_buffers",
           "Buffers that only a pair allocation may take.")
      .Add(pool.reserve);
  to.Gauge("tandem_pool_short_allocations",
           "Allocations that are short of buffers.")
      .Add(pool.shortages);
  to.Gauge("tandem_pool_pressed", "1: thread caches are bypassed.")
      .Add(pool.pressed);
  to.Counter("tandem_pool_barriers", "System calls made to take bias away.")
      .Add(static_cast<double>(pool.barriers));
  to.Counter("tandem_pool_barrier_refusals", "Those that the system refused.")
      .Add(static_cast<double>(pool.refusals));

  to.Gauge("tandem_pool_core_buffers", "Buffers in each core's free list.");
  for (size_t i = 0; i < pool.cores.size(); ++i) {
    to.Add(static_cast<double>(pool.cores[i].buffers),
           {{"core", std::to_string(i)}});
  }
  to.Add(static_cast<double>(pool.cold.buffers), {{"core", "cold"}});
  to.Counter("tandem_pool_core_batches",
             "Batches that came to or left each core's free list.");
  for (size_t i = 0; i < pool.cores.size(); ++i) {
    to.Add(static_cast<double>(pool.cores[i].changes),
           {{"core", std::to_string(i)}});
  }
  to.Add(static_cast<double>(pool.cold.changes), {{"core", "cold"}});

  using Thread = PoolSnapshot::Thread;
  const auto each_cache = [&](auto number) {
    for (size_t i = 0; i < pool.threads.size(); ++i) {
      to.Add(number(pool.threads[i]), {{"cache", std::to_string(i)}});
    }
  };
  to.Gauge("tandem_pool_cache_buffers", "Buffers in each thread's cache.");
  each_cache([](const Thread& thread) { return thread.cached; });
  to.Gauge("tandem_pool_cache_limit_buffers", "Most that it may hold now.");
  each_cache([](const Thread& thread) { return thread.limit; });
  to.Gauge("tandem_pool_cache_biased", "1: its owner uses it without atomics.");
  each_cache([](const Thread& thread) { return thread.biased; });
  to.AddFields("tandem_pool_cache_", kCacheFields, "cache", pool.threads);
}

void AddClasses(const std::vector<WaitClassSnapshot>& classes, Families& to) {
  const auto each_class = [&](auto number) {
    for (const WaitClassSnapshot& c : classes) {
      to.Add(static_cast<double>(number(c)), {{"class", c.name}});
    }
  };
  using Class = WaitClassSnapshot;
  to.Gauge("tandem_session_waiting", "Sessions that wait for buffers.");
  each_class([](const Class& c) { return c.waiting; });
  to.Counter("tandem_session_waits", "Waits that began.");
  each_class([](const Class& c) { return c.waits; });
  to.Counter("tandem_session_cancels", "Waits that the session left.");
  each_class([](const Class& c) { return c.cancels; });

  MetricFamily family = {.name = "tandem_session_wait_seconds",
                         .help = "How long those waited that were served.",
                         .type = MetricType::Histogram,
                         .metric = {}};
  for (const Class& c : classes) {
    ClientMetric& metric = family.metric.emplace_back();
    metric.label = {{"class", c.name}};
    ClientMetric::Histogram& histogram = metric.histogram;
    histogram.sample_sum = static_cast<double>(c.wait_nanos) / 1e9;
    for (size_t i = 0; i < kWaitBuckets; ++i) {
      histogram.sample_count += c.buckets[i];
      histogram.bucket.push_back(
          {.cumulative_count = histogram.sample_count,
           .upper_bound = i + 1 < kWaitBuckets
                              ? static_cast<double>(uint64_t{1} << i) / 1e6
                              : std::numeric_limits<double>::infinity()});
    }
  }
  to.Add(std::move(family));
}

}  // namespace

std::string Metrics(const RelayStatus& status) {
  Families families;
  AddRelay(status, families);
  AddPool(status.snapshot.sessions.pool, families);
  AddClasses(status.snapshot.sessions.classes, families);
  return families.Serialize();
}

}  // namespace tandem
