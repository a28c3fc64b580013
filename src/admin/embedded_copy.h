// EmbeddedCopy: copies the raw records of a data folder into a topic, for `handover`. The folder's
// server must be stopped: EmbeddedCopy owns the folder meanwhile, and changes nothing in it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "admin/handover_plan.h"
#include "base/clock.h"
#include "base/log_clock.h"
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
  // Fills in what is known about the source, and how far it was counted.
  Status Look(AppendTime start, HandoverFacts& facts);
  // See CopyRunner::Open. The copy ends where the log ends.
  Result<std::unique_ptr<KafkaCopy>> OpenCopy(KafkaCopyOptions options, AppendTime start,
                                              const std::atomic<bool>& stop);

 private:
  explicit EmbeddedCopy(const Settings& options) : options_(options) {}
  Result<HandoverPartition> LookAt(int32_t partition, AppendTime start, HandoverFacts& facts);
  Status LookAtLake(HandoverFacts& facts) const;

  const Settings options_;
  SystemClock clock_;
  LogClock time_{clock_};
  std::unique_ptr<EmbeddedLog> log_;
};

// Returns the first offset of [earliest, end) whose record was appended at `start` or later, or
// `end` if there is none. It is a binary search, because append times never go back.
Result<Offset> FindAppendTime(Source& source, Offset earliest, Offset end, AppendTime start);

}  // namespace sightline
