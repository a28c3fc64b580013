#include "pipeline/spec.h"

#include <fmt/format.h>

#include <vector>

#include "base/time_zone.h"

namespace sightline {
namespace {

std::string Length(Millis length) {
  if (length.v % 86'400'000 == 0 && length.v != 0)
    return fmt::format("{} d", length.v / 86'400'000);
  if (length.v % 3'600'000 == 0 && length.v != 0) return fmt::format("{} h", length.v / 3'600'000);
  if (length.v % 60'000 == 0 && length.v != 0) return fmt::format("{} min", length.v / 60'000);
  if (length.v % 1'000 == 0) return fmt::format("{} s", length.v / 1'000);
  return fmt::format("{} ms", length.v);
}

// Longer than any useful length, and short enough that no sum of two lengths and a time overflows.
constexpr Millis kLengthMax{3'650LL * 86'400'000};
// Deduplicate keeps times in 32 bits of milliseconds, 49.7 d, counted from this long before the
// first of them.
constexpr Millis kMemoryMax{40LL * 86'400'000};

}  // namespace

Status PipelineSpec::Validate() const {
  std::vector<std::string> broken;
  auto length = [&](const char* name, Millis value, Millis least) {
    if (value < least || value > kLengthMax)
      broken.push_back(fmt::format("{} is {} ms: set it between {} ms and {} ms", name, value.v,
                                   least.v, kLengthMax.v));
  };
  length("window_size", window_size, {1});
  length("pane_size", pane_size, {1});
  length("out_of_orderness", out_of_orderness, {0});
  length("dedup_horizon", dedup_horizon, {0});
  length("future_tolerance", future_tolerance, {0});
  length("camera_ttl", camera_ttl, {1});
  length("idle_timeout", idle_timeout, {1});
  if (max_age) length("max_age", *max_age, {1});
  // Sums of lengths that are refused could overflow.
  const bool sums = broken.empty();
  if (pane_size.v > 0 && window_size.v % pane_size.v != 0)
    broken.push_back(
        fmt::format("pane_size {} ms does not divide window_size {} ms: windows are sums of panes; "
                    "choose a divisor",
                    pane_size.v, window_size.v));
  if (sums && out_of_orderness + dedup_horizon > kMemoryMax)
    broken.push_back(fmt::format(
        "out_of_orderness + dedup_horizon is {} ms: ids cannot be remembered for longer than {} ms "
        "(40 d); lower dedup_horizon",
        (out_of_orderness + dedup_horizon).v, kMemoryMax.v));
  if (sums && max_age && camera_ttl < *max_age + future_tolerance)
    broken.push_back(fmt::format(
        "camera_ttl {} ms is shorter than max_age + future_tolerance ({} ms): a copy could be "
        "accepted after its id was forgotten; raise camera_ttl or lower max_age",
        camera_ttl.v, (*max_age + future_tolerance).v));
  if (count_from >= count_until)
    broken.push_back(
        fmt::format("count_from {} is not before count_until {}: nothing would be counted",
                    count_from.v, count_until.v));
  if (!decode.timestamp_zone.empty() && !TimeZone::Find(decode.timestamp_zone))
    broken.push_back(
        fmt::format("timestamp_zone '{}' is not a time zone that this machine knows: write a name "
                    "such as Europe/Berlin or UTC",
                    decode.timestamp_zone));
  if (!decode.timestamp_zone.empty() && decode.version == Decoding::kFirst)
    broken.push_back("timestamp_zone needs decoding = 2");
  if (broken.empty()) return Status::Ok();
  // All broken rules are reported at once, so that one run of `sightline explain` is enough.
  return Status::Stop(fmt::format("the pipeline is not valid:\n  {}", fmt::join(broken, "\n  ")));
}

std::string PipelineSpec::Explain() const {
  std::string text;
  auto line = [&](std::string sentence) { text += sentence + "\n"; };
  line(fmt::format("detections are told apart by {}", identity == Identity::kDetection
                                                          ? "detection_oid"
                                                          : "video_camera_oid and detection_oid"));
  line(decode.detection_ids == DetectionIds::kInteger
           ? std::string("a detection_oid is an integer of 64 bits")
           : fmt::format(
                 "a detection_oid is an integer of 64 bits, or other text of at most {} bytes",
                 kIdTextBytesMax));
  line(fmt::format("messages and times are read by version {} of the rules", int(decode.version)));
  if (!decode.timestamp_zone.empty())
    line(fmt::format("a time without a time zone is one of {}", decode.timestamp_zone));
  if (decode.item_names == ItemNames::kNfc)
    line("item names are brought into Unicode's normalization form C");
  line(fmt::format(
      "a detection counts once, in the {} window [start, end) that contains its own time",
      Length(window_size)));
  line(fmt::format("the screen shows sums of panes of {}", Length(pane_size)));
  line(fmt::format("a camera's watermark is its greatest accepted event time - {}",
                   Length(out_of_orderness)));
  if (watermark_step == WatermarkStep::kBounded)
    line(fmt::format(
        "a record without append time moves it by at most {} beyond the camera's moment before",
        Length(dedup_horizon)));
  line(fmt::format("future: later than the log's clock + {}", Length(future_tolerance)));
  line(fmt::format("too_late: older than its camera's watermark - {}", Length(dedup_horizon)));
  line(max_age ? fmt::format("too_late: older than the log's clock - {}", Length(*max_age))
               : std::string("no limit of age against the log's clock (max_age is off)"));
  line(fmt::format("an id is remembered until its camera's watermark passes its newest copy + {}",
                   Length(dedup_horizon)));
  line(fmt::format("the ids of a camera that is silent for {} are forgotten", Length(camera_ttl)));
  if (count_from != kBeforeAllTime) line(fmt::format("outside: before {} ms", count_from.v));
  if (count_until != kAfterAllTime) line(fmt::format("outside: from {} ms on", count_until.v));
  line(fmt::format("a partition without records for {} does not hold back completeness",
                   Length(idle_timeout)));
  return text;
}

uint64_t PipelineSpec::Fingerprint() const {
  uint64_t hash = 0xcbf29ce484222325ull;  // FNV-1a (Fowler, Noll, Vo)
  auto mix = [&](int64_t value) {
    for (int i = 0; i < 64; i += 8)
      hash = (hash ^ (static_cast<uint64_t>(value) >> i & 0xff)) * 0x100000001b3ull;
  };
  for (int64_t value : {int64_t(decode.timestamp_unit), int64_t(identity), window_size.v,
                        pane_size.v, out_of_orderness.v, dedup_horizon.v, future_tolerance.v,
                        max_age ? max_age->v : -1, camera_ttl.v, count_from.v, count_until.v})
    mix(value);
  // A setting that a later version added counts only if it is not at its default, so that older
  // checkpoints stay valid. Each is mixed in behind a number of its own.
  if (watermark_step != WatermarkStep::kFree)
    for (int64_t value : {int64_t{1}, int64_t(watermark_step)}) mix(value);
  if (decode.detection_ids != kOldestRules.detection_ids)
    for (int64_t value : {int64_t{2}, int64_t(decode.detection_ids)}) mix(value);
  if (decode.version != kOldestRules.version)
    for (int64_t value : {int64_t{3}, int64_t(decode.version)}) mix(value);
  if (decode.item_names != kOldestRules.item_names)
    for (int64_t value : {int64_t{4}, int64_t(decode.item_names)}) mix(value);
  if (!decode.timestamp_zone.empty()) {
    mix(5);
    for (const char c : decode.timestamp_zone) mix(c);
  }
  return hash;
}

}  // namespace sightline
