#include "config/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <iterator>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <utility>

#include "config/data_folder.h"
#include "connectors/storage/open_storage.h"
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

// Parses a whole number and a unit of the list. A bare number counts in units of 1.
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
        fmt::format("'{}' is not a {}: write a whole number and one of {}", text, what, names));
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

// What an option was called before. Among all options, which a file may have with their defaults,
// it is empty and says nothing.
Option FormerName(std::string key, const std::string& now, std::string* value) {
  return {.key = std::move(key),
          .unit = "as " + now,
          .help = "The former name of " + now + ".",
          .set =
              [value](std::string_view text) {
                if (!text.empty()) *value = text;
                return Status::Ok();
              },
          .get = [] { return std::string(); }};
}

Option Duration(std::string key, Millis* value, int64_t least_ms, std::string help) {
  return {.key = std::move(key),
          .unit = "duration such as 10s",
          .help = std::move(help),
          .set =
              [value, least_ms](std::string_view text) {
                const Result<Millis> parsed = ParseDuration(text);
                if (!parsed.ok()) return parsed.status();
                if (parsed.value().v < least_ms)
                  return Status::Stop(fmt::format("'{}' is too short: the minimum is {}", text,
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
                  return Status::Stop(fmt::format("'{}' is too small: the minimum is {}", text,
                                                  FormatBytes(least)));
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
                      fmt::format("'{}' is not a whole number from {} to {}", text, least, most));
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
                return Status::Stop(fmt::format("'{}' is not one of {}", text, unit));
              },
          .get =
              [value, choices] {
                for (const auto& [name, choice] : choices)
                  if (choice == *value) return name;
                return std::string();
              }};
}

// An option whose default depends on something else: it is empty until it is set.
Option IfChosen(Option option, bool* chosen) {
  return {.key = option.key,
          .unit = option.unit,
          .help = option.help,
          .set =
              [set = option.set, chosen](std::string_view text) {
                *chosen = !text.empty();
                return *chosen ? set(text) : Status::Ok();
              },
          .get = [get = option.get, chosen] { return *chosen ? get() : std::string(); }};
}

// A duration, or a word that stands for none.
Option DurationOr(std::string none, std::string key, std::optional<Millis>* value, int64_t least_ms,
                  std::string help) {
  auto given = std::make_shared<Millis>();
  Option option = Duration(std::move(key), given.get(), least_ms, std::move(help));
  option.unit += ", or " + none;
  option.set = [value, none, given, set = option.set](std::string_view text) {
    if (text != none) RETURN_IF_ERROR(set(text));
    *value = text == none ? std::nullopt : std::optional(*given);
    return Status::Ok();
  };
  option.get = [value, none] { return *value ? FormatDuration(**value) : none; };
  return option;
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
                      fmt::format("'{}' is not a time: write 2026-11-22T12:00:00Z or "
                                  "milliseconds since 1970",
                                  text));
                return Status::Ok();
              },
          .get = [value, none] { return *value == none ? "" : fmt::format("{}", value->v); }};
}

Status CheckHost(std::string_view text) {
  const bool good = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) ||
           std::string_view("-._:[]").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (good) return Status::Ok();
  return Status::Stop(fmt::format(
      "'{}' is not the name of a host: write counts.example.org, several with commas", text));
}

// RFC 6454: the scheme, the host and, if it is not the scheme's own, the port.
Status CheckOrigin(std::string_view text) {
  for (const std::string_view scheme : {"http://", "https://"})
    if (text.starts_with(scheme) && CheckHost(text.substr(scheme.size())).ok()) return Status::Ok();
  return Status::Stop(
      fmt::format("'{}' is not an origin: write https://counts.example.org, without a path", text));
}

// Values with commas between them; each must pass `check`.
Option List(std::string key, std::string unit, std::vector<std::string>* value,
            Status (*check)(std::string_view), std::string help) {
  return {.key = std::move(key),
          .unit = std::move(unit),
          .help = std::move(help),
          .set =
              [value, check](std::string_view text) {
                std::vector<std::string> values;
                while (!text.empty()) {
                  std::string_view one = text.substr(0, text.find(','));
                  text.remove_prefix(std::min(one.size() + 1, text.size()));
                  while (one.starts_with(' ')) one.remove_prefix(1);
                  while (one.ends_with(' ')) one.remove_suffix(1);
                  RETURN_IF_ERROR(check(one));
                  values.emplace_back(one);
                }
                *value = std::move(values);
                return Status::Ok();
              },
          .get = [value] { return fmt::format("{}", fmt::join(*value, ",")); },
          .is_list = true};
}

Option Origin(std::string key, std::string* value, std::string help) {
  return {.key = std::move(key),
          .unit = "origin",
          .help = std::move(help),
          .set =
              [value](std::string_view text) {
                if (!text.empty()) RETURN_IF_ERROR(CheckOrigin(text));
                *value = text;
                return Status::Ok();
              },
          .get = [value] { return *value; }};
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

// Returns the known section whose name is the fewest edits away.
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

// Returns a TOML value as the text that the option takes; nothing if it takes no such value.
std::optional<std::string> TextOf(const toml::node& node, const Option& option) {
  if (const auto* array = node.as_array(); array != nullptr && option.is_list) {
    std::vector<std::string> values;
    for (const auto& one : *array) {
      const auto* text = one.as_string();
      if (text == nullptr) return std::nullopt;
      values.push_back(text->get());
    }
    return fmt::format("{}", fmt::join(values, ","));
  }
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return fmt::format("{}", number->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  return std::nullopt;
}

Status LoadTable(const toml::table& values, const std::string& prefix, const std::string& path,
                 const std::vector<Option>& table);

// Reads [hdfs.a], [hdfs.b] and so on. `section` is the row "hdfs.NAME".
Status LoadNamed(const toml::table& values, const Option& section, const std::string& path) {
  const std::string prefix = section.key.substr(0, section.key.find('.') + 1);
  for (const auto& [key, node] : values) {
    const std::string name(key.str());
    const toml::table* const one = node.as_table();
    if (one == nullptr)
      return Status::Stop(fmt::format("{}:{}: '{}{}' must be a section: write [{}] before its keys",
                                      path, node.source().begin.line, prefix, name, section.key));
    RETURN_IF_ERROR(LoadTable(*one, prefix + name + ".", path, section.section(name)));
  }
  return Status::Ok();
}

Status LoadTable(const toml::table& values, const std::string& prefix, const std::string& path,
                 const std::vector<Option>& table) {
  for (const auto& [name, node] : values) {
    const std::string key = prefix + std::string(name.str());
    auto at = [&, line = node.source().begin.line](const std::string& what) {
      return Status::Stop(fmt::format("{}:{}: {}", path, line, what));
    };
    if (const toml::table* section = node.as_table()) {
      const auto named = std::find_if(table.begin(), table.end(), [&](const Option& option) {
        return option.section && option.key == key + ".NAME";
      });
      if (named != table.end()) {
        RETURN_IF_ERROR(LoadNamed(*section, *named, path));
        continue;
      }
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
    const std::optional<std::string> text = TextOf(node, *option);
    if (!text)
      return at(fmt::format("'{}' must be a string or a whole number ({})", key, option->unit));
    if (const Status status = option->set(*text); !status.ok())
      return at(fmt::format("{}: {}", key, status.message()));
  }
  return Status::Ok();
}

std::vector<Option> ProcessOptions(Settings* o) {
  return {
      Text("data", "folder", &o->data,
           "The folder that holds all durable state. One process owns it."),
      Text("listen", "address:port", &o->listen,
           "The address at which the page and the API are served. Port 0 selects a free port."),
      Text("locations", "CSV or Parquet file", &o->locations,
           "The location table: the name of each location oid, and optionally its time zone, "
           "coordinates and parent."),
      Duration("locations_refresh", &o->locations_refresh, 100,
               "The interval at which Sightline checks the location table for changes."),
      Text("log_level", "debug | info | warning | error", &o->log_level,
           "The lowest level of the log lines that go to stderr."),
      Text("web_dir", "folder", &o->web_dir,
           "The folder from which the page is served. By default the page comes from the binary."),
      Integer("partitions", "number", &o->partitions, 1, 1'024,
              "The number of partitions of the embedded log. It is fixed when the data folder is "
              "created."),
      Integer("engine.threads", "number", &o->engine.threads, 0, 256,
              "The number of threads that count. 0 means one per core."),
      Duration("engine.commit_interval", &o->engine.commit_interval, 1,
               "The time for which counts are collected before they are committed to disk."),
      Duration("engine.checkpoint_interval", &o->engine.checkpoint_interval, 100,
               "The maximum time between two checkpoints of a partition. After a crash, at most "
               "about as much is read again."),
      Choice("engine.on_gap", &o->engine.on_gap, {{"stop", OnGap::kStop}, {"count", OnGap::kCount}},
             "What a partition does when retention has removed records before they were counted. "
             "`stop` waits for a person. `count` adds them to `lost` in the ledger and continues."),
      Size("engine.pending_max", &o->engine.pending_max, 1 << 16,
           "The maximum memory, over all partitions, for counts that a sink such as the lake has "
           "not yet committed. Older counts spill to disk."),
      Size("engine.spill_max", &o->engine.spill_max, 0,
           "The maximum disk space, over all partitions, for spilled counts in the checkpoint "
           "folder. Counting waits when it is full. 0 means that nothing is spilled."),
      Text("engine.checkpoint_uri", "folder | hdfs://NAME/path", &o->engine.checkpoint_uri,
           "The place of the checkpoints of `count`; by default `checkpoints` in the data folder. "
           "All `count` processes should share it: otherwise a process that takes over a partition "
           "reads everything again. hdfs://NAME/path needs a section [hdfs.NAME]."),
      FormerName("engine.checkpoint_dir", "engine.checkpoint_uri", &o->engine.checkpoint_uri),
      Duration("log.retention", &o->log.retention, 1'000,
               "The time for which raw events are kept in the embedded log."),
      Size("log.size_max", &o->log.size_max, 1 << 20,
           "The maximum disk space for raw events. The oldest are removed first."),
      Size("log.queue_max", &o->log.queue_max, 1 << 16,
           "The maximum size of the events that wait to be written to disk. Beyond it, senders get "
           "status 429."),
  };
}

std::vector<Option> ServerOptions(Settings* o) {
  return {
      Integer("server.threads", "number", &o->server.threads, 1, 64,
              "The number of threads that serve HTTP."),
      Size("server.body_max", &o->server.body_max, 1 << 10,
           "The maximum size of one POST body, both as sent and unpacked; at most half of "
           "server.memory_max. Larger bodies get status 413."),
      Size("server.memory_max", &o->server.memory_max, 1 << 16,
           "The maximum memory for all POST bodies that are being processed. Beyond it, senders "
           "get status 429."),
      Integer(
          "server.connections_max", "number", &o->server.connections_max, 1, 100'000,
          "The maximum number of open connections. Beyond it, the one is closed that has waited "
          "longest for a request, of the client that has most of those."),
      List("server.allowed_hosts", "names", &o->server.allowed_hosts, CheckHost,
           "Further names that requests may call the server by (their Host), for example the one "
           "that a proxy in front uses; with commas between them."),
      Origin("server.public_origin", &o->server.public_origin,
             "Where browsers see the page if a proxy is in front, for example "
             "https://counts.example.org. Its pages may post, and its host is allowed."),
      List("server.cors_origins", "origins", &o->server.cors_origins, CheckOrigin,
           "The origins of other sites whose pages may read and post here (CORS), for example "
           "https://dashboard.example.org; with commas between them."),
      Duration("live.push_interval", &o->live.push_interval, 1,
               "The minimum time between two updates of one view."),
      Duration("live.pane_retention", &o->live.pane_retention, 3'600'000,
               "The time for which the page keeps panes, its finest windows."),
  };
}

Status CheckWebUrl(std::string_view text) {
  if (text.starts_with("http://") || text.starts_with("https://")) return Status::Ok();
  return Status::Stop(fmt::format("'{}' must begin with http:// or https://", text));
}

std::vector<Option> HdfsRows(const std::string& name, HdfsOptions* o) {
  const std::string section = "hdfs." + name + ".";
  return {
      List(section + "namenodes", "URL,...", &o->namenodes, CheckWebUrl,
           "Where WebHDFS is, for example https://nn1:9871. Name all NameNodes of the cluster."),
      Text(section + "base_path", "path", &o->base_path,
           "The path of WebHDFS on these servers. A gateway has another one, such as "
           "/gateway/NAME/webhdfs/v1."),
      Text(section + "user", "name", &o->user,
           "The user of simple authentication. By default it is the server's."),
      Text(section + "token_file", "file", &o->token_file,
           "A file with a delegation token. It is read again for each request, so that the token "
           "can be renewed."),
      Text(section + "ca_file", "PEM file", &o->ca_file,
           "The certificates that sign those of the servers. By default they are the machine's."),
      Text(section + "directory_mode", "octal", &o->directory_mode,
           "The mode of directories that Sightline makes, for example 770. By default the server "
           "chooses it."),
      Text(section + "file_mode", "octal", &o->file_mode,
           "The mode of files that Sightline writes, for example 660. By default the server "
           "chooses it."),
      Integer(section + "uploads_max", "number", &o->uploads_max, 1, 64,
              "The maximum number of files that one commit writes at the same time."),
  };
}

std::vector<Option> S3Rows(const std::string& bucket, S3Options* o) {
  const std::string section = "s3." + bucket + ".";
  return {
      Text(section + "endpoint", "URL", &o->endpoint,
           "Where the server is, for example https://minio.example.org:9000. By default it is AWS "
           "in `region`."),
      Text(section + "region", "name", &o->region, "The region that the bucket is in."),
      Choice<bool>(section + "path_style", &o->path_style, {{"true", true}, {"false", false}},
                   "Whether the bucket is in the path of a URL (true) or in front of its host."),
      Text(section + "ca_file", "PEM file", &o->ca_file,
           "The certificates that sign the server's. By default they are the machine's."),
      Text(
          section + "access_key_file", "file", &o->access_key_file,
          "A file with the id, the secret and, if there is one, the session token of a key, a line "
          "each. It is read again for each request, so that the key can be renewed. By default the "
          "key is looked for as AWS's programs do: environment, profile, web identity, role of the "
          "machine."),
      Choice<S3Encryption>(section + "encryption", &o->encryption,
                           {{"default", S3Encryption::kDefault},
                            {"sse-s3", S3Encryption::kS3},
                            {"sse-kms", S3Encryption::kKms}},
                           "How the server is to encrypt what Sightline writes: as the bucket has "
                           "it, by its own key, or by one of its key management service."),
      Text(section + "kms_key", "id", &o->kms_key,
           "The key of sse-kms. By default it is the bucket's."),
      Integer(section + "uploads_max", "number", &o->uploads_max, 1, 64,
              "The maximum number of files that one commit writes at the same time."),
  };
}

// Places of files that need to be told how they are reached.
std::vector<Option> StorageSections(Settings* o) {
  return {{.key = "hdfs.NAME",
           .unit = "section",
           .help = "How to reach the HDFS of hdfs://NAME/path, for lake.dir and "
                   "engine.checkpoint_uri.",
           .section = [o](const std::string& name) { return HdfsRows(name, &o->hdfs[name]); }},
          {.key = "s3.NAME",
           .unit = "section",
           .help = "How to reach the bucket NAME of s3://NAME/path, for lake.dir and "
                   "engine.checkpoint_uri.",
           .section = [o](const std::string& name) { return S3Rows(name, &o->s3[name]); }}};
}

std::vector<Option> LakeOptions(Settings* o) {
  return {
      Choice<bool>("lake.enabled", &o->lake.enabled, {{"true", true}, {"false", false}},
                   "Whether counts are kept in Delta tables, for SQL and for other tools."),
      Text(
          "lake.dir", "folder", &o->lake.dir,
          "The folder of the Delta tables; by default `lake` in the data folder. It may be "
          "hdfs://NAME/path or s3://BUCKET/path, which need a section [hdfs.NAME] or [s3.BUCKET]."),
      DurationOr("auto", "lake.roll_interval", &o->lake.roll_interval, 100,
                 "The interval at which counts are written to the lake. Other tools lag behind by "
                 "as much. `auto` is 1m, and 5m above lake.max_partitions."),
      Integer("lake.max_partitions", "locations", &o->lake.max_partitions, 1, 100'000,
              "The number of locations up to which the counts are partitioned by location and day. "
              "Before they have more, they are partitioned by day and 16 buckets of locations."),
      Integer(
          "lake.retention_days", "days", &o->lake.retention_days, 0, 100'000,
          "The age at which days are removed from the lake. 0 means that they are kept for ever."),
      Duration("lake.vacuum_retention", &o->lake.vacuum_retention, 3'600'000,
               "The time for which files that have left the tables stay on disk, for readers of "
               "older versions."),
      Duration("lake.maintenance_interval", &o->lake.maintenance_interval, 1'000,
               "The time between two rounds of compaction, retention and vacuum."),
      Size("query.memory_max", &o->query.memory_max, 64 << 20,
           "The maximum memory that DuckDB uses in each query worker. `sightline explain` prints "
           "what all workers together may take."),
      Integer("query.threads", "number", &o->query.threads, 1, 256,
              "The number of threads that DuckDB uses in each query worker."),
      Integer(
          "query.running_max", "number", &o->query.running_max, 1, 64,
          "The maximum number of SQL queries that run at the same time, each in a process of its "
          "own. One client runs at most half of them. Others wait."),
      Integer("query.waiting_max", "number", &o->query.waiting_max, 1, 100'000,
              "The maximum number of queries that wait. Further ones are refused and can be "
              "retried later."),
      Size("query.answer_memory_max", &o->query.answer_memory_max, 1 << 20,
           "The maximum memory for all answers that are being built or sent. Each uses at most 1 "
           "MiB of it, and the disk for the rest."),
      Size("query.answer_disk_max", &o->query.answer_disk_max, 16 << 20,
           "The maximum disk space, in the folder for temporary files, for all answers that are "
           "being built or sent. One answer uses at most half of it."),
      Size("query.cache_max", &o->query.cache_max, 64 << 10,
           "The maximum disk space, in the data folder, for copies of the files of a lake on HDFS, "
           "which queries read. A query that needs more at once is refused."),
  };
}

std::vector<Option> KafkaClientOptions(Settings* o) {
  return {
      Text("kafka.brokers", "host:port,...", &o->kafka.client.brokers,
           "The brokers to connect to first. If set, raw events come from Kafka; otherwise from "
           "the data folder."),
      Text("kafka.topic", "topic", &o->kafka.topic,
           "The topic of the raw events. `raw_camera_events_<location>` stands for one topic per "
           "location."),
      Choice<bool>("kafka.publish", &o->kafka.publish, {{"true", true}, {"false", false}},
                   "Whether counts, dead letters and late detections are published to topics, "
                   "exactly once."),
      Text("kafka.counts_topic", "topic", &o->kafka.counts_topic,
           "The topic of the counts with the names of their locations. It has as many partitions "
           "as kafka.topic."),
      Text("kafka.item_counts_topic", "topic", &o->kafka.item_counts_topic,
           "The topic of the counts without names, which `join` reads."),
      Text("kafka.lake_rows_topic", "topic", &o->kafka.lake_rows_topic,
           "The topic of the sealed segments, which `transform` writes and `store` reads."),
      Text("kafka.dead_letters_topic", "topic", &o->kafka.dead_letters_topic,
           "The topic of the malformed and future events."),
      Text("kafka.late_detections_topic", "topic", &o->kafka.late_detections_topic,
           "The topic of the events that came too late."),
      Text(
          "kafka.monitoring_topic", "topic", &o->kafka.monitoring_topic,
          "The topic to which each process publishes its numbers once a second. Empty means none."),
      Text("kafka.alerts_topic", "topic", &o->kafka.alerts_topic,
           "The topic of the alerts that start and end. Empty means none."),
      Text("kafka.deployment", "name", &o->kafka.deployment,
           "The prefix of every transactional.id and consumer group. Deployments that read the "
           "same topic need different names."),
      Text("kafka.security_protocol", "PLAINTEXT | SSL | SASL_PLAINTEXT | SASL_SSL",
           &o->kafka.client.security_protocol,
           "The security protocol of the connections to the brokers."),
      Text("kafka.sasl_mechanism", "PLAIN | SCRAM-SHA-256 | SCRAM-SHA-512",
           &o->kafka.client.sasl_mechanism, "The SASL mechanism of the login."),
      Text("kafka.sasl_username", "name", &o->kafka.client.sasl_username,
           "The user name of the login."),
      Text("kafka.sasl_password_file", "file", &o->kafka.sasl_password_file,
           "The file that holds the password of the login. The variable SIGHTLINE_KAFKA_PASSWORD "
           "overrides it."),
      Text("kafka.ssl_ca", "PEM file", &o->kafka.client.ssl_ca,
           "The CA certificates that sign the brokers' certificates. By default those that this "
           "system trusts are used."),
      Text("kafka.ssl_certificate", "PEM file", &o->kafka.client.ssl_certificate,
           "The certificate of this process, for mutual TLS."),
      Text("kafka.ssl_key", "PEM file", &o->kafka.client.ssl_key,
           "The private key of kafka.ssl_certificate."),
      Text("kafka.ssl_key_password_file", "file", &o->kafka.ssl_key_password_file,
           "The file that holds the password of the private key. The variable "
           "SIGHTLINE_KAFKA_KEY_PASSWORD overrides it."),
      Size("kafka.queue_max", &o->kafka.client.queue_bytes_max, 1 << 20,
           "The maximum size of the records that are fetched ahead of the engine, per partition."),
      Duration("kafka.queue_backoff", &o->kafka.client.queue_backoff, 1,
               "The time for which fetching pauses when the queue of a partition is full."),
      Duration("kafka.session_timeout", &o->kafka.session_timeout, 6'000,
               "The silence after which a process loses its partitions to the other members of its "
               "consumer group."),
      Duration("kafka.commit_interval", &o->kafka.commit_interval, 1,
               "The time for which counts are collected before they are published."),
      Duration("kafka.group_interval", &o->kafka.group_interval, 1'000,
               "The time for which a running total continues under one key. The lake behind "
               "`transform` lags by up to one and a half times as much."),
      Duration("kafka.transaction_timeout", &o->kafka.client.transaction_timeout, 1'000,
               "The time after which the broker aborts the transaction of a process that hangs."),
  };
}

std::vector<Option> KafkaTopicOptions(Settings* o) {
  return {
      Integer("kafka.partitions", "number", &o->kafka.partitions, 0, 10'000,
              "The number of partitions of the topics that `topics apply` creates; it is fixed "
              "then. 0 means as many as kafka.topic has, or 12 if that is created, too."),
      Integer("kafka.location_partitions", "number", &o->kafka.location_partitions, 1, 1'000,
              "The number of partitions of each location's raw topic, where kafka.topic contains "
              "<location>."),
      Integer("kafka.replication", "brokers", &o->kafka.replication, 0, 100,
              "The number of brokers that hold each record. 0 means 3, or as many as there are."),
      Integer("kafka.min_isr", "brokers", &o->kafka.min_isr, 0, 100,
              "The number of brokers that must have a record before it is acknowledged. 0 means "
              "one less than the replication."),
      Duration("kafka.raw_retention", &o->kafka.raw_retention, 0,
               "The time for which the raw topic keeps events. 0 means for ever."),
      Size("kafka.raw_retention_size", &o->kafka.raw_retention_size, 0,
           "The maximum size of a partition of the raw topic. The oldest events are removed first. "
           "0 means no limit."),
      Duration("kafka.counts_retention", &o->kafka.counts_retention, 0,
               "The time for which published counts are kept. It must be longer than counting ever "
               "stands still. 0 means for ever."),
      Duration("kafka.aside_retention", &o->kafka.aside_retention, 0,
               "The time for which dead letters, late detections and alerts are kept. 0 means for "
               "ever."),
      Duration("kafka.monitoring_retention", &o->kafka.monitoring_retention, 0,
               "The time for which the numbers of the processes are kept. 0 means for ever."),
  };
}

std::vector<Option> AlertsOptions(Settings* o) {
  AlertOptions& a = o->alerts.rules;
  const auto percent = [](std::string key, int64_t* value, std::string help) {
    return Integer(std::move(key), "percent", value, 0, 100, std::move(help));
  };
  return {
      Text("alerts.instance", "name", &o->alerts.instance,
           "The name of this process in alerts and monitoring; by default its host and port."),
      Duration("alerts.window", &a.window, 1'000,
               "The time over which rates and shares are calculated."),
      Duration("alerts.start_after", &a.start_after, 0,
               "The time for which a threshold must be passed before an alert starts."),
      Duration(
          "alerts.end_after", &a.end_after, 0,
          "The time for which a value must stay below the lower threshold before an alert ends."),
      Integer("alerts.end_percent", "percent", &a.end_percent, 1, 100,
              "The lower threshold of a rate, as a percentage of the one that starts its alert."),
      Integer(
          "alerts.events_min", "events", &a.events_min, 1, 1'000'000'000,
          "The minimum number of events in a window. With fewer, no rule about shares applies."),
      Integer("alerts.subjects_max", "number", &a.subjects_max, 1, 1'000,
              "The maximum number of alerts that a rule reports individually, at a time and per "
              "minute. The others are summarised in one alert."),
      Integer("alerts.subjects_known", "number", &o->alerts.subjects_known, 1, 10'000'000,
              "The maximum number of cameras, and of locations, that are watched. Further ones are "
              "not."),
      Duration("alerts.forget", &o->alerts.forget, 1'000,
               "The silence after which a camera or location is no longer expected."),
      Duration("alerts.camera_silent", &a.camera_silent, 0,
               "The time without a detection or heartbeat of a camera after which the alert "
               "camera_silent starts. 0 switches it off."),
      Duration("alerts.location_silent", &a.location_silent, 0,
               "The time without a detection or heartbeat of a location after which the alert "
               "location_silent starts. 0 switches it off."),
      percent("alerts.duplicate_percent", &a.duplicate_percent,
              "The share of copies among the events at which the alert duplicate_storm starts. 0 "
              "switches it off."),
      Integer("alerts.duplicates_per_second", "number", &a.duplicates_per_second, 0, 1'000'000'000,
              "The minimum rate of copies for the alert duplicate_storm."),
      percent("alerts.dead_letter_percent", &a.dead_letter_percent,
              "The share of malformed and future events at which the alert dead_letter_rate "
              "starts. 0 switches it off."),
      percent(
          "alerts.too_late_percent", &a.too_late_percent,
          "The share of late events at which the alert too_late_rate starts. 0 switches it off."),
      percent("alerts.clock_percent", &a.clock_percent,
              "The share of a camera's events at which the alert clock_ahead (future events) or "
              "clock_behind (late events) starts. 0 switches both off."),
      Integer(
          "alerts.clock_jumps", "number", &a.clock_jumps, 0, 1'000'000'000,
          "The number of jumps of cameras' clocks, in a partition and alerts.window, at which the "
          "alert clock_jump starts. It needs pipeline.watermark_step = bounded. 0 switches it "
          "off."),
      Integer("alerts.id_conflicts", "number", &a.id_conflicts, 0, 1'000'000'000,
              "The number of detections with the id of another one, in "
              "alerts.id_conflict_window, at which the alert id_conflict starts: between cameras "
              "together, within a camera for each. 0 switches it off."),
      Duration("alerts.id_conflict_window", &a.id_conflict_window, 1'000,
               "The time over which the alert id_conflict counts, and for which it lasts after the "
               "last one."),
      Integer("alerts.lag_min", "records", &a.lag_min, 0, 1'000'000'000'000,
              "The number of waiting records at which the alert lag_growing starts, if their "
              "number grows. 0 switches it off."),
      Duration("alerts.watermark_stalled", &a.watermark_stalled, 0,
               "The time for which a watermark must stand still, while records arrive, before the "
               "alert watermark_stalled starts. 0 switches it off."),
      percent("alerts.state_percent", &a.state_percent,
              "The share of a limit (spilled counts, disk, memory) at which the alert "
              "state_near_limit starts. 0 switches it off."),
      Duration("alerts.sink_stalled", &a.sink_stalled, 0,
               "The time, beyond two of its commits, for which a sink must take none of what waits "
               "for it before the alert sink_failing starts. 0 switches it off."),
  };
}

std::vector<Option> PipelineOptions(Settings* o) {
  PipelineSpec& p = o->pipeline;
  return {
      Choice<TimeUnit>("pipeline.timestamp_unit", &p.decode.timestamp_unit,
                       {{"s", TimeUnit::kSeconds},
                        {"ms", TimeUnit::kMillis},
                        {"us", TimeUnit::kMicros},
                        {"ns", TimeUnit::kNanos}},
                       "The unit of integer timestamps in events."),
      Text("pipeline.timestamp_zone", "time zone", &p.decode.timestamp_zone,
           "The time zone of times that have none, such as Europe/Berlin. Without it, such times "
           "are malformed."),
      IfChosen(
          Choice<DetectionIds>("pipeline.detection_ids", &p.decode.detection_ids,
                               {{"integer", DetectionIds::kInteger}, {"any", DetectionIds::kAny}},
                               "What a detection_oid may be. `integer`: of 64 bits. `any`: "
                               "also other text, such as a UUID. By default that of the "
                               "pipeline, and `any` for a new one."),
          &o->chosen_rules.detection_ids),
      IfChosen(Choice<Decoding>("pipeline.decoding", &p.decode.version,
                                {{"1", Decoding::kFirst}, {"2", Decoding::kSecond}},
                                "The version of the rules by which messages and times are read. By "
                                "default that of the pipeline, and the newest for a new one."),
               &o->chosen_rules.decoding),
      Choice<ItemNames>("pipeline.item_names", &p.decode.item_names,
                        {{"as_sent", ItemNames::kAsSent}, {"nfc", ItemNames::kNfc}},
                        "`nfc` brings item names into Unicode's normalization form C, so that one "
                        "word is one item however it is encoded."),
      Choice<Identity>("pipeline.identity", &p.identity,
                       {{"detection", Identity::kDetection},
                        {"camera_and_detection", Identity::kCameraAndDetection}},
                       "The fields that make two events the same detection. Where a detection_oid "
                       "is unique only within its camera, set camera_and_detection."),
      Duration("pipeline.window_size", &p.window_size, 1,
               "The size of the windows of stored counts."),
      Duration("pipeline.pane_size", &p.pane_size, 1,
               "The size of the page's finest windows. It must divide pipeline.window_size."),
      Duration("pipeline.out_of_orderness", &p.out_of_orderness, 0,
               "The time by which a camera's events may arrive out of order."),
      Duration("pipeline.dedup_horizon", &p.dedup_horizon, 0,
               "The time for which a detection is remembered, and by which an event may be late."),
      Duration("pipeline.future_tolerance", &p.future_tolerance, 0,
               "The time by which a camera's clock may be ahead."),
      DurationOr("off", "pipeline.max_age", &p.max_age, 0,
                 "The maximum age of an event when it arrives."),
      Duration("pipeline.camera_ttl", &p.camera_ttl, 1,
               "The silence of a camera after which its detections are forgotten."),
      Choice<WatermarkStep>(
          "pipeline.watermark_step", &p.watermark_step,
          {{"free", WatermarkStep::kFree}, {"bounded", WatermarkStep::kBounded}},
          "How far an event without append time moves its camera's watermark. `free`: to its own "
          "time. `bounded`: by at most pipeline.dedup_horizon at once, so that a wrong time costs "
          "no other events. Choose `bounded` for a new pipeline over a CreateTime topic."),
      Duration("pipeline.idle_timeout", &p.idle_timeout, 1,
               "The silence of a partition after which it no longer delays the completeness of "
               "windows."),
      Time("pipeline.count_from", &p.count_from,
           "The start of the range that is counted, for a hand-over. Earlier events get the "
           "outcome `outside`."),
      Time("pipeline.count_until", &p.count_until,
           "The end of the range that is counted, for a hand-over. Events at or after it get the "
           "outcome `outside`."),
  };
}

}  // namespace

std::string Settings::CheckpointUri() const {
  return engine.checkpoint_uri.empty() ? DataFolder(data).checkpoints() : engine.checkpoint_uri;
}

std::string Settings::KnownTablesOfCount() const {
  const std::string& shared = engine.checkpoint_uri;
  if (shared.empty() || !IsLocalStorage(shared)) return DataFolder(data).known_tables("count");
  return AbsoluteStorageUrl(shared) + "/lake.json";
}

std::vector<Option> OptionTable(Settings* o) {
  std::vector<Option> table;
  for (const auto part : {ProcessOptions, ServerOptions, LakeOptions, StorageSections,
                          KafkaClientOptions, KafkaTopicOptions, AlertsOptions, PipelineOptions})
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
  // It cannot be known whether a bare number means seconds or milliseconds.
  if (ms.value() != 0 && !std::isalpha(static_cast<unsigned char>(text.back())))
    return Status::Stop(
        fmt::format("'{0}' needs a unit: write {0}s, or {0}ms for milliseconds", text));
  return Millis{ms.value()};
}
std::string FormatDuration(Millis duration) { return FormatWithUnit(duration.v, kDurations); }
Result<int64_t> ParseBytes(std::string_view text) { return ParseWithUnit(text, kSizes, "size"); }
std::string FormatBytes(int64_t bytes) { return FormatWithUnit(bytes, kSizes); }

Result<ListenAddress> ParseListen(std::string_view text) {
  const size_t colon = text.rfind(':');
  ListenAddress listen;
  const Status bad = Status::Stop(
      fmt::format("'{}' is not an address to listen on: write 127.0.0.1:8080 or [::1]:8080", text));
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
