// CopyWriter: the transactional producer of a copy. One transaction holds records for any
// partitions of a topic, and how far each partition of the source is copied, as offsets of a
// consumer group. Its calls wait. One thread. Not for other rooms: it exposes librdkafka.
//
// The metadata of an offset says what it belongs to: the id of the topic that is written, a line
// end, and what is copied there. It is empty, as Kafka's own tools leave it, if a person has set
// the offset.
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
  std::string offsets_topic;  // the topic under whose partitions the offsets are stored
  std::string to_id;          // first line of the metadata
  std::string what;           // and the rest
};

class CopyWriter {
 public:
  // Once `stop` is true, every call ends soon.
  CopyWriter(CopyWriterOptions options, const std::atomic<bool>& stop)
      : options_(std::move(options)), stop_(stop) {}

  // Call it once, before the others. From then on, an earlier copy can write nothing, and none of
  // its writes is under way.
  Status Fence();
  // The committed positions of the source's partitions [0, partitions). Empty: nothing was ever
  // copied into this topic. kStop: something else was.
  Result<std::map<int32_t, Offset>> Positions(int32_t partitions);
  // Commits records and positions in one transaction. kRebuild: the outcome is unknown, or the
  // cluster refused. kStop: another process copies now, or a record is too large.
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
  Refusal
      refusal_;  // the first refusal of a record; declared before producer_, whose callbacks use it
  Handle producer_;
};

}  // namespace sightline::kafka
