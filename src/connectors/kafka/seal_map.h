// SealMap: turns running totals into sealed segments, for the lake. See StepMap.
//
// The totals of a key grow until their group ends. Then everything that the group adds is known,
// and is given once, as a segment of source offsets. A group ends when the next one begins, or when
// it is so old that its writer would begin another. So the output stays the same however the topic
// is compacted meanwhile, and never ends inside a group. A segment whose counts differ from its
// ledger is not given: the topic has lost records (kStop).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "connectors/kafka/counts_fold.h"
#include "connectors/kafka/step_map.h"
#include "model/segment.h"

namespace sightline::kafka {

struct SealOptions {
  std::string topic_id;  // of the topic that is read
  std::string to;        // the topic that is written
  // Longer than a writer keeps a group (KafkaWriterOptions::group_age_max) plus the time that it
  // may take to commit the last of it.
  std::chrono::milliseconds group_age_max{90'000};
  // How long a group that ended by its age is remembered, in case it goes on after all.
  std::chrono::milliseconds remember{3'600'000};
};

class SealMap final : public StepMap {
 public:
  explicit SealMap(SealOptions options) : options_(std::move(options)) {}

  void Resume(const StepPosition& position) override;
  Status Take(Offset at, std::string_view value, StepClock::time_point now) override;
  Result<StepCommit> NextCommit(StepClock::time_point now) override;
  int64_t waiting() const override { return rows_; }
  int64_t refused() const override { return refused_; }

 private:
  struct Source {
    Progress done;                // everything before done.next is sealed
    Progress seen;                // the newest progress record
    std::optional<Segment> open;  // [done.next, seen.next)
    // The newest group.
    Offset group{-1}, begins_at;
    StepClock::time_point begun, heard;
    std::string spec_id;
    Millis pane_size;
  };
  Status Seal(const SourcePartition& from, Source& source);
  Message ProgressMessage(const SourcePartition& from, const Source& source) const;
  StepPosition Position(StepClock::time_point now);

  const SealOptions options_;
  CountsFold fold_;
  std::map<SourcePartition, Source> sources_;
  std::map<LocationId, LocationName> names_;
  std::vector<Message> messages_;
  int64_t rows_ = 0;  // in messages_ and in the open segments
  Offset next_{0};    // behind the newest record that was taken
  int64_t refused_ = 0;
};

}  // namespace sightline::kafka
