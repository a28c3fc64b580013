// JoinMap: adds to each count its location's name as it is known now. See StepMap.
//
// Keys stay the same byte for byte, so that the reader's rule holds behind the step as before it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "connectors/kafka/step_map.h"

namespace sightline::kafka {

class JoinMap final : public StepMap {
 public:
  // `to` is the topic that is written. `location` returns the present name, empty if it is unknown.
  JoinMap(std::string topic_id, std::string to, std::function<LocationName(LocationId)> location)
      : topic_id_(std::move(topic_id)), to_(std::move(to)), location_(std::move(location)) {}

  void Resume(const StepPosition&) override {}
  Status Take(Offset at, std::string_view value, StepClock::time_point now) override;
  Result<StepCommit> NextCommit(StepClock::time_point now) override;
  int64_t waiting() const override { return static_cast<int64_t>(messages_.size()); }
  int64_t refused() const override { return refused_; }

 private:
  const std::string topic_id_, to_;
  const std::function<LocationName(LocationId)> location_;
  std::vector<Message> messages_;
  size_t whole_ = 0;  // how many of the messages form whole commits
  Offset next_;       // the offset behind the newest progress record
  int64_t refused_ = 0;
};

}  // namespace sightline::kafka
