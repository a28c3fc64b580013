#include "admin/topics.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <set>
#include <utility>

#include "connectors/kafka/raw_topic_name.h"

namespace sightline {
namespace {

constexpr int32_t kPartitionsOfNew = 12;
constexpr int32_t kReplicationMax = 3;
// An element has at most 1 MiB. The rest is room for arrays, and for dead letters with their keys.
constexpr int64_t kRawBytesMax = 2 << 20;
constexpr int64_t kOutputBytesMax = kKafkaMessageBytesMax;
// Compaction never touches the active segment. With a new segment every day, it reaches all records
// that are older than a day.
constexpr Millis kCompactedSegment{86'400'000};
// The time that people may need to notice that counting has stopped.
constexpr Millis kOutage{3'600'000};
constexpr size_t kCamerasNamed = 10;

constexpr std::string_view kPartitions = "partitions";
constexpr std::string_view kReplication = "replication";
constexpr std::string_view kPolicy = "cleanup.policy";
constexpr std::string_view kRetention = "retention.ms";
constexpr std::string_view kRetentionBytes = "retention.bytes";
constexpr std::string_view kMinIsr = "min.insync.replicas";
constexpr std::string_view kTimestampType = "message.timestamp.type";
constexpr std::string_view kMessageMax = "max.message.bytes";
constexpr std::string_view kUnclean = "unclean.leader.election.enable";

enum class Role { kRaw, kCounts, kLatest, kByTime, kNumbers };
// Returns the name pattern of the raw topics. A name that is not valid is refused elsewhere; here
// any other name stands in for it.
RawTopicName RawNameOf(const Settings& o) {
  Result<RawTopicName> name = RawTopicName::Parse(o.kafka.topic);
  return name.ok() ? std::move(name).value() : RawTopicName::Parse("raw").value();
}

struct Wanted {
  std::string name;
  Role role = Role::kByTime;
  Millis retention;
};

// Returns the wanted topics without raw topics by location.
std::vector<Wanted> FixedTopics(const Settings& o, bool steps) {
  std::vector<Wanted> wanted;
  if (!RawNameOf(o).by_location())
    wanted.push_back({o.kafka.topic, Role::kRaw, o.kafka.raw_retention});
  if (o.kafka.publish) {
    wanted.push_back({o.kafka.counts_topic, Role::kCounts, o.kafka.counts_retention});
    wanted.push_back({o.kafka.dead_letters_topic, Role::kByTime, o.kafka.aside_retention});
    wanted.push_back({o.kafka.late_detections_topic, Role::kByTime, o.kafka.aside_retention});
    if (!o.kafka.monitoring_topic.empty())
      wanted.push_back({o.kafka.monitoring_topic, Role::kNumbers, o.kafka.monitoring_retention});
    if (!o.kafka.alerts_topic.empty())
      wanted.push_back({o.kafka.alerts_topic, Role::kLatest, o.kafka.aside_retention});
  }
  if (steps) {
    wanted.push_back({o.kafka.item_counts_topic, Role::kCounts, o.kafka.counts_retention});
    wanted.push_back({o.kafka.lake_rows_topic, Role::kByTime, o.kafka.counts_retention});
  }
  return wanted;
}

std::vector<Wanted> WantedTopics(const Settings& o, bool steps, const TopicsNow& now) {
  std::vector<Wanted> wanted = FixedTopics(o, steps);
  const RawTopicName name = RawNameOf(o);
  if (!name.by_location()) return wanted;
  std::set<std::string> raw = {name.Other()};
  for (const LocationId location : now.locations) raw.insert(name.Of(location));
  for (const auto& [topic, state] : now.topics)
    if (name.Matches(topic)) raw.insert(topic);
  std::vector<Wanted> first;
  for (const std::string& topic : raw) first.push_back({topic, Role::kRaw, o.kafka.raw_retention});
  wanted.insert(wanted.begin(), first.begin(), first.end());
  return wanted;
}

// Returns whether one partition is enough, because the records are not counted partition by
// partition.
bool StandsAlone(Role role) { return role == Role::kLatest || role == Role::kNumbers; }

std::optional<int64_t> Number(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool IsRetention(std::string_view setting) {
  return setting == kRetention || setting == kRetentionBytes;
}

// Returns a setting as a number that can be compared. A retention of -1 is infinite.
std::optional<int64_t> SizeOf(std::string_view setting, std::string_view text) {
  const std::optional<int64_t> number = Number(text);
  if (number == -1 && IsRetention(setting)) return std::numeric_limits<int64_t>::max();
  return number;
}

// "delete,compact" and "compact, delete" are the same.
std::set<std::string> PoliciesOf(std::string_view text) {
  std::set<std::string> policies;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    std::string_view policy = text.substr(0, comma);
    while (policy.starts_with(' ')) policy.remove_prefix(1);
    while (policy.ends_with(' ')) policy.remove_suffix(1);
    if (!policy.empty()) policies.emplace(policy);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return policies;
}

std::string Get(const KafkaTopicState& state, std::string_view setting) {
  const auto found = state.settings.find(std::string(setting));
  return found == state.settings.end() ? "" : found->second;
}

std::string Forever(int64_t value) { return fmt::format("{}", value == 0 ? -1 : value); }

std::string InWords(std::string_view setting, std::string_view text) {
  const std::optional<int64_t> number = Number(text);
  if (!number || !IsRetention(setting)) return std::string(text);
  if (*number == -1) return setting == kRetention ? "for ever" : "any size";
  return setting == kRetention ? FormatDuration({*number}) : FormatBytes(*number);
}

// The sizes that the topics of one plan share.
struct Sizes {
  int32_t partitions = 0;
  int32_t replication = 0;
};

Sizes SizesOf(const Settings& o, const TopicsNow& now) {
  // The partitions of raw topics by location say nothing about those of the counts topic, so here
  // the counts topic is the model.
  const bool by_location = RawNameOf(o).by_location();
  const auto like = now.topics.find(by_location ? o.kafka.counts_topic : o.kafka.topic);
  Sizes sizes;
  if (like != now.topics.end()) {
    sizes.partitions = like->second.partitions;
  } else {
    sizes.partitions =
        o.kafka.partitions > 0 ? static_cast<int32_t>(o.kafka.partitions) : kPartitionsOfNew;
  }
  sizes.replication = o.kafka.replication > 0 ? static_cast<int32_t>(o.kafka.replication)
                                              : std::min(kReplicationMax, now.brokers);
  return sizes;
}

int32_t PartitionsOf(const Settings& o, Role role, const Sizes& sizes) {
  if (StandsAlone(role)) return 1;
  return role == Role::kRaw && RawNameOf(o).by_location()
             ? static_cast<int32_t>(o.kafka.location_partitions)
             : sizes.partitions;
}

int64_t MinIsr(const Settings& o, int32_t replication) {
  return o.kafka.min_isr > 0 ? o.kafka.min_isr : std::max(1, replication - 1);
}

std::map<std::string, std::string> SettingsOf(const Settings& o, const Wanted& topic,
                                              int32_t replication) {
  const bool raw = topic.role == Role::kRaw;
  std::map<std::string, std::string> settings;
  auto set = [&settings](std::string_view name, std::string value) {
    settings.emplace(name, std::move(value));
  };
  const bool compact = topic.role == Role::kCounts || topic.role == Role::kLatest;
  set(kPolicy, compact ? "compact,delete" : "delete");
  set(kRetention, Forever(topic.retention.v));
  set(kRetentionBytes, Forever(raw ? o.kafka.raw_retention_size : 0));
  // With a larger min ISR than replicas, nobody could write to the topic.
  set(kMinIsr, fmt::format("{}", std::min<int64_t>(MinIsr(o, replication), replication)));
  set(kMessageMax, fmt::format("{}", raw ? kRawBytesMax : kOutputBytesMax));
  set(kUnclean, "false");
  // Outputs need it, too. With CreateTime the brokers would refuse a writer whose clock is an hour
  // ahead, and retention would follow that clock.
  set(kTimestampType, "LogAppendTime");
  if (compact) set("segment.ms", fmt::format("{}", kCompactedSegment.v));
  return settings;
}

class Comparison {
 public:
  Comparison(const Settings& options, const Wanted& wanted, const KafkaTopicState& now,
             std::vector<TopicDifference>& out)
      : options_(options), wanted_(wanted), now_(now), out_(out) {}

  void Partitions(int32_t partitions) {
    // An output may have more partitions: nothing is written to the additional ones.
    if (wanted_.role == Role::kRaw ? now_.partitions == partitions : now_.partitions >= partitions)
      return;
    Add(TopicAction::kByHand, kPartitions, fmt::format("{}", now_.partitions),
        fmt::format("{}", partitions),
        wanted_.role == Role::kRaw
            ? "partitions are never added in place: create a new topic and hand over "
              "(docs/SEMANTICS.md)"
            : "partitions are never added in place: create a topic under another name, or delete "
              "this one while nothing is running");
  }

  void Replication(int32_t replication) {
    if (options_.kafka.replication > 0 ? now_.replication == replication
                                       : now_.replication >= replication)
      return;
    Add(TopicAction::kByHand, kReplication, fmt::format("{}", now_.replication),
        fmt::format("{}", replication), "move replicas with kafka-reassign-partitions");
  }

  void CompareSettings() {
    for (const auto& [setting, value] : SettingsOf(options_, wanted_, now_.replication))
      Setting(setting, Get(now_, setting), value);
  }

 private:
  void Setting(std::string_view setting, const std::string& now, const std::string& value) {
    if (now == value) return;
    if (setting == kPolicy) return Policy(now, value);
    const std::optional<int64_t> have = SizeOf(setting, now);
    const std::optional<int64_t> want = SizeOf(setting, value);
    const bool at_least =
        setting == kMessageMax ||
        (setting == kMinIsr && options_.kafka.min_isr == 0 && have <= now_.replication);
    if (have && want && at_least && *have >= *want) return;
    const bool lower =
        have && want && *want < *have && (setting == kMinIsr || IsRetention(setting));
    Add(lower ? TopicAction::kLower : TopicAction::kChange, setting, now, value,
        IsRetention(setting)
            ? fmt::format("{} -> {}", InWords(setting, now), InWords(setting, value))
            : "");
  }

  void Policy(const std::string& now, const std::string& value) {
    const std::set<std::string> have = PoliciesOf(now), want = PoliciesOf(value);
    if (have == want) return;
    // Records that were kept for ever would be deleted by age.
    const bool lower = want.contains("delete") && !have.contains("delete");
    Add(lower ? TopicAction::kLower : TopicAction::kChange, kPolicy, now, value,
        lower ? "records older than the retention would be deleted" : "");
  }

  void Add(TopicAction action, std::string_view setting, const std::string& now,
           const std::string& value, std::string note) {
    out_.push_back({.action = action,
                    .topic = wanted_.name,
                    .setting = std::string(setting),
                    .now = now,
                    .wanted = value,
                    .note = std::move(note)});
  }

  const Settings& options_;
  const Wanted& wanted_;
  const KafkaTopicState& now_;
  std::vector<TopicDifference>& out_;
};

Status ValidateSizes(const Settings& o, const TopicsNow& now, const Sizes& sizes) {
  if (sizes.replication > now.brokers)
    return Status::Stop(fmt::format("kafka.replication is {}, but there are {} brokers",
                                    sizes.replication, now.brokers));
  if (MinIsr(o, sizes.replication) > sizes.replication)
    return Status::Stop(
        fmt::format("kafka.min_isr {} is larger than the replication {}: nothing could be written",
                    MinIsr(o, sizes.replication), sizes.replication));
  return Status::Ok();
}

// ---- what breaks a guarantee -------------------------------------------------------------------

class Inspection {
 public:
  Inspection(const Settings& options, const Wanted& wanted, const KafkaTopicState& now,
             std::vector<TopicFinding>& out)
      : options_(options), wanted_(wanted), now_(now), out_(out) {}

  void Replicas() {
    const int64_t min_isr = Number(Get(now_, kMinIsr)).value_or(0);
    if (now_.replication == 1) {
      Add(kReplication, "1",
          "the records are on one broker only: if its disk is lost, they are lost");
    } else if (min_isr == 1) {
      Add(kMinIsr, "1",
          fmt::format("a record is acknowledged when one broker of {} has it: if that broker is "
                      "lost, the record is lost",
                      now_.replication));
    }
    if (min_isr > now_.replication)
      Add(kMinIsr, Get(now_, kMinIsr),
          fmt::format("larger than the replication {}: nothing can be written", now_.replication));
    if (Get(now_, kUnclean) == "true")
      Add(kUnclean, "true", "a broker that lacks acknowledged records may become the leader");
  }

  void MessageSize() {
    const int64_t wanted = wanted_.role == Role::kRaw ? kRawBytesMax : kOutputBytesMax;
    if (const auto have = Number(Get(now_, kMessageMax)); have && *have < wanted)
      Add(kMessageMax, Get(now_, kMessageMax),
          wanted_.role == Role::kRaw
              ? fmt::format("a detection of up to 1 MiB would be refused; set it to {}", wanted)
              : fmt::format("a large record would be refused, and its partition would stop; set it "
                            "to {}",
                            wanted));
  }

  void Raw() {
    if (const std::string type = Get(now_, kTimestampType); type != "LogAppendTime")
      Add(kTimestampType, type,
          "clock_unguarded: detections from the future and very old ones are not refused");
    if (const std::string policy = Get(now_, kPolicy); PoliciesOf(policy).contains("compact"))
      Add(kPolicy, policy, "compaction removes all but the newest detection of each camera");
    RawRetention();
  }

  void Output(const KafkaTopicState& counted) {
    if (now_.partitions < counted.partitions)
      Add(kPartitions, fmt::format("{}", now_.partitions),
          fmt::format("'{}' has {}: partition p is counted into partition p", counted.name,
                      counted.partitions));
  }

  void CountsRetention(const KafkaTopicState& raw_topic) {
    const std::string raw_retention = Get(raw_topic, kRetention);
    const auto have = SizeOf(kRetention, Get(now_, kRetention));
    const auto raw = SizeOf(kRetention, raw_retention);
    if (have && raw && *have < *raw && PoliciesOf(Get(now_, kPolicy)).contains("delete"))
      Add(kRetention, Get(now_, kRetention),
          fmt::format("{}, less than the {} of '{}': a partition that nobody counts for that long "
                      "loses its "
                      "progress record before its raw events, and stops at the next start",
                      InWords(kRetention, Get(now_, kRetention)),
                      InWords(kRetention, raw_retention), raw_topic.name));
    if (const std::string bytes = Get(now_, kRetentionBytes); bytes != "-1")
      Add(kRetentionBytes, bytes,
          "retention by size may remove the progress records of a partition");
  }

 private:
  void RawRetention() {
    const auto have = SizeOf(kRetention, Get(now_, kRetention));
    if (!have) return;
    const PipelineSpec& p = options_.pipeline;
    const int64_t horizon =
        p.dedup_horizon.v + p.out_of_orderness.v + p.future_tolerance.v + kOutage.v;
    const int64_t age = p.max_age ? p.max_age->v + p.future_tolerance.v : 0;
    if (*have < horizon) {
      Add(kRetention, Get(now_, kRetention),
          fmt::format("{}, less than dedup_horizon + out_of_orderness + future_tolerance + an hour "
                      "to notice an outage = {}: a copy may come when the first copy is gone",
                      InWords(kRetention, Get(now_, kRetention)), FormatDuration({horizon})));
    } else if (*have < age) {
      Add(kRetention, Get(now_, kRetention),
          fmt::format("{}, less than max_age + future_tolerance = {}: a start without checkpoints "
                      "would not know the first copies of cameras that were silent",
                      InWords(kRetention, Get(now_, kRetention)), FormatDuration({age})));
    }
  }

  void Add(std::string_view setting, std::string value, std::string note) {
    out_.push_back({wanted_.name, std::string(setting), std::move(value), std::move(note)});
  }

  const Settings& options_;
  const Wanted& wanted_;
  const KafkaTopicState& now_;
  std::vector<TopicFinding>& out_;
};

}  // namespace

std::string_view ToString(TopicAction action) {
  switch (action) {
    case TopicAction::kMake:
      return "make";
    case TopicAction::kChange:
      return "change";
    case TopicAction::kLower:
      return "lower";
    case TopicAction::kByHand:
      return "by hand";
  }
  return "";
}

std::vector<std::string> TopicNames(const Settings& options, bool steps) {
  std::vector<std::string> names;
  for (const Wanted& topic : FixedTopics(options, steps)) names.push_back(topic.name);
  return names;
}

Result<TopicsPlan> PlanTopics(const Settings& options, bool steps, const TopicsNow& now) {
  if (const auto name = RawTopicName::Parse(options.kafka.topic); !name.ok()) return name.status();
  const Sizes sizes = SizesOf(options, now);
  RETURN_IF_ERROR(ValidateSizes(options, now, sizes));
  TopicsPlan plan;
  for (const Wanted& topic : WantedTopics(options, steps, now)) {
    const auto found = now.topics.find(topic.name);
    if (found == now.topics.end()) {
      KafkaTopicSpec spec{.name = topic.name,
                          .partitions = PartitionsOf(options, topic.role, sizes),
                          .replication = sizes.replication,
                          .settings = SettingsOf(options, topic, sizes.replication)};
      std::string text =
          fmt::format("{} partitions, replication {}", spec.partitions, spec.replication);
      for (const auto& [name, value] : spec.settings) text += fmt::format(", {}={}", name, value);
      plan.differences.push_back({.action = TopicAction::kMake,
                                  .topic = topic.name,
                                  .setting = {},
                                  .now = {},
                                  .wanted = std::move(text),
                                  .note = {}});
      plan.specs.emplace(topic.name, std::move(spec));
      continue;
    }
    Comparison comparison(options, topic, found->second, plan.differences);
    // A location's topic may have any number of partitions.
    const bool free = topic.role == Role::kRaw && RawNameOf(options).by_location();
    if (!StandsAlone(topic.role) && !free)
      comparison.Partitions(topic.role == Role::kRaw && options.kafka.partitions > 0
                                ? static_cast<int32_t>(options.kafka.partitions)
                                : sizes.partitions);
    comparison.Replication(sizes.replication);
    comparison.CompareSettings();
  }
  return plan;
}

std::vector<TopicFinding> CheckTopics(const Settings& options, bool steps, const TopicsNow& now) {
  std::vector<TopicFinding> findings;
  const RawTopicName name = RawNameOf(options);
  // The outputs must have as many partitions as `counted`, and at least the longest retention of
  // raw events.
  const auto counted =
      now.topics.find(name.by_location() ? options.kafka.counts_topic : name.text());
  const KafkaTopicState* longest = nullptr;
  for (const auto& [topic, state] : now.topics)
    if (name.Matches(topic) &&
        (longest == nullptr || SizeOf(kRetention, Get(state, kRetention)) >
                                   SizeOf(kRetention, Get(*longest, kRetention))))
      longest = &state;
  for (const Wanted& topic : WantedTopics(options, steps, now)) {
    const auto found = now.topics.find(topic.name);
    if (found == now.topics.end()) {
      findings.push_back(
          {topic.name, "", "", "does not exist: `sightline topics apply` creates it"});
      continue;
    }
    Inspection inspection(options, topic, found->second, findings);
    inspection.Replicas();
    inspection.MessageSize();
    if (topic.role == Role::kRaw) {
      inspection.Raw();
      continue;
    }
    if (!StandsAlone(topic.role) && counted != now.topics.end()) inspection.Output(counted->second);
    if (topic.role == Role::kCounts && longest != nullptr) inspection.CountsRetention(*longest);
  }
  for (const std::string& topic : now.unread)
    findings.push_back(
        {topic, "", "",
         fmt::format("is not read: in '{}', <location> must be an oid in decimal, or "
                     "'other'",
                     name.text())});
  return findings;
}

std::optional<TopicFinding> CheckCameras(const Settings& options, const CameraPartitions& cameras) {
  const bool by_location = RawNameOf(options).by_location();
  std::vector<std::string> named;
  size_t several = 0;
  for (const auto& [camera, partitions] : cameras) {
    if (partitions.size() < 2) continue;
    if (++several > kCamerasNamed) continue;
    std::vector<std::string> places;
    for (const KafkaPartition& place : partitions)
      places.push_back(by_location ? fmt::format("{} of '{}'", place.partition, place.topic)
                                   : fmt::format("{}", place.partition));
    named.push_back(fmt::format("{} in {}", camera.v, fmt::join(places, " and ")));
  }
  if (several == 0) return std::nullopt;
  return TopicFinding{
      options.kafka.topic, "cameras in several partitions", fmt::format("{}", several),
      fmt::format("copies are recognised only within a partition: camera {}{}; producers must key "
                  "by camera with the partitioner murmur2_random (the Java client's)",
                  fmt::join(named, ", "), several > named.size() ? ", ..." : "")};
}

std::vector<TopicRight> RightsNeeded(const Settings& o, bool steps, RightsOf who,
                                     const CopyNames& copy) {
  std::vector<TopicRight> rights;
  auto topic = [&rights](const std::string& name, std::vector<std::string> operations) {
    for (std::string& operation : operations)
      rights.push_back({"topic", name, false, std::move(operation)});
  };
  const RawTopicName raw_name = RawNameOf(o);
  const auto raw = [&](const std::vector<std::string>& operations) {
    for (const std::string& operation : operations)
      rights.push_back({"topic", raw_name.prefix(), raw_name.by_location(), operation});
  };
  const auto step = [&](const char* name) {
    const std::string own = fmt::format("{}-{}", o.kafka.deployment, name);
    rights.push_back({"transactional-id", own + "-", true, "Write"});
    rights.push_back({"group", own, false, "Read"});
  };
  const auto monitor = [&] {
    if (!o.kafka.publish) return;
    for (const std::string& name : {o.kafka.monitoring_topic, o.kafka.alerts_topic})
      if (!name.empty()) topic(name, {"Write", "DescribeConfigs"});
  };
  const auto copies = [&](const char* name) {
    if (copy.from.empty()) {
      topic(copy.to, {"Read", "Write", "DescribeConfigs"});  // the offsets are committed for it
    } else {
      topic(copy.from, {"Read", "DescribeConfigs"});
      topic(copy.to, {"Write", "DescribeConfigs"});
    }
    const std::string own = fmt::format("{}-{}-{}", o.kafka.deployment, name, copy.to);
    rights.push_back({"transactional-id", own, false, "Write"});
    rights.push_back({"group", own, false, "Read"});
  };
  // Read and Write include Describe.
  switch (who) {
    case RightsOf::kUp:
      raw({"Read", "Write", "DescribeConfigs"});
      if (!o.kafka.publish) break;
      topic(o.kafka.counts_topic, {"Read", "Write"});
      topic(o.kafka.dead_letters_topic, {"Write"});
      topic(o.kafka.late_detections_topic, {"Write"});
      monitor();
      rights.push_back({"transactional-id", o.kafka.deployment + "-kafka:", true, "Write"});
      break;
    case RightsOf::kCount:
      raw({"Read", "DescribeConfigs"});
      topic(o.kafka.counts_topic, {"Read", "Write"});
      topic(o.kafka.dead_letters_topic, {"Write"});
      topic(o.kafka.late_detections_topic, {"Write"});
      monitor();
      rights.push_back({"transactional-id", o.kafka.deployment + "-kafka:", true, "Write"});
      rights.push_back({"group", o.kafka.deployment + "-count", false, "Read"});
      break;
    case RightsOf::kJoin:
      topic(o.kafka.item_counts_topic, {"Read", "DescribeConfigs"});
      topic(o.kafka.counts_topic, {"Read", "Write", "DescribeConfigs"});
      step("join");
      monitor();
      break;
    case RightsOf::kTransform:
      topic(o.kafka.counts_topic, {"Read", "DescribeConfigs"});
      topic(o.kafka.lake_rows_topic, {"Read", "Write", "DescribeConfigs"});
      step("transform");
      monitor();
      break;
    case RightsOf::kStore:
      topic(o.kafka.lake_rows_topic, {"Read", "DescribeConfigs"});
      rights.push_back({"group", o.kafka.deployment + "-store", false, "Read"});
      monitor();
      break;
    case RightsOf::kServe:
      raw({"Write", "DescribeConfigs"});  // for its posts, and to find the end of the topic
      topic(o.kafka.counts_topic, {"Read", "DescribeConfigs"});
      monitor();
      break;
    case RightsOf::kTopics:
      for (const std::string& name : TopicNames(o, steps))
        topic(name, {"Create", "Describe", "DescribeConfigs", "AlterConfigs"});
      if (raw_name.by_location()) raw({"Create", "Describe", "DescribeConfigs", "AlterConfigs"});
      raw({"Read"});  // for the sample of `check`
      break;
    case RightsOf::kProducer:
      raw({"Write"});
      break;
    case RightsOf::kReader:
      topic(o.kafka.counts_topic, {"Read"});
      topic(o.kafka.dead_letters_topic, {"Read"});
      topic(o.kafka.late_detections_topic, {"Read"});
      for (const std::string& name : {o.kafka.monitoring_topic, o.kafka.alerts_topic})
        if (!name.empty()) topic(name, {"Read"});
      break;
    case RightsOf::kDoctor:
      raw({"Read", "DescribeConfigs"});
      break;
    case RightsOf::kRekey:
      copies("rekey");
      monitor();
      break;
    case RightsOf::kHandover:
      copies("handover");
      // The progress of the old pipeline is in its counts topic.
      if (!copy.from.empty()) topic(o.kafka.counts_topic, {"Read", "DescribeConfigs"});
      break;
  }
  return rights;
}

}  // namespace sightline
