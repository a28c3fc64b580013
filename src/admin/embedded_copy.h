// EmbeddedCopy: the raw records of a data folder into a topic, for `handover`. The folder's server
// is stopped: this owns it meanwhile, and changes nothing in it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "admin/handover_plan.h"
#include "base/clock.h"
#include "base/status.h"
#include "config/options.h"
#include "connectors/embedded_log/log.h"
#include "connectors/kafka/copy.h"
#include "model/types.h"

namespace sightline {

class EmbeddedCopy {
 public:
  // kStop: there is no log in options.data, or somebody else owns it.
  static Result<std::unique_ptr<EmbeddedCopy>> Open(const Settings& options);

  int32_t partitions() const { return log_->partitions(); }
  std::string source_name() const;
  // Fills in what is known of the source and of what was counted of it.
  Status Look(AppendTime start, HandoverFacts& facts);
  // As CopyRunner::Open: up to where the log ends.
  Result<std::unique_ptr<KafkaCopy>> OpenCopy(KafkaCopyOptions options, AppendTime start,
                                              const std::atomic<bool>& stop);

 private:
  explicit EmbeddedCopy(const Settings& options) : options_(options) {}
  Result<HandoverPartition> LookAt(int32_t partition, AppendTime start, HandoverFacts& facts);
  Status LookAtLake(HandoverFacts& facts) const;

  const Settings options_;
  SystemClock clock_;
  std::unique_ptr<EmbeddedLog> log_;
};

// The first offset of [earliest, end) whose record was appended at `start` or later; `end` if there
// is none. Append times never go back, so it is found by halving.
Result<Offset> FindAppendTime(Source& source, Offset earliest, Offset end, AppendTime start);

}  // namespace sightline
