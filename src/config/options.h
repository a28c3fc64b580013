// Options: every setting of `sightline up`, each with a key, a default, a unit and a line of help.
//
// One table serves the command line (--key value), the config file (TOML, [section] key = value)
// and `sightline options`. Command line beats file beats default. Single-threaded, at the start.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/options.h"
#include "monitor/alerts.h"
#include "pipeline/spec.h"

namespace sightline {

enum class OnGap : uint8_t;  // engine/partition_task.h

struct UpOptions {
  std::string data = "data";
  std::string listen = "127.0.0.1:8080";
  std::string locations;  // empty: none
  std::string log_level = "info";
  std::string web_dir;  // empty: the pages in the binary
  int64_t partitions = 4;
  int64_t engine_threads = 0;  // 0: as many as cores
  Millis commit_interval{250};
  Millis checkpoint_interval{30'000};
  OnGap on_gap{};  // stop
  int64_t pending_max = 128 << 20;
  int64_t spill_max = int64_t{8} << 30;
  Millis locations_refresh{5'000};
  Millis log_retention{7 * 86'400'000LL};
  int64_t log_size_max = int64_t{10} << 30;
  int64_t log_queue_max = 64 << 20;
  int64_t server_threads = 1;
  int64_t server_body_max = 16 << 20;
  int64_t server_memory_max = 64 << 20;
  int64_t server_connections_max = 4'096;
  Millis live_push_interval{2};
  Millis live_pane_retention{24 * 3'600'000LL};
  bool lake_enabled = true;
  std::string lake_dir;  // empty: "lake" in the data folder
  Millis lake_roll_interval{60'000};
  int64_t lake_max_partitions = 200;
  int64_t lake_retention_days = 0;  // 0: for ever
  Millis lake_vacuum_retention{7 * 86'400'000LL};
  Millis lake_maintenance_interval{3'600'000};
  int64_t query_memory_max = 512 << 20;
  int64_t query_threads = 2;
  int64_t query_running_max = 4;
  int64_t query_waiting_max = 64;
  int64_t query_answer_memory_max = 256 << 20;
  // Empty brokers: raw events lie in the embedded log. The passwords are not in here.
  KafkaOptions kafka;
  std::string kafka_sasl_password_file;
  std::string kafka_ssl_key_password_file;
  std::string kafka_topic =
      "raw_camera_events";  // or a pattern (connectors/kafka/raw_topic_name.h)
  bool kafka_publish = true;
  std::string kafka_counts_topic = "located_item_counts";
  std::string kafka_item_counts_topic = "item_counts";
  std::string kafka_lake_rows_topic = "lake_rows";
  std::string kafka_dead_letters_topic = "dead_letters";
  std::string kafka_late_detections_topic = "late_detections";
  // Empty: nothing is published there.
  std::string kafka_monitoring_topic = "monitoring";
  std::string kafka_alerts_topic = "alerts";
  std::string instance;  // empty: host:port
  AlertOptions alerts;
  int64_t alert_subjects_known = 100'000;
  Millis alert_forget{86'400'000};
  std::string kafka_deployment = "sightline";
  Millis kafka_commit_interval{60};
  Millis kafka_group_interval{60'000};
  Millis kafka_session_timeout{10'000};
  std::string checkpoint_dir;  // empty: `checkpoints` in the data folder
  // Of the topics, for `sightline topics`. 0: see OptionTable().
  int64_t kafka_partitions = 0;
  int64_t kafka_location_partitions = 1;
  int64_t kafka_replication = 0;
  int64_t kafka_min_isr = 0;
  // Longer than copies may be apart (pipeline.max_age and future_tolerance), so that a start
  // without checkpoint finds every first copy.
  Millis kafka_raw_retention{8 * 86'400'000LL};
  int64_t kafka_raw_retention_size = int64_t{10} << 30;
  Millis kafka_counts_retention{30 * 86'400'000LL};
  Millis kafka_aside_retention{30 * 86'400'000LL};
  Millis kafka_monitoring_retention{7 * 86'400'000LL};
  PipelineSpec pipeline;
  // Not in the config file.
  bool demo = false;
  bool insecure = false;
};

// One row of the table. Values go through text: "10s", "16MiB", "4", "detection_oid".
struct Option {
  std::string key;   // e.g. "pipeline.window_size"
  std::string unit;  // what a value looks like
  std::string help;
  std::function<Status(std::string_view)> set;
  std::function<std::string()> get;
};

// The table over `options`, which must outlive it.
std::vector<Option> OptionTable(UpOptions* options);

// Reads a TOML file into the table. kStop names the file, the line and, for an unknown key, the
// nearest known one.
Status LoadConfig(const std::string& path, const std::vector<Option>& table);

// What `up` runs with: the config file, unless `config` is empty, and then `given`, what the
// command line has by key (empty: not given).
Status ReadOptions(const std::string& config, const std::map<std::string, std::string>& given,
                   const std::vector<Option>& table);

// The known key that is the fewest edits away (Levenshtein 1966).
std::string NearestKey(std::string_view key, const std::vector<Option>& table);

// "250ms" "10s" "5m" "1h" "7d", or a bare number of ms. "16MiB" "10GiB" "512", in bytes.
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
