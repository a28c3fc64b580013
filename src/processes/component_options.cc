#include "processes/component_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "config/data_folder.h"
#include "config/kafka_options.h"
#include "processes/process.h"
#include "workers/confinement.h"

namespace sightline {

RuntimeOptions RuntimeOptionsOf(const EngineSettings& settings) {
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  const auto threads = static_cast<int>(settings.threads);
  return {.threads = threads > 0 ? threads : std::max(1, cores)};
}

QueryWorkersOptions QueryWorkersOptionsOf(const QuerySettings& settings) {
  return {.memory_bytes_max = settings.memory_max,
          .answer_bytes_max = settings.answer_disk_max / 2,
          .threads = static_cast<int32_t>(settings.threads),
          .sql_workers_max = static_cast<int32_t>(settings.running_max)};
}

OpenQueries OpenQueryWorkers(const QuerySettings& settings, std::vector<std::string> read) {
  QueryWorkersOptions options = QueryWorkersOptionsOf(settings);
  options.read = std::move(read);
  return
      [options = std::move(options)](std::shared_ptr<LakeSource> source, const std::string& root,
                                     Millis window_size) -> Result<std::unique_ptr<QueryService>> {
        return std::unique_ptr<QueryService>(
            std::make_unique<QueryWorkers>(std::move(source), root, window_size, options));
      };
}

std::string ExplainQueryWorkers(const QuerySettings& settings) {
  const QueryWorkersOptions options = QueryWorkersOptionsOf(settings);
  std::string text = fmt::format(
      "query workers: at most {} processes with {} each, so at most {} beside the server\n",
      options.sql_workers_max + kFixedWorkersMax, FormatBytes(WorkerBytesMax(options)),
      FormatBytes(WorkersBytesMax(options)));
  text += fmt::format("files of a lake on HDFS are copied for queries: at most {} on disk\n",
                      FormatBytes(settings.cache_max));
  text += HasLandlock()
              ? "query workers can read the lake's files and no others (Landlock)\n"
              : "this kernel has no Landlock: only DuckDB's own settings keep queries from "
                "other files\n";
  return text;
}

LiveOptions LiveOptionsOf(const Settings& settings, LogEndOf log_end) {
  return {.pane_size = settings.pipeline.pane_size,
          .window_size = settings.pipeline.window_size,
          .pane_retention = settings.live.pane_retention,
          .idle_timeout = settings.pipeline.idle_timeout,
          .out_of_orderness = settings.pipeline.out_of_orderness,
          .log_end = std::move(log_end)};
}

LakeServiceOptions LakeOptionsOf(const Settings& settings, std::string dir) {
  LakeServiceOptions options;
  options.dir = std::move(dir);
  options.storage = {.hdfs = settings.hdfs, .s3 = settings.s3};
  options.window_size = settings.pipeline.window_size;
  options.roll_interval = settings.lake.roll_interval;
  options.max_partitions = settings.lake.max_partitions;
  options.retention_days = settings.lake.retention_days;
  options.vacuum_retention = settings.lake.vacuum_retention;
  options.maintenance_interval = settings.lake.maintenance_interval;
  options.cache = {.folder = DataFolder(settings.data).lake_cache(),
                   .bytes_max = settings.query.cache_max};
  return options;
}

LakeReaderOptions LakeReaderOptionsOf(const Settings& settings, std::string cache) {
  return {.lake = settings.lake.dir,
          .storage = {.hdfs = settings.hdfs, .s3 = settings.s3},
          .cache = {.folder = std::move(cache), .bytes_max = settings.query.cache_max},
          .open_queries = OpenQueryWorkers(settings.query, {})};
}

Result<std::unique_ptr<KafkaWriter>> OpenCountsWriter(const Settings& settings, KafkaRawTopics& raw,
                                                      LocationNames locations) {
  auto partition_of = CountsPartitions(raw, settings.kafka, StopAsked);
  if (!partition_of.ok()) return partition_of.status();
  return std::make_unique<KafkaWriter>(
      KafkaWriterOptions{.kafka = raw.kafka(),
                         .deployment = settings.kafka.deployment,
                         .counts_topic = settings.kafka.counts_topic,
                         .dead_letters_topic = settings.kafka.dead_letters_topic,
                         .late_detections_topic = settings.kafka.late_detections_topic,
                         .partition_of = std::move(partition_of).value(),
                         .spec_id = fmt::format("{:016x}", settings.pipeline.Fingerprint()),
                         .pane_size = settings.pipeline.pane_size,
                         .location_name = std::move(locations.name),
                         .locations_version = std::move(locations.version),
                         .group_age_max = settings.kafka.group_interval,
                         .repeat_interval = ProgressRepeatInterval(settings.kafka)});
}

}  // namespace sightline
