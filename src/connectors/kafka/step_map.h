// StepMap: what a step between two topics makes of the records of one partition. Pure; one thread.
// See KafkaSteps.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/records.h"
#include "model/types.h"

namespace sightline::kafka {

using StepClock = std::chrono::steady_clock;

// One transaction: its last message is a progress record with the position behind it.
struct StepCommit {
  std::vector<Message> messages;  // empty: there is nothing to write
  StepPosition position;
};

class StepMap {
 public:
  virtual ~StepMap() = default;
  // Where an earlier one stood: before the first Take(), which then begins at `position.next`.
  virtual void Resume(const StepPosition& position) = 0;
  // A committed record of the topic that is read. kStop: what it says cannot be; for a person. What
  // is no record of ours is passed over and counted.
  virtual Status Take(Offset at, std::string_view value, StepClock::time_point now) = 0;
  // What can be written by now. Each is asked for once, and written whole before the next.
  virtual Result<StepCommit> NextCommit(StepClock::time_point now) = 0;
  // About how much NextCommit() has: reading stops while it is large.
  virtual int64_t waiting() const = 0;
  virtual int64_t refused() const = 0;
};

}  // namespace sightline::kafka
