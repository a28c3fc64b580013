#include "config/options.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <numeric>
#include <optional>
#include <span>
#include <utility>

#include "engine/partition_task.h"
#include "operators/decode.h"

namespace sightline {
namespace {

struct Unit {
  std::string_view name;
  int64_t factor;
};
constexpr Unit kDurations[] = {
    {"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}};
constexpr Unit kSizes[] = {{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}};

// A whole number and a unit of the list; a bare number counts in units of 1.
Result<int64_t> ParseWithUnit(std::string_view text, std::span<const Unit> units,
                              std::string_view what) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string_view rest(end, static_cast<size_t>(text.data() + text.size() - end));
  while (rest.starts_with(' ')) rest.remove_prefix(1);
  int64_t factor = rest.empty() ? 1 : 0;
  std::string names;
  for (const Unit& unit : units) {
    if (rest == unit.name) factor = unit.factor;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", unit.name);
  }
  int64_t value = 0;
  if (error != std::errc() || number < 0 || factor == 0 ||
      __builtin_mul_overflow(number, factor, &value))
    return Status::Stop(
        fmt::format("'{}' is no {}: write a whole number and one of {}", text, what, names));
  return value;
}

std::string FormatWithUnit(int64_t value, std::span<const Unit> units) {
  for (const Unit& unit : units)
    if (value != 0 && value % unit.factor == 0)
      return fmt::format("{}{}", value / unit.factor, unit.name);
  return "0";
}

Option Text(std::string key, std::string unit, std::string* value, std::string help) {
  return {.key = std::move(key),
          .unit = std::move(unit),
          .help = std::move(help),
          .set =
              [value](std::string_view text) {
                *value = text;
                return Status::Ok();
              },
          .get = [value] { return *value; }};
}

Option Duration(std::string key, Millis* value, int64_t least_ms, std::string help) {
  return {.key = std::move(key),
          .unit = "duration",
          .help = std::move(help),
          .set =
              [value, least_ms](std::string_view text) {
                const Result<Millis> parsed = ParseDuration(text);
                if (!parsed.ok()) return parsed.status();
                if (parsed.value().v < least_ms)
                  return Status::Stop(fmt::format("'{}' is too short: at least {}", text,
                                                  FormatDuration({least_ms})));
                *value = parsed.value();
                return Status::Ok();
              },
          .get = [value] { return FormatDuration(*value); }};
}

Option Size(std::string key, int64_t* value, int64_t least, std::string help) {
  return {.key = std::move(key),
          .unit = "bytes",
          .help = std::move(help),
          .set =
              [value, least](std::string_view text) {
                const Result<int64_t> parsed = ParseBytes(text);
                if (!parsed.ok()) return parsed.status();
                if (parsed.value() < least)
                  return Status::Stop(
                      fmt::format("'{}' is too small: at least {}", text, FormatBytes(least)));
                *value = parsed.value();
                return Status::Ok();
              },
          .get = [value] { return FormatBytes(*value); }};
}

Option Integer(std::string key, std::string unit, int64_t* value, int64_t least, int64_t most,
               std::string help) {
  return {.key = std::move(key),
          .unit = std::move(unit),
          .help = std::move(help),
          .set =
              [value, least, most](std::string_view text) {
                int64_t number = 0;
                const auto [end, error] =
                    std::from_chars(text.data(), text.data() + text.size(), number);
                if (error != std::errc() || end != text.data() + text.size() || number < least ||
                    number > most)
                  return Status::Stop(
                      fmt::format("'{}' is no whole number from {} to {}", text, least, most));
                *value = number;
                return Status::Ok();
              },
          .get = [value] { return fmt::format("{}", *value); }};
}

template <typename Enum>
Option Choice(std::string key, Enum* value, std::vector<std::pair<std::string, Enum>> choices,
              std::string help) {
  std::string unit;
  for (const auto& [name, choice] : choices) unit += (unit.empty() ? "" : " | ") + name;
  return {.key = std::move(key),
          .unit = unit,
          .help = std::move(help),
          .set =
              [value, choices, unit](std::string_view text) {
                for (const auto& [name, choice] : choices) {
                  if (name != text) continue;
                  *value = choice;
                  return Status::Ok();
                }
                return Status::Stop(fmt::format("'{}' is none of {}", text, unit));
              },
          .get =
              [value, choices] {
                for (const auto& [name, choice] : choices)
                  if (choice == *value) return name;
                return std::string();
              }};
}

Option MaxAge(std::string key, std::optional<Millis>* value, std::string help) {
  return {.key = std::move(key),
          .unit = "duration | off",
          .help = std::move(help),
          .set =
              [value](std::string_view text) {
                if (text == "off") {
                  value->reset();
                  return Status::Ok();
                }
                const Result<Millis> parsed = ParseDuration(text);
                if (!parsed.ok()) return parsed.status();
                *value = parsed.value();
                return Status::Ok();
              },
          .get = [value] { return *value ? FormatDuration(**value) : std::string("off"); }};
}

Option Time(std::string key, EventTime* value, std::string help) {
  const EventTime none = *value;
  return {.key = std::move(key),
          .unit = "RFC 3339 or Unix ms",
          .help = std::move(help),
          .set =
              [value](std::string_view text) {
                if (!ParseTime(text, TimeUnit::kMillis, value))
                  return Status::Stop(
                      fmt::format("'{}' is no time: write 2026-11-22T12:00:00Z or "
                                  "milliseconds since 1970",
                                  text));
                return Status::Ok();
              },
          .get = [value, none] { return *value == none ? "" : fmt::format("{}", value->v); }};
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}

// The section whose name is the fewest edits away.
std::string NearestSection(std::string_view name, const std::vector<Option>& table) {
  std::string nearest;
  for (const Option& option : table) {
    const std::string section = option.key.substr(0, option.key.find('.'));
    if (section.size() < option.key.size() &&
        (nearest.empty() || EditDistance(name, section) < EditDistance(name, nearest)))
      nearest = section;
  }
  return nearest;
}

// What a TOML value looks like as an option's text.
std::optional<std::string> TextOf(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return fmt::format("{}", number->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  return std::nullopt;
}

Status LoadTable(const toml::table& values, const std::string& prefix, const std::string& path,
                 const std::vector<Option>& table) {
  for (const auto& [name, node] : values) {
    const std::string key = prefix + std::string(name.str());
    auto at = [&, line = node.source().begin.line](const std::string& what) {
      return Status::Stop(fmt::format("{}:{}: {}", path, line, what));
    };
    if (const toml::table* section = node.as_table()) {
      const bool known = std::any_of(table.begin(), table.end(), [&](const Option& option) {
        return option.key.starts_with(key + ".");
      });
      if (!known)
        return at(fmt::format("unknown section '{}'; did you mean '{}'?", key,
                              NearestSection(key, table)));
      RETURN_IF_ERROR(LoadTable(*section, key + ".", path, table));
      continue;
    }
    const auto option = std::find_if(table.begin(), table.end(),
                                     [&](const Option& candidate) { return candidate.key == key; });
    if (option == table.end())
      return at(fmt::format("unknown key '{}'; did you mean '{}'?", key, NearestKey(key, table)));
    const std::optional<std::string> text = TextOf(node);
    if (!text)
      return at(fmt::format("'{}' must be a text or a whole number ({})", key, option->unit));
    if (const Status status = option->set(*text); !status.ok())
      return at(fmt::format("{}: {}", key, status.message()));
  }
  return Status::Ok();
}

std::vector<Option> ProcessOptions(Settings* o) {
  return {
      Text("data", "folder", &o->data, "where everything durable lies; one process owns it"),
      Text("listen", "address:port", &o->listen, "of the page and the API; port 0 is any free one"),
      Text("locations", "CSV or Parquet file", &o->locations,
           "location table: names (and zones) of the oids"),
      Duration("locations_refresh", &o->locations_refresh, 100,
               "how often the location table is looked at for changes"),
      Text("log_level", "debug | info | warning | error", &o->log_level, "of the lines on stderr"),
      Text("web_dir", "folder", &o->web_dir,
           "serve the page from here instead of the built-in one"),
      Integer("partitions", "number", &o->partitions, 1, 1'024,
              "of the embedded log; fixed when the data folder is made"),
      Integer("engine.threads", "number", &o->engine.threads, 0, 256,
              "that count; 0 is as many as cores"),
      Duration("engine.commit_interval", &o->engine.commit_interval, 1,
               "how long counts gather before they are committed to disk"),
      Duration("engine.checkpoint_interval", &o->engine.checkpoint_interval, 100,
               "how much is read again after a crash, at most about this"),
      Choice("engine.on_gap", &o->engine.on_gap, {{"stop", OnGap::kStop}, {"count", OnGap::kCount}},
             "what a partition does when retention has removed records before they were counted: "
             "stop and wait for a person, or count them as lost, in the ledger, and go on"),
      Size("engine.pending_max", &o->engine.pending_max, 1 << 16,
           "of counts in memory that the lake (or another sink) does not have yet, all partitions "
           "together; older ones go to disk"),
      Size("engine.spill_max", &o->engine.spill_max, 0,
           "of such counts on disk, in checkpoints/, all partitions together; beyond it counting "
           "waits; 0 is none"),
      Text("engine.checkpoint_dir", "folder", &o->engine.checkpoint_dir,
           "of `count`: shared by all its processes, or what one had is counted again by the next; "
           "by default `checkpoints` in the data folder"),
      Duration("log.retention", &o->log.retention, 1'000, "how long raw events are kept"),
      Size("log.size_max", &o->log.size_max, 1 << 20, "of raw events on disk; the oldest go first"),
      Size("log.queue_max", &o->log.queue_max, 1 << 16,
           "of events waiting for the disk; beyond it senders get 429"),
  };
}

std::vector<Option> ServerOptions(Settings* o) {
  return {
      Integer("server.threads", "number", &o->server.threads, 1, 64, "that serve HTTP"),
      Size("server.body_max", &o->server.body_max, 1 << 10,
           "of one POST, as sent and unpacked, at most half of memory_max; beyond it 413"),
      Size("server.memory_max", &o->server.memory_max, 1 << 16,
           "of all POST bodies in work; beyond it 429"),
      Integer("server.connections_max", "number", &o->server.connections_max, 1, 100'000,
              "open at a time"),
      Duration("live.push_interval", &o->live.push_interval, 1,
               "shortest time between two changes of one view"),
      Duration("live.pane_retention", &o->live.pane_retention, 3'600'000,
               "how far back the screen's panes reach"),
  };
}

std::vector<Option> LakeOptions(Settings* o) {
  return {
      Choice<bool>("lake.enabled", &o->lake.enabled, {{"true", true}, {"false", false}},
                   "keep counts for ever in Delta tables, for SQL and other tools"),
      Text("lake.dir", "folder", &o->lake.dir,
           "of the tables; by default `lake` in the data folder"),
      Duration("lake.roll_interval", &o->lake.roll_interval, 100,
               "how often counts are written; other tools lag by as much"),
      Integer("lake.max_partitions", "locations", &o->lake.max_partitions, 1, 100'000,
              "above them a new table has a directory a day, not one a location and day"),
      Integer("lake.retention_days", "days", &o->lake.retention_days, 0, 100'000,
              "older days are removed; 0 keeps them for ever"),
      Duration("lake.vacuum_retention", &o->lake.vacuum_retention, 3'600'000,
               "files that left the tables stay so long for those who read older versions"),
      Duration("lake.maintenance_interval", &o->lake.maintenance_interval, 1'000,
               "between two rounds of compaction, retention and vacuum"),
      Size("query.memory_max", &o->query.memory_max, 64 << 20, "of all SQL together"),
      Integer("query.threads", "number", &o->query.threads, 1, 256, "that SQL may use"),
      Integer("query.running_max", "number", &o->query.running_max, 1, 64,
              "questions at a time; others wait"),
      Integer("query.waiting_max", "number", &o->query.waiting_max, 1, 100'000,
              "questions that may wait for their turn; others are told to come again"),
      Size("query.answer_memory_max", &o->query.answer_memory_max, 1 << 20,
           "of all answers that are being made or sent; one has at most half of it"),
  };
}

std::vector<Option> KafkaClientOptions(Settings* o) {
  return {
      Text("kafka.brokers", "host:port,...", &o->kafka.client.brokers,
           "read raw events from Kafka; without it they lie in the data folder"),
      Text("kafka.topic", "topic", &o->kafka.topic,
           "of the raw events; with <location> in it there is one a location: "
           "raw_camera_events_<location>"),
      Choice<bool>("kafka.publish", &o->kafka.publish, {{"true", true}, {"false", false}},
                   "write counts, dead letters and late detections to topics, exactly once"),
      Text("kafka.counts_topic", "topic", &o->kafka.counts_topic,
           "of the counts with their locations' names; with as many partitions as kafka.topic"),
      Text("kafka.item_counts_topic", "topic", &o->kafka.item_counts_topic,
           "of counts without names, which `join` reads"),
      Text("kafka.lake_rows_topic", "topic", &o->kafka.lake_rows_topic,
           "of sealed segments, from `transform` to `store`"),
      Text("kafka.dead_letters_topic", "topic", &o->kafka.dead_letters_topic,
           "of malformed and future events"),
      Text("kafka.late_detections_topic", "topic", &o->kafka.late_detections_topic,
           "of events that came too late"),
      Text("kafka.monitoring_topic", "topic", &o->kafka.monitoring_topic,
           "of a process's numbers, once a second; empty is none"),
      Text("kafka.alerts_topic", "topic", &o->kafka.alerts_topic,
           "of alerts that start and end; empty is none"),
      Text("kafka.deployment", "name", &o->kafka.deployment,
           "begins every transactional.id; two that read the same topic need two names"),
      Text("kafka.security_protocol", "PLAINTEXT | SSL | SASL_PLAINTEXT | SASL_SSL",
           &o->kafka.client.security_protocol, "of the connection to the brokers"),
      Text("kafka.sasl_mechanism", "PLAIN | SCRAM-SHA-256 | SCRAM-SHA-512",
           &o->kafka.client.sasl_mechanism, "of the login"),
      Text("kafka.sasl_username", "name", &o->kafka.client.sasl_username, "of the login"),
      Text("kafka.sasl_password_file", "file", &o->kafka.sasl_password_file,
           "with the password; or set SIGHTLINE_KAFKA_PASSWORD"),
      Text("kafka.ssl_ca", "PEM file", &o->kafka.client.ssl_ca,
           "who signs the brokers' certificates; by default whom this system trusts"),
      Text("kafka.ssl_certificate", "PEM file", &o->kafka.client.ssl_certificate,
           "of this process, for mutual TLS"),
      Text("kafka.ssl_key", "PEM file", &o->kafka.client.ssl_key, "of that certificate"),
      Text("kafka.ssl_key_password_file", "file", &o->kafka.ssl_key_password_file,
           "with the key's password; or set SIGHTLINE_KAFKA_KEY_PASSWORD"),
      Size("kafka.queue_max", &o->kafka.client.queue_bytes_max, 1 << 20,
           "read ahead of the engine, a partition"),
      Duration("kafka.queue_backoff", &o->kafka.client.queue_backoff, 1,
               "how long a partition that is read ahead that far is left alone"),
      Duration("kafka.session_timeout", &o->kafka.session_timeout, 6'000,
               "a counting process that is silent for so long loses its partitions to the others"),
      Duration("kafka.commit_interval", &o->kafka.commit_interval, 1,
               "how long counts gather before they are published"),
      Duration(
          "kafka.group_interval", &o->kafka.group_interval, 1'000,
          "how long a running total goes on under one key; the lake behind `transform` lags by "
          "as much and a half"),
      Duration("kafka.transaction_timeout", &o->kafka.client.transaction_timeout, 1'000,
               "after which the broker gives up a transaction of a process that hangs"),
  };
}

std::vector<Option> KafkaTopicOptions(Settings* o) {
  return {
      Integer("kafka.partitions", "number", &o->kafka.partitions, 0, 10'000,
              "of the topics that `topics apply` makes, fixed then; 0 is as kafka.topic has them, "
              "12 where it is made"),
      Integer("kafka.location_partitions", "number", &o->kafka.location_partitions, 1, 1'000,
              "of a location's raw topic, where kafka.topic has <location> in it"),
      Integer("kafka.replication", "brokers", &o->kafka.replication, 0, 100,
              "that hold each record; 0 is 3, or as many as there are"),
      Integer("kafka.min_isr", "brokers", &o->kafka.min_isr, 0, 100,
              "that must have a record before it is acknowledged; 0 is one less than replication"),
      Duration("kafka.raw_retention", &o->kafka.raw_retention, 0,
               "of raw events in their topic; 0 is for ever"),
      Size("kafka.raw_retention_size", &o->kafka.raw_retention_size, 0,
           "of raw events in a partition of their topic, the oldest go first; 0 is any"),
      Duration("kafka.counts_retention", &o->kafka.counts_retention, 0,
               "of published counts; longer than counting ever stands still; 0 is for ever"),
      Duration("kafka.aside_retention", &o->kafka.aside_retention, 0,
               "of dead letters, late detections and alerts; 0 is for ever"),
      Duration("kafka.monitoring_retention", &o->kafka.monitoring_retention, 0,
               "of the processes' numbers; 0 is for ever"),
  };
}

std::vector<Option> AlertsOptions(Settings* o) {
  AlertOptions& a = o->alerts.rules;
  const auto percent = [](std::string key, int64_t* value, std::string help) {
    return Integer(std::move(key), "percent", value, 0, 100, std::move(help));
  };
  return {
      Text("alerts.instance", "name", &o->alerts.instance,
           "of this process in alerts and monitoring; by default its host and port"),
      Duration("alerts.window", &a.window, 1'000, "of rates and shares"),
      Duration("alerts.start_after", &a.start_after, 0,
               "an alert starts when its threshold was passed for so long"),
      Duration("alerts.end_after", &a.end_after, 0,
               "and ends when it was not passed any more for so long"),
      Integer("alerts.end_percent", "percent", &a.end_percent, 1, 100,
              "of the threshold, below which a rate's alert ends"),
      Integer("alerts.events_min", "events", &a.events_min, 1, 1'000'000'000,
              "in a window; of fewer no share is told"),
      Integer("alerts.subjects_max", "number", &a.subjects_max, 1, 1'000,
              "of a rule that are told one by one, at a time and a minute; the rest are one alert"),
      Integer("alerts.subjects_known", "number", &o->alerts.subjects_known, 1, 10'000'000,
              "cameras, and as many locations, that are watched; beyond them none"),
      Duration("alerts.forget", &o->alerts.forget, 1'000,
               "a camera or location silent for longer is not expected any more"),
      Duration("alerts.camera_silent", &a.camera_silent, 0,
               "without any detection or heartbeat; 0 is off"),
      Duration("alerts.location_silent", &a.location_silent, 0,
               "without any detection or heartbeat; 0 is off"),
      percent("alerts.duplicate_percent", &a.duplicate_percent,
              "of the events are copies: a storm; 0 is off"),
      Integer("alerts.duplicates_per_second", "number", &a.duplicates_per_second, 0, 1'000'000'000,
              "at least, for a storm"),
      percent("alerts.dead_letter_percent", &a.dead_letter_percent,
              "of the events are malformed or from the future; 0 is off"),
      percent("alerts.too_late_percent", &a.too_late_percent,
              "of the events are too late; 0 is off"),
      percent("alerts.clock_percent", &a.clock_percent,
              "of a camera's events are from the future (ahead) or too late (behind); 0 is off"),
      Integer("alerts.lag_min", "records", &a.lag_min, 0, 1'000'000'000'000,
              "that wait and become more; 0 is off"),
      Duration("alerts.watermark_stalled", &a.watermark_stalled, 0, "while records come; 0 is off"),
      percent("alerts.state_percent", &a.state_percent,
              "of what may be used, of spilled counts, disk and memory; 0 is off"),
      Duration("alerts.sink_stalled", &a.sink_stalled, 0,
               "beyond two of its commits a sink takes nothing of what waits for it; 0 is off"),
  };
}

std::vector<Option> PipelineOptions(Settings* o) {
  PipelineSpec& p = o->pipeline;
  return {
      Choice<TimeUnit>("pipeline.timestamp_unit", &p.timestamp_unit,
                       {{"s", TimeUnit::kSeconds},
                        {"ms", TimeUnit::kMillis},
                        {"us", TimeUnit::kMicros},
                        {"ns", TimeUnit::kNanos}},
                       "of integer timestamps in events"),
      Choice<Identity>("pipeline.identity", &p.identity,
                       {{"detection", Identity::kDetection},
                        {"camera_and_detection", Identity::kCameraAndDetection}},
                       "what makes two events the same detection"),
      Duration("pipeline.window_size", &p.window_size, 1, "of stored counts"),
      Duration("pipeline.pane_size", &p.pane_size, 1, "of the screen; divides window_size"),
      Duration("pipeline.out_of_orderness", &p.out_of_orderness, 0,
               "how far a camera's events may lie apart"),
      Duration("pipeline.dedup_horizon", &p.dedup_horizon, 0,
               "how long a detection is remembered, and how late one may come"),
      Duration("pipeline.future_tolerance", &p.future_tolerance, 0,
               "how far a camera's clock may be ahead"),
      MaxAge("pipeline.max_age", &p.max_age, "how old an event may be when it arrives"),
      Duration("pipeline.camera_ttl", &p.camera_ttl, 1,
               "a camera silent for longer has its ids forgotten"),
      Duration("pipeline.idle_timeout", &p.idle_timeout, 1,
               "a partition silent for longer does not hold up completeness"),
      Time("pipeline.count_from", &p.count_from, "count events from this time on (hand-over)"),
      Time("pipeline.count_until", &p.count_until, "count events before this time (hand-over)"),
  };
}

}  // namespace

std::vector<Option> OptionTable(Settings* o) {
  std::vector<Option> table;
  for (const auto part : {ProcessOptions, ServerOptions, LakeOptions, KafkaClientOptions,
                          KafkaTopicOptions, AlertsOptions, PipelineOptions})
    std::ranges::move(part(o), std::back_inserter(table));
  return table;
}

std::string NearestKey(std::string_view key, const std::vector<Option>& table) {
  const auto nearest =
      std::min_element(table.begin(), table.end(), [&](const Option& a, const Option& b) {
        return EditDistance(key, a.key) < EditDistance(key, b.key);
      });
  return nearest == table.end() ? "" : nearest->key;
}

Status LoadConfig(const std::string& path, const std::vector<Option>& table) {
  try {
    return LoadTable(toml::parse_file(path), "", path, table);
  } catch (const toml::parse_error& error) {
    return Status::Stop(fmt::format("{}:{}: {}", path, error.source().begin.line,
                                    std::string_view(error.description())));
  }
}

Status ReadOptions(const std::string& config, const std::map<std::string, std::string>& given,
                   const std::vector<Option>& table) {
  if (!config.empty()) RETURN_IF_ERROR(LoadConfig(config, table));
  for (const Option& option : table) {
    const auto it = given.find(option.key);
    if (it == given.end() || it->second.empty()) continue;
    if (const Status status = option.set(it->second); !status.ok())
      return Status::Stop(fmt::format("--{}: {}", option.key, status.message()));
  }
  return Status::Ok();
}

Result<Millis> ParseDuration(std::string_view text) {
  const Result<int64_t> ms = ParseWithUnit(text, kDurations, "duration");
  if (!ms.ok()) return ms.status();
  return Millis{ms.value()};
}
std::string FormatDuration(Millis duration) { return FormatWithUnit(duration.v, kDurations); }
Result<int64_t> ParseBytes(std::string_view text) { return ParseWithUnit(text, kSizes, "size"); }
std::string FormatBytes(int64_t bytes) { return FormatWithUnit(bytes, kSizes); }

Result<ListenAddress> ParseListen(std::string_view text) {
  const size_t colon = text.rfind(':');
  ListenAddress listen;
  const Status bad = Status::Stop(
      fmt::format("'{}' is no address to listen on: write 127.0.0.1:8080 or [::1]:8080", text));
  if (colon == std::string_view::npos) return bad;
  const std::string_view port = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), listen.port);
  if (error != std::errc() || end != port.data() + port.size()) return bad;
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.empty() || host == "localhost") host = "127.0.0.1";
  listen.address = host;
  listen.is_loopback = host == "::1" || host.starts_with("127.");
  return listen;
}

}  // namespace sightline
