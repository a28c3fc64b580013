// This room's layer over librdkafka: owned handles, configuration, errors as Status, and its log in
// ours. Not for other rooms: it exposes librdkafka.
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

// Callbacks of a client. Each may be null, and each that is not must outlive the client.
struct Callbacks {
  // The delivery report of a producer's message. The thread that polls the client calls it.
  void (*on_delivery)(rd_kafka_t*, const rd_kafka_message_t*, void*) = nullptr;
  // A topic was deleted and created again. The client would continue at the same offset of the new
  // topic, which is another source. It is called on the client's thread, before anything of the new
  // topic is requested.
  const std::function<void(std::string_view topic)>* on_replaced = nullptr;
  // The rebalance of a group member, with `rebalance_opaque`; the thread that polls the client
  // calls it. A client can have only one of on_replaced and on_rebalance.
  void (*on_rebalance)(rd_kafka_t*, rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t*,
                       void*) = nullptr;
  void* rebalance_opaque = nullptr;
};
// Creates a client with the connection and login of `options` and with `settings` (librdkafka's
// names). kStop names what librdkafka refuses, but no secrets.
Result<Handle> MakeClient(rd_kafka_type_t type, const KafkaOptions& options,
                          const Settings& settings, const Callbacks& callbacks = {});
// The settings of every reader: committed records only, an error instead of a jump where retention
// has passed the position, and an event at the end of a partition.
Settings ReaderSettings(const KafkaOptions& options);

std::string ErrorText(rd_kafka_resp_err_t error);
// Names a partition in messages: "topic 'a' partition 1".
std::string Where(std::string_view topic, int32_t partition);

// Why the client cannot reach the brokers or log in, as found since the last call; empty if there
// is nothing new. For clients that nobody else polls.
std::string TakeTrouble(rd_kafka_t* client);

// How long brokers may take to answer such a question.
constexpr int kOffsetTimeoutMs = 5'000;
// Requests the offset of `topic`/`partition` that `spec` names (an rd_kafka_OffsetSpec_t, or a
// time), without waiting. The answer arrives in `queue`.
void AskOffset(rd_kafka_t* client, const std::string& topic, int32_t partition, int64_t spec,
               rd_kafka_IsolationLevel_t isolation, int timeout_ms, rd_kafka_queue_t* queue,
               void* opaque);
struct OffsetAnswer {
  std::string topic;
  int32_t partition = 0;
  int64_t offset = -1;
  int64_t timestamp = -1;
};
// Decodes such an answer. kRetry if the brokers could not give it. An offset of -1 means that there
// is no record of the requested time or later.
Result<OffsetAnswer> ReadOffsetAnswer(rd_kafka_event_t* event);

}  // namespace sightline::kafka
