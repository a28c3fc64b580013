#include "server/server_metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <sstream>
#include <utility>

namespace sightline {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily Family(std::string name, std::string help, MetricType type) {
  return {.name = std::move(name), .help = std::move(help), .type = type};
}

ClientMetric Sample(MetricType type, double value, std::vector<ClientMetric::Label> labels = {}) {
  ClientMetric metric;
  metric.label = std::move(labels);
  (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  return metric;
}

MetricFamily Single(std::string name, std::string help, MetricType type, int64_t value) {
  MetricFamily family = Family(std::move(name), std::move(help), type);
  family.metric.push_back(Sample(type, static_cast<double>(value)));
  return family;
}

// Metrics of one name must stand together whatever the order in which rooms told them.
void AddOthers(const std::vector<Metric>& others, std::vector<MetricFamily>* families) {
  for (const Metric& other : others) {
    const auto type =
        other.type == Metric::Type::kCounter ? MetricType::Counter : MetricType::Gauge;
    auto family = std::find_if(families->begin(), families->end(),
                               [&](const MetricFamily& f) { return f.name == other.name; });
    if (family == families->end())
      family = families->insert(family, Family(other.name, other.help, type));
    std::vector<ClientMetric::Label> labels;
    for (const auto& [name, value] : other.labels) labels.push_back({name, value});
    family->metric.push_back(Sample(family->type, other.value, std::move(labels)));
  }
}

}  // namespace

void ServerMetrics::CountRequest(Route route, int status) {
  const auto found = std::find(kStatuses.begin(), kStatuses.end() - 1, status);
  ++requests_[static_cast<size_t>(route)][static_cast<size_t>(found - kStatuses.begin())];
}

void ServerMetrics::CountIngest(const Ingested& ingested) {
  accepted_ += ingested.accepted;
  for (size_t i = 0; i < kMalformedReasons; ++i)
    if (ingested.rejected_by[i] != 0) rejected_[i] += ingested.rejected_by[i];
}

void ServerMetrics::ObserveIngest(double seconds) {
  const auto bound = std::lower_bound(kSecondsBounds.begin(), kSecondsBounds.end(), seconds);
  ++ingest_[static_cast<size_t>(bound - kSecondsBounds.begin())];
  ingest_microseconds_ += static_cast<int64_t>(seconds * 1e6);
}

std::string ServerMetrics::Text(const Held& held, const std::vector<Metric>& others) const {
  constexpr auto kCounter = MetricType::Counter;
  constexpr auto kGauge = MetricType::Gauge;
  std::vector<MetricFamily> families;

  MetricFamily requests = Family("sightline_http_requests_total",
                                 "The number of requests answered, by route and status.", kCounter);
  for (size_t route = 0; route < kRoutes; ++route) {
    for (size_t i = 0; i < kStatuses.size(); ++i) {
      const int64_t count = requests_[route][i];
      if (count == 0) continue;
      const std::string status = kStatuses[i] == 0 ? "other" : std::to_string(kStatuses[i]);
      requests.metric.push_back(Sample(
          kCounter, static_cast<double>(count),
          {{"route", std::string(ToString(static_cast<Route>(route)))}, {"status", status}}));
    }
  }
  families.push_back(std::move(requests));

  MetricFamily rejected = Family(
      "sightline_ingest_rejected_total",
      "The number of elements of POST bodies that could not be decoded, by reason.", kCounter);
  for (size_t i = 1; i < kMalformedReasons; ++i) {
    rejected.metric.push_back(
        Sample(kCounter, static_cast<double>(rejected_[i]),
               {{"reason", std::string(ToString(static_cast<MalformedReason>(i)))}}));
  }
  families.push_back(std::move(rejected));

  MetricFamily ingest =
      Family("sightline_ingest_duration_seconds",
             "The time from the headers of a POST to the answer that its detections are durable.",
             MetricType::Histogram);
  auto& histogram = ingest.metric.emplace_back().histogram;
  for (size_t i = 0; i < ingest_.size(); ++i) {
    histogram.sample_count += static_cast<uint64_t>(ingest_[i].load());
    if (i < kSecondsBounds.size())
      histogram.bucket.push_back({histogram.sample_count, kSecondsBounds[i]});
  }
  histogram.sample_sum = static_cast<double>(ingest_microseconds_) / 1e6;
  families.push_back(std::move(ingest));

  auto add = [&](const char* name, const char* help, MetricType type, int64_t value) {
    families.push_back(Single(name, help, type, value));
  };
  add("sightline_ingest_accepted_total", "The number of detections and heartbeats accepted.",
      kCounter, accepted_);
  add("sightline_ingest_memory_bytes", "The memory of the POST bodies that are being processed.",
      kGauge, held.ingest_memory_bytes);
  add("sightline_query_answer_bytes",
      "The memory of the lake's answers that are being built or sent.", kGauge,
      held.answer_memory_bytes);
  add("sightline_query_waiting", "The number of queries that wait for their turn.", kGauge,
      held.calls_waiting);
  add("sightline_query_abandoned_total",
      "The number of queries that ended because their client disconnected.", kCounter,
      calls_abandoned);
  add("sightline_http_received_bytes_total", "The bytes of request bodies received, as sent.",
      kCounter, bytes_received);
  add("sightline_http_sent_bytes_total", "The bytes of answers and event streams sent.", kCounter,
      bytes_sent);
  add("sightline_http_connections", "The number of open connections.", kGauge, connections);
  add("sightline_http_connections_refused_total",
      "The number of connections refused because server.connections_max were open.", kCounter,
      connections_refused);
  add("sightline_stream_viewers", "The number of open event streams.", kGauge, streams);
  add("sightline_stream_stalled_total",
      "The number of event streams closed because their client stopped reading.", kCounter,
      streams_stalled);
  AddOthers(others, &families);

  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

}  // namespace sightline
