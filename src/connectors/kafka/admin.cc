#include "connectors/kafka/admin.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <string_view>
#include <utility>

#include "connectors/kafka/client.h"

namespace sightline {
namespace {

using kafka::ErrorText;
using kafka::Owned;

// The operations as ACLs name them, for the message "this user lacks the right to ...".
constexpr std::string_view kDescribeCluster = "Describe the cluster";
constexpr std::string_view kDescribe = "Describe it";
constexpr std::string_view kDescribeConfigs = "DescribeConfigs of it";
constexpr std::string_view kCreate = "Create it (on the topic, or on the cluster)";
constexpr std::string_view kAlterConfigs = "AlterConfigs of it";
constexpr std::string_view kDelete = "Delete it";

// Turns an error of the cluster into a Status. `right` is the right that the call needs; a message
// about a refusal names it. Only a request that is refused for what it asks stops the caller. Every
// other error is kRetry, also an unknown one: a client whose broker goes away reports that in many
// ways, and librdkafka adds new ones.
Status FromError(const std::string& what, rd_kafka_resp_err_t error, const char* text,
                 std::string_view right) {
  const std::string message =
      fmt::format("{}: {}", what, text != nullptr ? text : ErrorText(error));
  switch (error) {
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
      // kRetry: the caller goes on once somebody has granted the right.
      return Status::Retry(fmt::format("{}: this user lacks the right to {}", what, right));
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICA_ASSIGNMENT:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_INVALID_REQUEST:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_TOPIC_DELETION_DISABLED:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR_SECURITY_DISABLED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
      return Status::Stop(message);
    default:
      return Status::Retry(message);
  }
}

std::string TopicText(std::string_view topic) { return fmt::format("topic '{}'", topic); }

KafkaTopicState StateOf(const rd_kafka_TopicDescription_t* topic) {
  KafkaTopicState state{.name = rd_kafka_TopicDescription_name(topic), .id = {}, .settings = {}};
  state.id = rd_kafka_Uuid_base64str(rd_kafka_TopicDescription_topic_id(topic));
  // Kafka's own tools print the id in the URL-safe alphabet.
  std::ranges::replace(state.id, '/', '_');
  std::ranges::replace(state.id, '+', '-');
  size_t partitions = 0;
  const rd_kafka_TopicPartitionInfo_t** const infos =
      rd_kafka_TopicDescription_partitions(topic, &partitions);
  state.partitions = static_cast<int32_t>(partitions);
  if (partitions > 0) {
    size_t replicas = 0;
    rd_kafka_TopicPartitionInfo_replicas(infos[0], &replicas);
    state.replication = static_cast<int32_t>(replicas);
  }
  return state;
}

}  // namespace

struct KafkaAdmin::State {
  kafka::Handle client;
  Millis timeout;
  std::mutex mutex;
  std::string trouble;  // under mutex: why the cluster does not answer, as last reported

  // librdkafka reports the reason of a failing connection only once, while it retries for ever. So
  // the newest reason is kept until a call succeeds.
  std::string Trouble() {
    const std::lock_guard lock(mutex);
    if (std::string news = kafka::TakeTrouble(client.get()); !news.empty())
      trouble = std::move(news);
    return trouble;
  }

  // Makes one request with `ask` and waits for its answer. Returns the answer's event, or why there
  // is none.
  Result<kafka::Event> Ask(
      const std::string& what, std::string_view right, rd_kafka_admin_op_t operation,
      const std::function<void(const rd_kafka_AdminOptions_t*, rd_kafka_queue_t*)>& ask) {
    const kafka::Queue queue(rd_kafka_queue_new(client.get()));
    const kafka::AdminOptions options(rd_kafka_AdminOptions_new(client.get(), operation));
    char error[512];
    const int timeout_ms = static_cast<int>(timeout.v);
    rd_kafka_AdminOptions_set_request_timeout(options.get(), timeout_ms, error, sizeof error);
    ask(options.get(), queue.get());
    // Wait longer than the request's own timeout, which fires first and says more.
    kafka::Event event(rd_kafka_queue_poll(queue.get(), timeout_ms + 1'000));
    const rd_kafka_resp_err_t code =
        event == nullptr ? RD_KAFKA_RESP_ERR__TIMED_OUT : rd_kafka_event_error(event.get());
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
      const std::lock_guard lock(mutex);
      trouble.clear();
      return event;
    }
    if (code == RD_KAFKA_RESP_ERR__TIMED_OUT) {
      const std::string why = Trouble();
      return Status::Retry(fmt::format("{}: no answer within {} ms{}{}", what, timeout.v,
                                       why.empty() ? "" : ": ", why));
    }
    return FromError(what, code, rd_kafka_event_error_string(event.get()), right);
  }

  // Reads the settings of all `topics` in one request. No topic may occur twice.
  Status ReadSettings(std::vector<KafkaTopicState>& topics) {
    if (topics.empty()) return Status::Ok();
    std::vector<rd_kafka_ConfigResource_t*> asked;
    asked.reserve(topics.size());
    for (const KafkaTopicState& topic : topics)
      asked.push_back(rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.name.c_str()));
    const std::string what = topics.size() == 1 ? TopicText(topics.front().name)
                                                : fmt::format("{} topics", topics.size());
    const Result<kafka::Event> configs =
        Ask(what, kDescribeConfigs, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS,
            [&](const rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
              rd_kafka_DescribeConfigs(client.get(), asked.data(), asked.size(), options, queue);
            });
    rd_kafka_ConfigResource_destroy_array(asked.data(), asked.size());
    if (!configs.ok()) return configs.status();
    size_t count = 0;
    const rd_kafka_ConfigResource_t** const resources = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(configs.value().get()), &count);
    if (count != topics.size())
      return Status::Retry(what + ": the cluster did not report its settings");
    std::map<std::string_view, KafkaTopicState*> by_name;
    for (KafkaTopicState& topic : topics) by_name[topic.name] = &topic;
    for (size_t i = 0; i < count; ++i) {
      const char* const name = rd_kafka_ConfigResource_name(resources[i]);
      if (const rd_kafka_resp_err_t error = rd_kafka_ConfigResource_error(resources[i]); error != 0)
        return FromError(TopicText(name), error, rd_kafka_ConfigResource_error_string(resources[i]),
                         kDescribeConfigs);
      const auto topic = by_name.find(name);
      if (topic == by_name.end())
        return Status::Retry(what + ": the cluster answered about another topic");
      size_t entries_count = 0;
      const rd_kafka_ConfigEntry_t** const entries =
          rd_kafka_ConfigResource_configs(resources[i], &entries_count);
      for (size_t e = 0; e < entries_count; ++e) {
        const char* const value = rd_kafka_ConfigEntry_value(entries[e]);
        topic->second->settings[rd_kafka_ConfigEntry_name(entries[e])] =
            value == nullptr ? "" : value;
      }
    }
    return Status::Ok();
  }
};

KafkaAdmin::KafkaAdmin(std::unique_ptr<State> state) : state_(std::move(state)) {}
KafkaAdmin::~KafkaAdmin() = default;

Result<std::unique_ptr<KafkaAdmin>> KafkaAdmin::Open(const KafkaOptions& options, Millis timeout) {
  Result<kafka::Handle> client = kafka::MakeClient(RD_KAFKA_PRODUCER, options, {});
  if (!client.ok()) return client.status();
  auto state = std::make_unique<State>();
  state->client = std::move(client).value();
  state->timeout = timeout;
  return std::unique_ptr<KafkaAdmin>(new KafkaAdmin(std::move(state)));
}

Result<std::string> KafkaAdmin::ClusterId() {
  const Result<kafka::Event> event =
      state_->Ask("the cluster", kDescribeCluster, RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER,
                  [this](const rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
                    rd_kafka_DescribeCluster(state_->client.get(), options, queue);
                  });
  if (!event.ok()) return event.status();
  const char* const id = rd_kafka_DescribeCluster_result_cluster_id(
      rd_kafka_event_DescribeCluster_result(event.value().get()));
  if (id == nullptr) return Status::Retry("the cluster does not report its id");
  return std::string(id);
}

Result<int32_t> KafkaAdmin::Brokers() {
  const Result<kafka::Event> event =
      state_->Ask("the cluster", kDescribeCluster, RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER,
                  [this](const rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
                    rd_kafka_DescribeCluster(state_->client.get(), options, queue);
                  });
  if (!event.ok()) return event.status();
  size_t count = 0;
  rd_kafka_DescribeCluster_result_nodes(rd_kafka_event_DescribeCluster_result(event.value().get()),
                                        &count);
  return static_cast<int32_t>(count);
}

Result<std::optional<KafkaTopicState>> KafkaAdmin::Describe(const std::string& topic) {
  Result<std::vector<KafkaTopicState>> found = DescribeAll({topic});
  if (!found.ok()) return found.status();
  if (found.value().empty()) return std::optional<KafkaTopicState>();
  return std::optional<KafkaTopicState>(std::move(found.value().front()));
}

Result<std::vector<KafkaTopicState>> KafkaAdmin::DescribeAll(
    const std::vector<std::string>& topics) {
  std::vector<KafkaTopicState> states;
  if (topics.empty()) return states;
  std::vector<const char*> names;
  names.reserve(topics.size());
  for (const std::string& topic : topics) names.push_back(topic.c_str());
  const Owned<rd_kafka_TopicCollection_t, rd_kafka_TopicCollection_destroy> collection(
      rd_kafka_TopicCollection_of_topic_names(names.data(), names.size()));
  const std::string what =
      topics.size() == 1 ? TopicText(topics.front()) : fmt::format("{} topics", topics.size());
  const Result<kafka::Event> described =
      state_->Ask(what, kDescribe, RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
                  [&](const rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
                    rd_kafka_DescribeTopics(state_->client.get(), collection.get(), options, queue);
                  });
  if (!described.ok()) return described.status();
  size_t count = 0;
  const rd_kafka_TopicDescription_t** const found = rd_kafka_DescribeTopics_result_topics(
      rd_kafka_event_DescribeTopics_result(described.value().get()), &count);
  if (count != topics.size()) return Status::Retry(what + ": no answer");
  for (size_t i = 0; i < count; ++i) {
    if (const rd_kafka_error_t* const error = rd_kafka_TopicDescription_error(found[i])) {
      // A topic that does not exist is not an error: it is missing in the answer.
      if (rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) continue;
      return FromError(TopicText(rd_kafka_TopicDescription_name(found[i])),
                       rd_kafka_error_code(error), rd_kafka_error_string(error), kDescribe);
    }
    states.push_back(StateOf(found[i]));
  }
  RETURN_IF_ERROR(state_->ReadSettings(states));
  return states;
}

Result<std::vector<std::string>> KafkaAdmin::Names() {
  const rd_kafka_metadata_t* metadata = nullptr;
  const rd_kafka_resp_err_t error = rd_kafka_metadata(state_->client.get(), 1, nullptr, &metadata,
                                                      static_cast<int>(state_->timeout.v));
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
    const std::string why = state_->Trouble();
    return Status::Retry(fmt::format("the cluster's topics: {}{}{}", ErrorText(error),
                                     why.empty() ? "" : ": ", why));
  }
  const Owned<const rd_kafka_metadata_t, rd_kafka_metadata_destroy> owned(metadata);
  std::vector<std::string> names;
  for (int i = 0; i < metadata->topic_cnt; ++i) names.emplace_back(metadata->topics[i].topic);
  return names;
}

Status KafkaAdmin::Create(const KafkaTopicSpec& spec) {
  const std::string what = fmt::format("topic '{}' cannot be created", spec.name);
  char error[512];
  const Owned<rd_kafka_NewTopic_t, rd_kafka_NewTopic_destroy> topic(rd_kafka_NewTopic_new(
      spec.name.c_str(), spec.partitions, spec.replication, error, sizeof error));
  if (topic == nullptr) return Status::Stop(fmt::format("{}: {}", what, error));
  for (const auto& [name, value] : spec.settings)
    rd_kafka_NewTopic_set_config(topic.get(), name.c_str(), value.c_str());
  rd_kafka_NewTopic_t* topics[] = {topic.get()};
  const Result<kafka::Event> event =
      state_->Ask(what, kCreate, RD_KAFKA_ADMIN_OP_CREATETOPICS,
                  [&](const rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
                    rd_kafka_CreateTopics(state_->client.get(), topics, 1, options, queue);
                  });
  if (!event.ok()) return event.status();
  size_t count = 0;
  const rd_kafka_topic_result_t** const results = rd_kafka_CreateTopics_result_topics(
      rd_kafka_event_CreateTopics_result(event.value().get()), &count);
  if (count == 1 && rd_kafka_topic_result_error(results[0]) == 0) return Status::Ok();
  if (count != 1) return Status::Retry(what + ": no answer");
  return FromError(what, rd_kafka_topic_result_error(results[0]),
                   rd_kafka_topic_result_error_string(results[0]), kCreate);
}

Status KafkaAdmin::Alter(const std::string& topic,
                         const std::map<std::string, std::string>& settings) {
  const std::string what = fmt::format("topic '{}' cannot be changed", topic);
  const Owned<rd_kafka_ConfigResource_t, rd_kafka_ConfigResource_destroy> resource(
      rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str()));
  for (const auto& [name, value] : settings) {
    const kafka::Error error(rd_kafka_ConfigResource_add_incremental_config(
        resource.get(), name.c_str(), RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET, value.c_str()));
    if (error != nullptr)
      return Status::Stop(fmt::format("{}: {}", what, rd_kafka_error_string(error.get())));
  }
  rd_kafka_ConfigResource_t* resources[] = {resource.get()};
  const Result<kafka::Event> event = state_->Ask(
      what, kAlterConfigs, RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS,
      [&](const rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
        rd_kafka_IncrementalAlterConfigs(state_->client.get(), resources, 1, options, queue);
      });
  if (!event.ok()) return event.status();
  size_t count = 0;
  const rd_kafka_ConfigResource_t** const results =
      rd_kafka_IncrementalAlterConfigs_result_resources(
          rd_kafka_event_IncrementalAlterConfigs_result(event.value().get()), &count);
  if (count != 1) return Status::Retry(what + ": no answer");
  if (const rd_kafka_resp_err_t error = rd_kafka_ConfigResource_error(results[0]); error != 0)
    return FromError(what, error, rd_kafka_ConfigResource_error_string(results[0]), kAlterConfigs);
  return Status::Ok();
}

Status KafkaAdmin::Delete(const std::string& topic) {
  const std::string what = fmt::format("topic '{}' cannot be deleted", topic);
  const Owned<rd_kafka_DeleteTopic_t, rd_kafka_DeleteTopic_destroy> request(
      rd_kafka_DeleteTopic_new(topic.c_str()));
  rd_kafka_DeleteTopic_t* requests[] = {request.get()};
  const Result<kafka::Event> event =
      state_->Ask(what, kDelete, RD_KAFKA_ADMIN_OP_DELETETOPICS,
                  [&](const rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
                    rd_kafka_DeleteTopics(state_->client.get(), requests, 1, options, queue);
                  });
  if (!event.ok()) return event.status();
  size_t count = 0;
  const rd_kafka_topic_result_t** const results = rd_kafka_DeleteTopics_result_topics(
      rd_kafka_event_DeleteTopics_result(event.value().get()), &count);
  if (count == 1 && rd_kafka_topic_result_error(results[0]) == 0) return Status::Ok();
  if (count != 1) return Status::Retry(what + ": no answer");
  return FromError(what, rd_kafka_topic_result_error(results[0]),
                   rd_kafka_topic_result_error_string(results[0]), kDelete);
}

Status KafkaAdmin::DeleteRecords(const std::string& topic, int32_t partition, Offset offset) {
  const std::string what = kafka::Where(topic, partition) + ": its records cannot be deleted";
  const kafka::Partitions before(rd_kafka_topic_partition_list_new(1));
  rd_kafka_topic_partition_list_add(before.get(), topic.c_str(), partition)->offset = offset.v;
  const Owned<rd_kafka_DeleteRecords_t, rd_kafka_DeleteRecords_destroy> request(
      rd_kafka_DeleteRecords_new(before.get()));
  rd_kafka_DeleteRecords_t* requests[] = {request.get()};
  const Result<kafka::Event> event =
      state_->Ask(what, kDelete, RD_KAFKA_ADMIN_OP_DELETERECORDS,
                  [&](const rd_kafka_AdminOptions_t* options, rd_kafka_queue_t* queue) {
                    rd_kafka_DeleteRecords(state_->client.get(), requests, 1, options, queue);
                  });
  if (!event.ok()) return event.status();
  const rd_kafka_topic_partition_list_t* const done = rd_kafka_DeleteRecords_result_offsets(
      rd_kafka_event_DeleteRecords_result(event.value().get()));
  if (done->cnt != 1) return Status::Retry(what + ": no answer");
  if (done->elems[0].err != 0) return FromError(what, done->elems[0].err, nullptr, kDelete);
  return Status::Ok();
}

}  // namespace sightline
