// KafkaCountsFeed: follows a counts topic (docs/KAFKA.md) and reports what each commit added.
//
// It applies the reader's rule commit by commit. Of one key the larger next_offset wins, so a
// record adds the difference from the one before. The older groups of a source partition are final
// once a newer one has begun. What was read is handed over with the progress record that ends its
// transaction. The feed also asks where the raw topics' partitions end, so that a silent partition
// can be told from one that is behind.
//
// It has one thread of its own. Everything is in memory: a start reads the retained topic from its
// beginning.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/options.h"
#include "connectors/kafka/reader.h"
#include "model/segment.h"
#include "model/types.h"

namespace sightline {

struct KafkaCountsFeedOptions {
  KafkaOptions kafka;
  KafkaTopic counts;
  // The raw topics whose ends are asked for each second. Called on the feed's thread.
  std::function<std::vector<KafkaTopic>()> raw_topics;
  // Receives a commit of a source partition. Its [first, next) is contiguous with the one before;
  // the first one holds everything before it. Called on the feed's thread.
  std::function<void(const SourcePartition&, Segment&&)> on_segment;
};

struct KafkaCountsFeedStats {
  int64_t records = 0;
  int64_t segments = 0;
  int64_t refused = 0;     // records that are not ours, or of an unknown version
  bool caught_up = false;  // everything that was there at the start has been read
  bool reading = true;     // catching up; false if only silent partitions are missing
  std::string trouble;     // why nothing can be read now; empty if all is well
};

// Thread-safe.
class KafkaCountsFeed {
 public:
  static Result<std::unique_ptr<KafkaCountsFeed>> Open(KafkaCountsFeedOptions options);
  ~KafkaCountsFeed();
  KafkaCountsFeed(const KafkaCountsFeed&) = delete;
  KafkaCountsFeed& operator=(const KafkaCountsFeed&) = delete;

  // Where the partition of a raw topic ends, as asked at most about a second ago. Empty for a
  // partition of another source.
  KafkaEnd EndOf(const SourcePartition& partition) const;
  KafkaCountsFeedStats stats() const;

 private:
  struct State;
  explicit KafkaCountsFeed(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sightline
