// KafkaSource: one partition of a topic as a Source. Not for other rooms: it shows librdkafka.
//
// The start is asked for without waiting (kRetry until the answer is there). Payloads are copied
// out of the client's buffers, so that a batch is independent of them and has its padding.
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

// What sources of a reader share. Thread-safe.
class TopicRegistry {
 public:
  virtual ~TopicRegistry() = default;
  // The topic was deleted and made again. True before anything of the new one is read.
  virtual bool Replaced(const std::string& topic) const = 0;
  // Where a partition ends, for those who ask while its source reads. Neither goes back.
  virtual void SetEnd(const std::string& topic_id, int32_t partition, Offset next,
                      AppendTime newest) = 0;
};

// What a record has beside what is counted.
struct RecordExtra {
  std::optional<std::string> key;
  bool has_value = true;   // no tombstone
  int64_t timestamp = -1;  // of whoever stamps it
};

class KafkaSource final : public Source {
 public:
  // `client` and `registry` outlive it.
  KafkaSource(rd_kafka_t* client, TopicRegistry& registry, const KafkaTopic& topic,
              int32_t partition, std::function<void()> wake);
  ~KafkaSource() override;

  Result<Offset> Earliest() override;
  Status Seek(Offset next) override;
  Result<Batch> Poll(int64_t records_max) override;

  // From the next Poll() on; for those who hand records on.
  void KeepExtras() { keeps_extras_ = true; }
  // Of the records of the newest batch.
  const std::vector<RecordExtra>& extras() const { return extras_; }

 private:
  // What the cluster says of the partition: asked, then collected.
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

  Queue answers_;         // of questions about bounds; null: none is asked
  Bounds bounds_;         // until the first Poll()
  bool refused_ = false;  // by them
  Queue messages_;        // null: not begun
  Offset next_;
  AppendTime newest_ = kNoAppendTime;
  Status failed_ = Status::Ok();             // met behind records that were given first
  std::string logged_;                       // the newest trouble in the log, until records come
  std::vector<rd_kafka_message_t*> polled_;  // of one Poll; a member for its memory
  bool keeps_extras_ = false;
  std::vector<RecordExtra> extras_;
};

}  // namespace sightline::kafka
