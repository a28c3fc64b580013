// CopyWriter: the transactional producer of a copy. In one transaction: records for any partitions
// of a topic, and how far each partition of the source is copied, as offsets of a consumer group.
// Calls wait. One thread. Not for other rooms: it shows librdkafka.
//
// An offset's metadata says what it is of: the topic that is written, a line end, and what is
// copied there. Empty, as Kafka's own tools leave it: a person has set the offset.
#pragma once

#include <atomic>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/client.h"
#include "connectors/kafka/options.h"
#include "connectors/kafka/rekey_map.h"
#include "model/types.h"

namespace sightline::kafka {

struct CopyWriterOptions {
  KafkaOptions kafka;
  std::string to;
  std::string name;           // transactional.id, and the group of the offsets
  std::string offsets_topic;  // the topic under whose partitions they are kept
  std::string to_id;          // first line of the metadata
  std::string what;           // and the rest
};

class CopyWriter {
 public:
  // `stop`: true ends every call soon.
  CopyWriter(CopyWriterOptions options, const std::atomic<bool>& stop)
      : options_(std::move(options)), stop_(stop) {}

  // Once, before the others: whoever copied before can write nothing any more, and nothing of his
  // is under way.
  Status Fence();
  // By partition of the source, of [0, partitions). None: nothing was ever copied into this topic.
  // kStop: something else was.
  Result<std::map<int32_t, Offset>> Positions(int32_t partitions);
  // kRebuild: the outcome is unknown, or it is refused. kStop: somebody else copies now, or a
  // record is too large.
  Status Commit(const std::vector<KeyedRecord>& records, const std::map<int32_t, Offset>& next);

 private:
  struct Refusal {
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    std::string text;
  };
  static void KeepRefusal(rd_kafka_t*, const rd_kafka_message_t* message, void*);
  Status Failed(const char* what, const rd_kafka_error_t* error) const;
  Status Produce(const KeyedRecord& record);
  Status SendPositions(const std::map<int32_t, Offset>& next);
  std::string Metadata() const;

  const CopyWriterOptions options_;
  const std::atomic<bool>& stop_;
  Refusal refusal_;  // what a record met first; before producer_, whose callbacks use it
  Handle producer_;
};

}  // namespace sightline::kafka
