// KafkaSource: one partition of a topic as a Source. Not for other rooms: it exposes librdkafka.
//
// The partition's bounds are requested without waiting (kRetry until the answer is there). Payloads
// are copied out of the client's buffers, so that a batch does not depend on these and has its
// padding.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/client.h"
#include "connectors/kafka/reader.h"
#include "engine/source.h"
#include "model/types.h"

namespace sightline::kafka {

// What the sources of a reader share. Thread-safe.
class TopicRegistry {
 public:
  virtual ~TopicRegistry() = default;
  // True if the topic was deleted and created again, before anything of the new one is read.
  virtual bool Replaced(const std::string& topic) const = 0;
  // Records where a partition ends, for those who ask while its source reads. Neither value goes
  // back.
  virtual void SetEnd(const std::string& topic_id, int32_t partition, Offset next,
                      AppendTime newest) = 0;
};

// What a record has beyond what is counted.
struct RecordExtra {
  std::optional<std::string> key;
  bool has_value = true;   // false: a tombstone
  int64_t timestamp = -1;  // set by the broker or the sender
};

class KafkaSource final : public Source {
 public:
  // `client` and `registry` outlive the source.
  KafkaSource(rd_kafka_t* client, TopicRegistry& registry, const KafkaTopic& topic,
              int32_t partition, std::function<void()> wake);
  ~KafkaSource() override;

  Result<Offset> Earliest() override;
  Status Seek(Offset next) override;
  Result<Batch> Poll(int64_t records_max) override;

  // Keeps keys and timestamps from the next Poll() on, for users that pass records on.
  void KeepExtras() { keeps_extras_ = true; }
  // The extras of the newest batch's records.
  const std::vector<RecordExtra>& extras() const { return extras_; }

 private:
  // The cluster's answers about the partition, as they come in.
  struct Bounds {
    std::optional<Offset> earliest, end;
    std::optional<AppendTime> newest;
    bool complete() const { return earliest && end && newest; }
  };
  Status AskBounds();
  Status Begin();
  void End();
  void LogOnce(const std::string& trouble);
  Status ToStatus(const rd_kafka_message_t& message) const;
  static void Woken(rd_kafka_t* client, void* self);

  rd_kafka_t* const client_;
  TopicRegistry& registry_;
  const std::string topic_, topic_id_;
  const int32_t partition_;
  const bool log_append_time_;
  const std::function<void()> wake_;
  const Topic handle_;

  Queue answers_;         // answers about the bounds; null: nothing is requested
  Bounds bounds_;         // valid until the first Poll()
  bool refused_ = false;  // Seek() refused because of bounds_
  Queue messages_;        // null: fetching has not begun
  Offset next_;
  AppendTime newest_ = kNoAppendTime;
  Status failed_ = Status::Ok();             // an error behind records that are returned first
  std::string logged_;                       // the newest error in the log, until records arrive
  std::vector<rd_kafka_message_t*> polled_;  // used by one Poll(); a member to reuse its memory
  bool keeps_extras_ = false;
  std::vector<RecordExtra> extras_;
};

}  // namespace sightline::kafka
