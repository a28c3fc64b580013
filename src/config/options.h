// Options: every setting of `sightline up`, each with a key, a default, a unit and a help text.
//
// One table serves the command line (--key value), the config file (TOML, [section] key = value)
// and `sightline options`. The command line overrides the file, and the file overrides the default.
// Used by one thread, at the start.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/options.h"
#include "connectors/storage/hdfs_options.h"
#include "connectors/storage/s3_options.h"
#include "monitor/alerts.h"
#include "pipeline/spec.h"

namespace sightline {

enum class OnGap : uint8_t;  // engine/partition_task.h

// The settings of a process, by the sections of the config file: `kafka.topic` in the file is
// `kafka.topic` here. Each component takes the sections that it needs.
struct EngineSettings {
  int64_t threads = 0;  // 0: as many as cores
  Millis commit_interval{250};
  Millis checkpoint_interval{30'000};
  OnGap on_gap{};  // stop
  int64_t pending_max = 128 << 20;
  int64_t spill_max = int64_t{8} << 30;
  std::string checkpoint_uri;  // empty: `checkpoints` in the data folder
};

struct LogSettings {
  Millis retention{7 * 86'400'000LL};
  int64_t size_max = int64_t{10} << 30;
  int64_t queue_max = 64 << 20;
};

struct ServerSettings {
  int64_t threads = 1;
  int64_t body_max = 16 << 20;
  int64_t memory_max = 64 << 20;
  int64_t connections_max = 4'096;
  std::vector<std::string> allowed_hosts;
  std::string public_origin;  // empty: none
  std::vector<std::string> cors_origins;
};

struct LiveSettings {
  Millis push_interval{2};
  Millis pane_retention{24 * 3'600'000LL};
};

struct LakeSettings {
  bool enabled = true;
  std::string dir;                      // empty: "lake" in the data folder
  std::optional<Millis> roll_interval;  // none: as the layout of the counts wants it
  int64_t max_partitions = 200;
  int64_t retention_days = 0;  // 0: for ever
  Millis vacuum_retention{7 * 86'400'000LL};
  Millis maintenance_interval{3'600'000};
};

struct QuerySettings {
  int64_t memory_max = 256 << 20;  // of DuckDB, in each worker
  int64_t threads = 2;             // of DuckDB, in each worker
  int64_t running_max = 4;
  int64_t waiting_max = 64;
  int64_t answer_memory_max = 256 << 20;
  int64_t answer_disk_max = 1 << 30;
  int64_t cache_max = 1 << 30;
};

struct KafkaSettings {
  KafkaOptions client;  // empty brokers: raw events lie in the embedded log; without the passwords
  std::string sasl_password_file;
  std::string ssl_key_password_file;
  std::string topic = "raw_camera_events";  // or a pattern (connectors/kafka/raw_topic_name.h)
  bool publish = true;
  std::string counts_topic = "located_item_counts";
  std::string item_counts_topic = "item_counts";
  std::string lake_rows_topic = "lake_rows";
  std::string dead_letters_topic = "dead_letters";
  std::string late_detections_topic = "late_detections";
  // Empty: nothing is published there.
  std::string monitoring_topic = "monitoring";
  std::string alerts_topic = "alerts";
  std::string deployment = "sightline";
  Millis commit_interval{60};
  Millis group_interval{60'000};
  Millis session_timeout{10'000};
  // For `sightline topics`. What 0 means is in the help texts of OptionTable().
  int64_t partitions = 0;
  int64_t location_partitions = 1;
  int64_t replication = 0;
  int64_t min_isr = 0;
  // Longer than the time between two copies can be (pipeline.max_age + future_tolerance), so that a
  // start without a checkpoint still finds every first copy.
  Millis raw_retention{8 * 86'400'000LL};
  int64_t raw_retention_size = int64_t{10} << 30;
  Millis counts_retention{30 * 86'400'000LL};
  Millis aside_retention{30 * 86'400'000LL};
  Millis monitoring_retention{7 * 86'400'000LL};

  bool enabled() const { return !client.brokers.empty(); }
};

struct AlertSettings {
  std::string instance;  // empty: host:port
  AlertOptions rules;
  int64_t subjects_known = 100'000;
  Millis forget{86'400'000};
};

struct Settings {
  std::string data = "data";
  std::string listen = "127.0.0.1:8080";
  std::string locations;  // empty: none
  Millis locations_refresh{5'000};
  std::string log_level = "info";
  std::string web_dir;  // empty: the pages in the binary
  int64_t partitions = 4;
  EngineSettings engine;
  LogSettings log;
  ServerSettings server;
  LiveSettings live;
  LakeSettings lake;
  std::map<std::string, HdfsOptions> hdfs;  // by the NAME of hdfs://NAME/path
  std::map<std::string, S3Options> s3;      // by the BUCKET of s3://BUCKET/path
  QuerySettings query;
  KafkaSettings kafka;
  AlertSettings alerts;
  PipelineSpec pipeline;
  ChosenRules chosen_rules;  // of pipeline.decode
  // These are flags of the command line only.
  bool demo = false;
  bool insecure = false;

  // Of `count`: a path, or the URL of a storage.
  std::string CheckpointUri() const;
  // Where `count` remembers the tables of the lake: all that share a folder of checkpoints share
  // that, too.
  std::string KnownTablesOfCount() const;
};

// One row of the table. Values go through text: "10s", "16MiB", "4", "detection_oid".
struct Option {
  std::string key;   // e.g. "pipeline.window_size"
  std::string unit;  // what a value looks like
  std::string help;
  std::function<Status(std::string_view)> set;
  std::function<std::string()> get;
  bool is_list = false;  // the text has commas between its values; a file may have an array
  // Of a section that the file may have many times, such as [hdfs.prod]: its rows for one name. The
  // key is "hdfs.NAME", and there is neither `set` nor `get`. The command line does not have it.
  std::function<std::vector<Option>(const std::string& name)> section;
};

// The table over `options`, which must outlive it.
std::vector<Option> OptionTable(Settings* options);

// Reads a TOML file into the table. kStop names the file, the line and, for an unknown key, the
// nearest known one.
Status LoadConfig(const std::string& path, const std::vector<Option>& table);

// Sets the options of a run: first from the file `config`, unless that is empty, then from `given`,
// the values of the command line by key (empty: not given).
Status ReadOptions(const std::string& config, const std::map<std::string, std::string>& given,
                   const std::vector<Option>& table);

// Returns the known key that is the fewest edits away (Levenshtein 1966).
std::string NearestKey(std::string_view key, const std::vector<Option>& table);

// ParseDuration() takes "250ms", "10s", "5m", "1h", "7d"; only 0 needs no unit. ParseBytes() takes
// "16MiB", "10GiB", or a bare number of bytes. kStop says what to write.
Result<Millis> ParseDuration(std::string_view text);
std::string FormatDuration(Millis duration);
Result<int64_t> ParseBytes(std::string_view text);
std::string FormatBytes(int64_t bytes);

struct ListenAddress {
  std::string address;
  uint16_t port = 0;
  bool is_loopback = false;
};
// "127.0.0.1:8080", "localhost:8080", "[::1]:8080", ":8080" (loopback). kStop otherwise.
Result<ListenAddress> ParseListen(std::string_view text);

}  // namespace sightline
