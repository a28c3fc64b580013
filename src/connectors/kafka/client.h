// The room's own handling of librdkafka: handles, configuration, errors as Status, its log as ours.
// Not for other rooms: it shows librdkafka.
#pragma once

#include <librdkafka/rdkafka.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/options.h"

namespace sightline::kafka {

template <auto Destroy>
struct Destroyer {
  template <typename T>
  void operator()(T* what) const {
    Destroy(what);
  }
};
template <typename T, auto Destroy>
using Owned = std::unique_ptr<T, Destroyer<Destroy>>;

using Handle = Owned<rd_kafka_t, rd_kafka_destroy>;
using Topic = Owned<rd_kafka_topic_t, rd_kafka_topic_destroy>;
using Queue = Owned<rd_kafka_queue_t, rd_kafka_queue_destroy>;
using Event = Owned<rd_kafka_event_t, rd_kafka_event_destroy>;
using Error = Owned<rd_kafka_error_t, rd_kafka_error_destroy>;
using Partitions = Owned<rd_kafka_topic_partition_list_t, rd_kafka_topic_partition_list_destroy>;
using AdminOptions = Owned<rd_kafka_AdminOptions_t, rd_kafka_AdminOptions_destroy>;
using Headers = Owned<rd_kafka_headers_t, rd_kafka_headers_destroy>;

using Settings = std::vector<std::pair<std::string, std::string>>;

// A client with the options' connection and login and `settings` (librdkafka's names). kStop names
// what librdkafka refuses, without secrets.
struct Callbacks {
  // Of a producer; called by whoever polls it. May be null.
  void (*on_delivery)(rd_kafka_t*, const rd_kafka_message_t*, void*) = nullptr;
  // A topic was deleted and made again: the client goes on at the same offset of the new one, which
  // is another source. Called before anything of the new one is asked for, on the client's thread.
  // May be null; outlives the client.
  const std::function<void(std::string_view topic)>* on_replaced = nullptr;
  // Of a member of a group, called by whoever polls it, with `rebalance_opaque`. One of the two.
  void (*on_rebalance)(rd_kafka_t*, rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t*,
                       void*) = nullptr;
  void* rebalance_opaque = nullptr;
};
Result<Handle> MakeClient(rd_kafka_type_t type, const KafkaOptions& options,
                          const Settings& settings, const Callbacks& callbacks = {});
// Settings of whoever reads: committed records only, an error instead of a jump where retention has
// passed, the end told.
Settings ReaderSettings(const KafkaOptions& options);

std::string ErrorText(rd_kafka_resp_err_t error);
// What a person reads: "topic 'a' partition 1: Broker: Not enough replicas".
std::string Where(std::string_view topic, int32_t partition);

// Why the client cannot reach the brokers or log in there, as it found since the last call; empty:
// nothing new. For clients that nobody else polls.
std::string TakeTrouble(rd_kafka_t* client);

// The offset of `topic`/`partition` that `spec` names (rd_kafka_OffsetSpec_t or a time), asked
// without waiting: the answer comes to the queue.
void AskOffset(rd_kafka_t* client, const std::string& topic, int32_t partition, int64_t spec,
               rd_kafka_IsolationLevel_t isolation, int timeout_ms, rd_kafka_queue_t* queue,
               void* opaque);
struct OffsetAnswer {
  std::string topic;
  int32_t partition = 0;
  int64_t offset = -1;
  int64_t timestamp = -1;
};
// kRetry if the brokers could not say. An offset of -1: there is no record of the time that was
// asked for.
Result<OffsetAnswer> ReadOffsetAnswer(rd_kafka_event_t* event);

}  // namespace sightline::kafka
