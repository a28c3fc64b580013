// StepMap: what a step between two topics makes of the records of one partition. It has no I/O. One
// thread. See KafkaSteps.
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

// One transaction. Its last message is a progress record that carries the position behind it.
struct StepCommit {
  std::vector<Message> messages;  // empty: there is nothing to write
  StepPosition position;
};

class StepMap {
 public:
  virtual ~StepMap() = default;
  // Resumes where an earlier map stood. Call it before the first Take(), which then gets the record
  // at `position.next`.
  virtual void Resume(const StepPosition& position) = 0;
  // Takes a committed record of the topic that is read. kStop if what it says cannot be true; a
  // person must look. A record that is not ours is skipped and counted.
  virtual Status Take(Offset at, std::string_view value, StepClock::time_point now) = 0;
  // Returns what can be written by now. Each commit is returned once, and must be written whole
  // before the next one.
  virtual Result<StepCommit> NextCommit(StepClock::time_point now) = 0;
  // About how much NextCommit() holds. Reading stops while it is large.
  virtual int64_t waiting() const = 0;
  virtual int64_t refused() const = 0;
};

}  // namespace sightline::kafka
