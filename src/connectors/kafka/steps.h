// KafkaSteps: steps between two topics, exactly once. What is read from partition p of one topic is
// mapped and written to partition p of the other, in the same order.
//
// How far a step is, it stores with what it writes: a header of each transaction's last record says
// where reading continues (StepPosition). A start fences the owner before it, reads that header and
// continues there. No other state is kept anywhere.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/status.h"
#include "connectors/kafka/options.h"
#include "connectors/kafka/reader.h"
#include "model/types.h"

namespace sightline {

struct KafkaStepsOptions {
  KafkaOptions kafka;
  KafkaTopic from;
  std::string to;  // has at least as many partitions as `from`
  // The transactional.id is this prefix and the partition's number.
  std::string transactional_prefix;
  Millis commit_interval{50};
  // The age limit of the groups in `from` (KafkaWriterOptions::group_age_max).
  Millis group_age_max{60'000};
  // How long a group that ended by its age is remembered, because it may go on. Keep it well below
  // the retention of `from`, which holds the group's records.
  Millis group_memory{3'600'000};
};

struct KafkaStepStats {
  bool running = false;
  Offset next{0}, end{0};  // read up to `next`; `end` is the topic's end
  int64_t commits = 0;
  int64_t messages = 0;  // written
  int64_t refused = 0;   // skipped records that are not ours
  int64_t failures = 0;  // transactions without a known success, and lost ownership
};

// The step of one partition. Used by one thread.
class KafkaStep {
 public:
  virtual ~KafkaStep() = default;
  // Does what can be done without waiting. kOk: there may be more at once. kRetry: nothing to do
  // until it is woken, or some time has passed. kRebuild: discard it and open another. kStop: a
  // person must act. `draining`: nothing more is read, and what was read is written, until
  // drained().
  virtual Status Step(bool draining) = 0;
  // True if everything that was read, and can be written by now, is committed.
  virtual bool drained() const = 0;
  virtual KafkaStepStats stats() const = 0;
};

// Thread-safe. Outlives its steps. The destructor waits for their threads.
class KafkaSteps {
 public:
  static Result<std::unique_ptr<KafkaSteps>> Open(KafkaStepsOptions options);
  ~KafkaSteps();
  KafkaSteps(const KafkaSteps&) = delete;
  KafkaSteps& operator=(const KafkaSteps&) = delete;

  // The step from `item_counts` to `located_item_counts`. `location` returns a location's name
  // (empty if unknown) and the version of the location table; it is called on the step's thread.
  // `wake` must only wake somebody.
  std::unique_ptr<KafkaStep> OpenJoin(
      int32_t partition, std::function<std::pair<std::string, int64_t>(LocationId)> location,
      std::function<void()> wake);
  // The step from `located_item_counts` to `lake_rows`: sealed segments.
  std::unique_ptr<KafkaStep> OpenTransform(int32_t partition, std::function<void()> wake);

 private:
  struct State;
  explicit KafkaSteps(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sightline
