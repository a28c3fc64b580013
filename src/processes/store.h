// Store: writes the sealed segments of the topic `lake_rows` into the lake, each once.
//
// The tables of the lake say how far they have each source partition (`txn`), so segments that are
// read again are skipped. The consumer group keeps a hint where to begin. If the lake is behind the
// hint, the topic is read from its beginning.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/log_clock.h"
#include "base/status.h"
#include "config/options.h"
#include "connectors/kafka/options.h"
#include "connectors/kafka/reader.h"
#include "history/lake_service.h"
#include "model/location.h"
#include "model/types.h"
#include "processes/step_loop.h"

namespace sightline {

// Returns the offset up to which a partition was stored, if the group knows one. Never waits long.
// kRetry: there is no answer yet.
using StoredHint = std::function<Result<std::optional<Offset>>(int32_t partition)>;

class Store {
 public:
  // kStop: the lake cannot be opened.
  static Result<std::unique_ptr<Store>> Open(const Settings& settings, const LogClock& clock,
                                             const KafkaOptions& kafka, const KafkaTopic& from,
                                             std::vector<Location> locations, StoredHint hint);

  // The store must outlive the steps that it opens.
  std::unique_ptr<PartitionStep> OpenPartition(int32_t partition, std::function<void()> wake);
  void SetLocations(std::vector<Location> locations) { lake_->SetLocations(std::move(locations)); }
  std::string trouble() const { return lake_->trouble(); }
  std::vector<Metric> metrics() const { return lake_->metrics(); }

 private:
  class Writing;
  Store(std::string group, KafkaTopic from, StoredHint hint)
      : group_(std::move(group)), from_(std::move(from)), hint_(std::move(hint)) {}
  std::string NameOf(LocationId location) const;
  void Learn(LocationId location, const std::string& name);

  const std::string group_;  // the consumer group, for messages
  const KafkaTopic from_;
  const StoredHint hint_;
  mutable std::mutex mutex_;
  std::map<LocationId, std::string> names_;  // from the records; under mutex_
  std::unique_ptr<LakeService> lake_;
  std::unique_ptr<KafkaReader> reader_;
};

}  // namespace sightline
