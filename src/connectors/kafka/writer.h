// KafkaWriter: the transactional sink of the counts into topics.
//
// Each task's sink has a producer of its own (transactional.id: a new task fences the one before
// it) and a thread that makes its blocking calls. In one transaction: the changed cells as running
// totals under the offset where this task began to add them up, the events set aside, and the
// progress record. docs/SEMANTICS.md, "Topics between steps".
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "connectors/kafka/options.h"
#include "engine/sink.h"
#include "model/types.h"

namespace sightline {

struct KafkaWriterOptions {
  KafkaOptions kafka;
  // Begins every transactional.id: two deployments that read the same topic need two.
  std::string deployment = "sightline";
  std::string counts_topic = "located_item_counts";
  std::string dead_letters_topic = "dead_letters";
  std::string late_detections_topic = "late_detections";
  // Into which partition of these a source's partition is counted; always the same one. Null: the
  // one of the same number.
  std::function<int32_t(const SourcePartition&)> partition_of;
  std::string spec_id;
  Millis pane_size{10'000};
  // The location's name now, empty if not known; called on the engine's threads. Null: no names.
  std::function<std::string(LocationId)> location_name;
  std::function<int64_t()> locations_version;
  // Totals run until there are so many rows in them or their oldest is so old; then a new key
  // begins.
  int64_t group_rows_max = 16'384;
  Millis group_age_max{60'000};
  // The progress record is written again after so long a silence (0: never): without one a
  // partition cannot go on, and retention takes also the newest.
  Millis repeat_interval{};
};

struct KafkaWriterStats {
  int64_t commits = 0;
  int64_t messages = 0;
  int64_t failures = 0;             // transactions without a known success
  int64_t commit_microseconds = 0;  // of the `commits`, from their first message to the answer
};

// Thread-safe. Outlives its sinks; the destructor waits for their threads.
class KafkaWriter {
 public:
  explicit KafkaWriter(KafkaWriterOptions options);
  ~KafkaWriter();
  KafkaWriter(const KafkaWriter&) = delete;
  KafkaWriter& operator=(const KafkaWriter&) = delete;

  // A sink of one task (engine/sink.h). `on_answer` is called when a call that said kRetry should
  // be made again; it must only wake somebody.
  std::unique_ptr<Sink> OpenSink(std::function<void()> on_answer);
  KafkaWriterStats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
