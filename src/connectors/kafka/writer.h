// KafkaWriter: opens the transactional sinks that write counts into topics.
//
// Each task's sink has its own producer (a new task fences the one before it by the
// transactional.id), and a thread that makes the producer's blocking calls. One transaction holds
// the changed cells as running totals of their group, the dead letters, and the progress record.
// docs/SEMANTICS.md, "Topics between steps".
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
  // The prefix of every transactional.id. Two deployments that read the same topic need different
  // ones.
  std::string deployment = "sightline";
  std::string counts_topic = "located_item_counts";
  std::string dead_letters_topic = "dead_letters";
  std::string late_detections_topic = "late_detections";
  // The partition of these topics into which a source partition is counted; it must always be the
  // same. Null: the one with the same number.
  std::function<int32_t(const SourcePartition&)> partition_of;
  std::string spec_id;
  Millis pane_size{10'000};
  // Returns the location's present name, empty if it is unknown. Called on the engine's threads.
  // Null: topics have no names.
  std::function<std::string(LocationId)> location_name;
  std::function<int64_t()> locations_version;
  // A group of totals ends when it has this many rows, or is this old. Then a new one begins, under
  // new keys.
  int64_t group_rows_max = 16'384;
  Millis group_age_max{60'000};
  // The progress record is written again after this long a silence (0: never). Without one a
  // partition cannot continue, and retention removes even the newest.
  Millis repeat_interval{};
};

struct KafkaWriterStats {
  int64_t commits = 0;
  int64_t messages = 0;
  int64_t failures = 0;             // transactions without a known success
  int64_t commit_microseconds = 0;  // of all `commits`, from their first message to the answer
};

// Thread-safe. Outlives its sinks. The destructor waits for their threads.
class KafkaWriter {
 public:
  explicit KafkaWriter(KafkaWriterOptions options);
  ~KafkaWriter();
  KafkaWriter(const KafkaWriter&) = delete;
  KafkaWriter& operator=(const KafkaWriter&) = delete;

  // Opens the sink of one task (engine/sink.h). `on_answer` is called when a call that said kRetry
  // should be repeated. It must only wake somebody.
  std::unique_ptr<Sink> OpenSink(std::function<void()> on_answer);
  KafkaWriterStats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
