// LakeService: the lake inside a process that writes it - its writers, the view for queries, and
// the maintenance in the background.
//
// One thread creates and destroys it. The engine's threads use the sinks, the server's threads the
// view.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/log_clock.h"
#include "connectors/lake/known_tables.h"
#include "connectors/lake/lake_writer.h"
#include "connectors/storage/open_storage.h"
#include "engine/sink.h"
#include "history/file_cache.h"
#include "history/lake_view.h"
#include "model/location.h"
#include "query/query_service.h"

namespace sightline {

// A commit of many locations is many windows of few rows each: five minutes of them share a file.
constexpr Millis kRollInterval{60'000}, kBucketRollInterval{300'000};

struct LakeServiceOptions {
  std::string dir;  // the lake's root, a path or a URL; created if it does not exist
  StorageOptions storage;
  // A file outside the lake, which remembers the tables that this pipeline writes. If the lake then
  // lacks one, or has another one, Open() is kStop. Empty: nothing is remembered.
  std::string known_tables;
  std::string renew;  // how a person begins a new lake: "start once with lake.enabled = false"
  Millis window_size{60'000};
  // None: kRollInterval while the counts are by location, kBucketRollInterval once they are by
  // bucket.
  std::optional<Millis> roll_interval;
  // Before the counts have more locations than this, they are partitioned by date and bucket.
  int64_t max_partitions = lake::kMaxPartitions;
  int64_t retention_days = 0;  // 0: for ever
  Millis vacuum_retention{7 * 86'400'000LL};
  Millis maintenance_interval{3'600'000};
  Millis troubled_interval{5'000};  // between two rounds while one fails, if that is less
  // Returns the current name of a location, empty if it is not known. Thread-safe; must outlive the
  // service.
  std::function<std::string(LocationId)> location_name;
  PinnedRuns* runs = nullptr;  // for spilled counts; must outlive the service
  EngineReports engine;        // what it reads must outlive the service
  OpenQueries open_queries;    // null: nobody asks this process
  FileCacheOptions cache;      // of copies for questions, where they are needed
};

class LakeService {
 public:
  // Ages are counted by `clock`; while it knows none that can be believed, nothing is removed. If
  // the place of the lake does not answer, the tables are opened later: until then the sinks say
  // kRetry and there is no state for queries. kStop: the lake cannot be used.
  static Result<std::unique_ptr<LakeService>> Open(const LakeServiceOptions& options,
                                                   const LogClock& clock,
                                                   std::vector<Location> locations);
  // A start without a lake: the next one with a lake may begin a new one. False: there never was a
  // lake.
  static Result<bool> Forget(const std::string& known_tables) {
    return lake::KnownTables::Forget(known_tables);
  }
  // The sinks must have been destroyed before.
  ~LakeService();

  // Each opens a sink for one task. `on_answer` wakes that task when a commit has its answer.
  std::unique_ptr<Sink> OpenPendingSink() { return std::make_unique<PendingSink>(view_.get()); }
  std::unique_ptr<Sink> OpenCountsSink(std::function<void()> on_answer);
  std::unique_ptr<Sink> OpenLedgerSink(std::function<void()> on_answer);

  // The location table has changed. Queries and new rows get the new names, and the lake's table
  // `locations` is written.
  void SetLocations(std::vector<Location> locations);

  // How long sealed segments wait for the commit. It grows when the layout changes. Thread-safe.
  Millis roll_interval() const {
    return options_.roll_interval.value_or(by_bucket_ ? kBucketRollInterval : kRollInterval);
  }
  LakeView& view() { return *view_; }
  QueryService* queries() { return queries_.get(); }  // null: nobody asks this process
  lake::LakeWriterStats stats(bool ledger) const;
  std::vector<Metric> metrics() const { return storage_metrics_->Metrics(); }
  // Returns what is wrong: why the newest maintenance of each table and the newest write of
  // locations failed, why a table cannot be written until a person corrects it, and why queries
  // fail. Empty: nothing. It may read a damaged file again.
  std::string trouble() const;

 private:
  class LateSink;
  LakeService(const LakeServiceOptions& options, const LogClock& clock,
              std::unique_ptr<StorageMetrics> metrics, std::stop_source stop,
              std::unique_ptr<Storage> storage, std::unique_ptr<FileCache> cache);
  Status Start(std::vector<Location> locations);
  Status OpenTables();
  Result<std::unique_ptr<lake::LakeWriter>> OpenWriter(std::string_view table);
  void SetCounts(const lake::SnapshotPtr& snapshot);
  void RunMaintenance();
  Status Maintain(std::string_view table);
  void WriteLocations();
  void Note(std::string_view what, const Status& status);
  bool HasFailed(std::string_view what) const;
  bool Well() const;  // under mutex_

  const LakeServiceOptions options_;
  const LogClock& clock_;
  const std::unique_ptr<StorageMetrics> storage_metrics_;
  std::stop_source stop_;  // ends what waits for the storage
  const std::unique_ptr<Storage> storage_;
  const std::unique_ptr<FileCache> cache_;    // null: no copies are needed
  std::unique_ptr<lake::KnownTables> known_;  // null: nothing is remembered
  std::shared_ptr<LakeView> view_;
  std::atomic<bool> by_bucket_ = false;  // the layout of the counts
  // Set by the thread that opens them, and used by others when open_ is true.
  std::unique_ptr<lake::LakeWriter> counts_, ledger_;
  std::atomic<bool> open_ = false;
  std::unique_ptr<QueryService> queries_;

  std::mutex locations_mutex_;  // taken before mutex_
  // Under locations_mutex_.
  std::vector<Location> locations_;
  bool locations_written_ = true;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  // Under mutex_.
  std::map<std::string, std::string, std::less<>> troubles_;  // by what has failed
  bool closing_ = false;

  std::thread maintenance_;
};

}  // namespace sightline
