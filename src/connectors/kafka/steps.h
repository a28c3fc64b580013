// KafkaSteps: steps between two topics, exactly once: what is read from partition p of one, mapped,
// is written to partition p of the other, in the same order.
//
// How far a step is lies with what it has written: the last record of each transaction says in a
// header where reading goes on (StepPosition). A start fences the owner before it, reads that
// header and goes on there; nothing else is kept anywhere.
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
  std::string to;  // with at least as many partitions
  // transactional.id is this and the partition's number.
  std::string transactional_prefix;
  Millis commit_interval{50};
  // Of what is written to `from` (KafkaWriterOptions::group_age_max).
  Millis group_age_max{60'000};
  // A group that ended by its age may go on for so long, and is kept in mind; well below the
  // retention of `from`, which has its records.
  Millis group_memory{3'600'000};
};

struct KafkaStepStats {
  bool running = false;
  Offset next{0}, end{0};  // read up to, and where the topic ends
  int64_t commits = 0;
  int64_t messages = 0;  // written
  int64_t refused = 0;   // records that are none of ours, passed over
  int64_t failures = 0;  // transactions without a known success, and lost ownership
};

// A partition's step. Used by one thread.
class KafkaStep {
 public:
  virtual ~KafkaStep() = default;
  // Does what can be done without waiting. kOk: there may be more at once; kRetry: not before it is
  // woken, or some time has passed; kRebuild: throw it away and open another; kStop: for a person.
  // `draining`: nothing more is read, and what is read is written, until drained().
  virtual Status Step(bool draining) = 0;
  // What is read and can be written by now is committed.
  virtual bool drained() const = 0;
  virtual KafkaStepStats stats() const = 0;
};

// Thread-safe. Outlives its steps; the destructor waits for their threads.
class KafkaSteps {
 public:
  static Result<std::unique_ptr<KafkaSteps>> Open(KafkaStepsOptions options);
  ~KafkaSteps();
  KafkaSteps(const KafkaSteps&) = delete;
  KafkaSteps& operator=(const KafkaSteps&) = delete;

  // `item_counts` to `located_item_counts`. `location`: a name, empty if not known, and the version
  // of the location table; on the step's thread. `wake` must only wake somebody.
  std::unique_ptr<KafkaStep> OpenJoin(
      int32_t partition, std::function<std::pair<std::string, int64_t>(LocationId)> location,
      std::function<void()> wake);
  // `located_item_counts` to `lake_rows`: sealed segments.
  std::unique_ptr<KafkaStep> OpenTransform(int32_t partition, std::function<void()> wake);

 private:
  struct State;
  explicit KafkaSteps(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sightline
