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

// The format wants all samples of a name together, in whatever order the rooms report them.
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

  MetricFamily requests =
      Family("sightline_http_requests_total", "Answered requests, by route and status.", kCounter);
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

  MetricFamily rejected =
      Family("sightline_ingest_rejected_total",
             "Elements of posted bodies that could not be decoded, by reason.", kCounter);
  for (size_t i = 1; i < kMalformedReasons; ++i) {
    rejected.metric.push_back(
        Sample(kCounter, static_cast<double>(rejected_[i]),
               {{"reason", std::string(ToString(static_cast<MalformedReason>(i)))}}));
  }
  families.push_back(std::move(rejected));

  MetricFamily ingest =
      Family("sightline_ingest_duration_seconds",
             "Time from the headers of a POST to the answer that its detections are durable.",
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
  add("sightline_ingest_accepted_total", "Accepted detections and heartbeats.", kCounter,
      accepted_);
  add("sightline_ingest_memory_bytes", "Memory that posted bodies in progress hold.", kGauge,
      held.ingest_memory_bytes);
  add("sightline_query_answer_bytes",
      "Memory that the lake's answers hold, from making them to sending them.", kGauge,
      held.answer_memory_bytes);
  add("sightline_query_answer_disk_bytes",
      "Disk space that the lake's answers hold, from making them to sending them.", kGauge,
      held.answer_disk_bytes);
  add("sightline_query_waiting", "Queries of the lake that wait for their turn.", kGauge,
      held.calls_waiting);
  add("sightline_query_abandoned_total",
      "Queries of the lake that ended because their client went away.", kCounter, calls_abandoned);
  add("sightline_http_received_bytes_total", "Bytes of request bodies, as they were sent.",
      kCounter, bytes_received);
  add("sightline_http_sent_bytes_total", "Bytes of responses and streams.", kCounter, bytes_sent);
  add("sightline_http_connections", "Open connections.", kGauge, connections);
  add("sightline_http_connections_refused_total",
      "Connections refused because server.connections_max was reached.", kCounter,
      connections_refused);
  add("sightline_http_connections_evicted_total",
      "Connections without a request that were closed to make room for others.", kCounter,
      connections_evicted);
  add("sightline_stream_viewers", "Open streams.", kGauge, streams);
  add("sightline_stream_stalled_total", "Streams ended because their client stopped reading.",
      kCounter, streams_stalled);
  AddOthers(others, &families);

  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

}  // namespace sightline
