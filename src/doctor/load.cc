#include "doctor/load.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "doctor/wording.h"

namespace sightline {
namespace {

// docs/OPERATIONS.md, "Sizing".
constexpr double kEventsPerCore = 300'000;
constexpr double kCatchUp = 2;
constexpr double kCountBytes = 400e6, kBytesPerId = 25;
constexpr double kMuchMemory = 8e9;
constexpr int32_t kPartitions = 4;  // the default

// Events per second in the busiest minute.
double BusiestRate(const Sample& sample, const std::vector<bool>& is_wrong) {
  std::map<int64_t, int64_t> minutes;
  int64_t first = INT64_MAX, last = INT64_MIN;
  for (size_t i = 0; i < sample.rows().size(); ++i) {
    const Sample::Row& row = sample.rows()[i];
    if (is_wrong[i]) continue;
    const int64_t time = row.append_time != kNoAppendTime ? row.append_time.v : row.time.v;
    ++minutes[time / kMinute.v];
    first = std::min(first, time);
    last = std::max(last, time);
  }
  if (minutes.empty()) return 0;
  const auto busiest =
      std::ranges::max_element(minutes, {}, [](const auto& minute) { return minute.second; });
  const double seconds = std::clamp(static_cast<double>(last - first) / kSecond.v, 1.0, 60.0);
  return static_cast<double>(busiest->second) / seconds;
}

}  // namespace

std::vector<Finding> LookAtLoad(const Sample& sample, const SourceFacts& facts,
                                const std::vector<bool>& is_wrong, const CopyFindings& copies) {
  if (copies.detections == 0) return {};
  const double rate = BusiestRate(sample, is_wrong);
  const double fresh =
      1 - static_cast<double>(copies.copies) / static_cast<double>(copies.detections);
  const double ids = rate * fresh * static_cast<double>(copies.dedup_horizon.v) / kSecond.v;
  const double bytes = kCountBytes + kBytesPerId * ids;
  std::vector<Finding> findings;
  findings.push_back(
      {.subject = "memory",
       .seen = fmt::format(
           "{} cameras, {} items, {:.0f} events/s in the busiest minute, {:.0f} % of "
           "them new",
           sample.cameras().size(), sample.items().size(), std::ceil(rate), 100 * fresh),
       .follows = fmt::format(
           "With a dedup_horizon of {}, {:.2f} M ids are remembered: counting takes {:.1f} GB{}",
           DurationText(copies.dedup_horizon), ids / 1e6, bytes / 1e9,
           bytes > kMuchMemory ? ". Give the machine that, or shorten the horizon." : ".")});
  const auto cores = static_cast<int32_t>(std::ceil(kCatchUp * rate / kEventsPerCore));
  const int32_t there = facts.kind == SourceFacts::Kind::kTopic ? sample.partitions() : kPartitions;
  if (cores <= there) return findings;
  Finding finding{
      .severity = Severity::kNote,
      .subject = "partitions",
      .seen = fmt::format("{:.0f} events/s need {} cores to catch up after an outage, and "
                          "there are {} partitions",
                          rate, cores, there),
      .follows = "A partition is counted by one core."};
  if (facts.kind == SourceFacts::Kind::kTopic)
    finding.follows += fmt::format(
        " Copy the topic into one with more: `sightline rekey --from {} "
        "--to raw_camera_events`.",
        facts.name);
  else
    finding.settings = {{.key = "partitions",
                         .value = std::to_string(cores),
                         .why = "As many cores are needed to catch up after an outage."}};
  findings.push_back(std::move(finding));
  return findings;
}

std::optional<Finding> LookAtKeys(const Sample& sample, const SourceFacts& facts) {
  const Sample::Totals& totals = sample.totals();
  if (facts.kind != SourceFacts::Kind::kTopic || totals.records == 0) return std::nullopt;
  std::vector<std::string> split;
  for (const Sample::Camera& camera : sample.cameras())
    if (camera.partitions.size() > 1)
      split.push_back(fmt::format("camera {} in {}", camera.id.v, camera.partitions.size()));
  const auto nearly_all = [&](int64_t records) { return records * 100 >= totals.records * 99; };
  Finding finding{.subject = "keys",
                  .seen = fmt::format(
                      "of {} records, {} have a key, {} have the key of their camera, and {} are "
                      "where the murmur2 partitioner puts their key",
                      totals.records, totals.keyed, totals.keyed_by_camera, totals.murmur2)};
  if (split.empty()) {
    finding.follows =
        nearly_all(totals.keyed_by_camera) && nearly_all(totals.murmur2)
            ? "All copies of a detection reach the same partition."
            : "In the sample, each camera is in one partition. Only a producer that keys by camera "
              "with `murmur2_random` promises that (docs/KAFKA.md).";
    return finding;
  }
  finding.seen +=
      fmt::format(". {} cameras are in several partitions: {}", split.size(), ListText(split));
  if (nearly_all(totals.keyed_by_id)) {
    finding.follows =
        "The key is detection_oid: copies meet, and the counts are right. The alert "
        "`camera_split` will say that cameras are in several partitions.";
    return finding;
  }
  finding.severity = Severity::kTrouble;
  finding.follows = fmt::format(
      "Copies that reach different partitions are counted twice. Let the producers use the camera "
      "as key, with `murmur2_random`, or copy the topic: `sightline rekey --from {} --to "
      "raw_camera_events`, and count that.",
      facts.name);
  return finding;
}

}  // namespace sightline
