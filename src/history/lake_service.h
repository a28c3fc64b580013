// LakeService: everything of the lake inside `up` - its writers, what queries see of it, the
// maintenance in the background.
//
// Made and destroyed by one thread; sinks are used by the engine's threads, the view by the
// server's.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "connectors/lake/lake_writer.h"
#include "connectors/locations/locations.h"
#include "connectors/storage/local_storage.h"
#include "engine/sink.h"
#include "history/lake_view.h"
#include "query/query_engine.h"

namespace sightline {

struct LakeServiceOptions {
  std::string dir;  // the lake's root; made if it is not there
  Millis window_size{60'000};
  int64_t max_partitions = lake::kMaxPartitions;  // locations; more: by date and bucket
  int64_t retention_days = 0;                     // 0: for ever
  Millis vacuum_retention{7 * 86'400'000LL};
  Millis maintenance_interval{3'600'000};
  // The location's name now, empty if not known; thread-safe, outlives the service.
  std::function<std::string(LocationId)> location_name;
  PinnedRuns* runs = nullptr;  // of what waits on disk; outlives the service
  QueryEngineOptions query;
};

class LakeService {
 public:
  // `locations`: as known now; they decide how a new table is cut. kStop: the lake cannot be used.
  static Result<std::unique_ptr<LakeService>> Open(const LakeServiceOptions& options,
                                                   const Clock& clock,
                                                   std::vector<Location> locations);
  // Sinks must be gone.
  ~LakeService();

  // For one task. `on_answer` wakes it.
  std::unique_ptr<Sink> OpenPendingSink() { return std::make_unique<PendingSink>(view_.get()); }
  std::unique_ptr<Sink> OpenCountsSink(std::function<void()> on_answer);
  std::unique_ptr<Sink> OpenLedgerSink(std::function<void()> on_answer);

  // The location table has changed: names in new rows, and the table `locations`.
  void SetLocations(std::vector<Location> locations);

  LakeView& view() { return *view_; }
  QueryEngine& query() { return *query_; }
  lake::LakeWriterStats stats(bool ledger) const;
  // Why the newest maintenance or write of locations failed; empty if it did not.
  std::string trouble() const;

 private:
  LakeService(const LakeServiceOptions& options, const Clock& clock);
  Status Start(std::vector<Location> locations);
  Result<std::unique_ptr<lake::LakeWriter>> OpenWriter(std::string_view table, lake::Layout layout);
  void RunMaintenance();
  Status Maintain(std::string_view table);
  void Note(const Status& status);

  const LakeServiceOptions options_;
  const Clock& clock_;
  LocalStorage storage_;
  std::shared_ptr<LakeView> view_;
  std::unique_ptr<lake::LakeWriter> counts_, ledger_;
  std::unique_ptr<QueryEngine> query_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  // Under mutex_.
  std::string trouble_;
  bool closing_ = false;

  std::thread maintenance_;
};

}  // namespace sightline
