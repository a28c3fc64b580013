// KafkaCountsFeed: follows a topic of counts (docs/KAFKA.md) and gives what each commit added.
//
// The reader's rule, commit by commit: of a key the larger next_offset wins, so a record adds what
// it is more than the one before it; older groups of a source partition are final once a newer one
// has begun. What has been read is handed over with the progress record that ends it. Also asks
// where the raw topics' partitions end, so that a silent one can be told from one that is behind.
//
// One thread of its own. Everything is in memory: a start reads the retained topic from its
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
  // Asked each second; on the feed's thread.
  std::function<std::vector<KafkaTopic>()> raw_topics;
  // A commit of a source partition: [first, next) is contiguous over calls, but for the first one,
  // which holds everything before. On the feed's thread.
  std::function<void(const SourcePartition&, Segment&&)> on_segment;
};

struct KafkaCountsFeedStats {
  int64_t records = 0;
  int64_t segments = 0;
  int64_t refused = 0;     // records that are none of ours, or of a version that is not known
  bool caught_up = false;  // what was there at the start has been read
  bool reading = true;     // not yet, but it comes: false where only silent partitions are missing
  std::string trouble;     // why nothing is read now; empty: all is well
};

// Thread-safe.
class KafkaCountsFeed {
 public:
  static Result<std::unique_ptr<KafkaCountsFeed>> Open(KafkaCountsFeedOptions options);
  ~KafkaCountsFeed();
  KafkaCountsFeed(const KafkaCountsFeed&) = delete;
  KafkaCountsFeed& operator=(const KafkaCountsFeed&) = delete;

  // Where the partition of a raw topic ends, as asked at most about a second ago; nothing for a
  // partition of another source.
  KafkaEnd EndOf(const SourcePartition& partition) const;
  KafkaCountsFeedStats stats() const;

 private:
  struct State;
  explicit KafkaCountsFeed(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sightline
