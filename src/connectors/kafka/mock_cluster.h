// MockCluster: brokers inside of the test's process, for the unit tests of what talks to Kafka.
//
// They are librdkafka's own (rdkafka_mock.h): they speak the protocol over 127.0.0.1 and answer at
// once, or as a test tells them to. What those of librdkafka 2.15.1 do not do, and what a test can
// therefore not show with them (tests/system does, with Kafka's own brokers):
// - Only Produce, Fetch, ListOffsets, Metadata, FindCoordinator, the group's and the transaction's
//   requests are known. Topics are made by MakeTopic(): the administrator's requests that change or
//   tell something of a topic (CreateTopics, DeleteTopics, DeleteRecords, DescribeConfigs,
//   IncrementalAlterConfigs), ListTransactions and DescribeTransactions are answered by nothing.
// - Records keep their senders' times: no topic has LogAppendTime. ListOffsets knows the earliest
//   offset and the end; asked for a time, or for the newest time, it says that there is no record.
// - A transaction's records can be read before its end, and also after it was aborted: the last
//   stable offset that is told is the end, and Fetch names no aborted transaction. Ends are written
//   (one offset each), with a checksum of 0: options() turns the check off.
// - A transactional.id that begins anew gets a new producer id, and nothing becomes of the old one:
//   who is to be fenced must be Refuse()d. No transaction times out.
// - TxnOffsetCommit is answered and forgotten; OffsetCommit is kept.
// - Fetch waits its whole time when there is nothing, and answers one batch a partition.
#pragma once

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "base/status.h"
#include "connectors/kafka/client.h"
#include "connectors/kafka/options.h"
#include "connectors/kafka/reader.h"

namespace sightline::kafka {

// Numbers of the protocol.
enum class MockRequest : int16_t {
  kProduce = 0,
  kFetch = 1,
  kListOffsets = 2,
  kOffsetFetch = 9,
  kFindCoordinator = 10,
  kJoinGroup = 11,
  kInitProducerId = 22,
  kAddPartitions = 24,
  kAddOffsets = 25,
  kEndTransaction = 26,
  kCommitOffsets = 28,  // of a transaction
};

// A record as any foreign client reads it.
struct MockRecord {
  int64_t offset = 0;
  std::optional<std::string> key, value;
  std::map<std::string, std::string> headers;
};

// Whether `holds` became true, soon or after a while: a machine may be busy.
template <typename Holds>
bool Eventually(Holds holds) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

inline Status StatusOf(const Status& status) { return status; }
template <typename T>
Status StatusOf(const Result<T>& result) {
  return result.status();
}

// The first answer of `ask` that is not "call again later"; that one, if there is no other.
template <typename Call>
auto Insist(Call ask) {
  auto answer = ask();
  Eventually([&] {
    if (StatusOf(answer).code() != StatusCode::kRetry) return true;
    answer = ask();
    return false;
  });
  return answer;
}

class MockCluster {
 public:
  // Their ids are 1 to `brokers`.
  explicit MockCluster(int brokers = 1) : owner_(NewOwner()) {
    SetLogLevel("error");  // what clients say of brokers that a test stops
    cluster_.reset(rd_kafka_mock_cluster_new(owner_.get(), brokers));
    CHECK(cluster_ != nullptr);
    rd_kafka_mock_group_initial_rebalance_delay_ms(cluster_.get(), 0);
    rd_kafka_mock_start_request_tracking(cluster_.get());
  }

  // How to reach it, and to try again soon.
  KafkaOptions options() const {
    KafkaOptions options;
    options.brokers = rd_kafka_mock_cluster_bootstraps(cluster_.get());
    options.settings = {{"check.crcs", "false"},           {"fetch.wait.max.ms", "10"},
                        {"fetch.error.backoff.ms", "10"},  {"retry.backoff.ms", "10"},
                        {"retry.backoff.max.ms", "50"},    {"reconnect.backoff.ms", "10"},
                        {"reconnect.backoff.max.ms", "50"}};
    return options;
  }

  KafkaTopic MakeTopic(const std::string& name, int32_t partitions = 1) {
    CHECK(rd_kafka_mock_topic_create(cluster_.get(), name.c_str(), partitions, 1) ==
          RD_KAFKA_RESP_ERR_NO_ERROR);
    return {.name = name, .id = name + "-id", .partitions = partitions};
  }
  void DeleteTopic(const std::string& name) {
    CHECK(rd_kafka_mock_topic_delete(cluster_.get(), name.c_str()) == RD_KAFKA_RESP_ERR_NO_ERROR);
  }
  // Of what is asked of the topic's place and of its part in transactions, until it is none.
  void RefuseTopic(const std::string& name, rd_kafka_resp_err_t error) {
    rd_kafka_mock_topic_set_error(cluster_.get(), name.c_str(), error);
  }
  // As retention does it.
  void DeleteBefore(const std::string& topic, int32_t partition, int64_t offset) {
    CHECK(rd_kafka_mock_partition_delete_records(cluster_.get(), topic.c_str(), partition,
                                                 offset) == RD_KAFKA_RESP_ERR_NO_ERROR);
  }

  // The next requests of the kind are answered so, one each. RD_KAFKA_RESP_ERR__TRANSPORT: not at
  // all, and the connection ends.
  void Refuse(MockRequest request, const std::vector<rd_kafka_resp_err_t>& errors) {
    rd_kafka_mock_push_request_errors_array(cluster_.get(), static_cast<int16_t>(request),
                                            errors.size(), errors.data());
  }
  // The same, of one partition: of kProduce and kFetch.
  void RefusePartition(const std::string& topic, int32_t partition, MockRequest request,
                       rd_kafka_resp_err_t error) {
    rd_kafka_mock_partition_push_request_errors(cluster_.get(), topic.c_str(), partition,
                                                static_cast<int16_t>(request), 1, error);
  }
  void RefuseNoMore(MockRequest request) {
    rd_kafka_mock_clear_request_errors(cluster_.get(), static_cast<int16_t>(request));
  }
  // -1: all of them.
  void StopBroker(int32_t broker = -1) { rd_kafka_mock_broker_set_down(cluster_.get(), broker); }
  void StartBroker(int32_t broker = -1) { rd_kafka_mock_broker_set_up(cluster_.get(), broker); }
  void SlowDown(int milliseconds) {
    rd_kafka_mock_broker_set_rtt(cluster_.get(), -1, milliseconds);
  }
  void MoveCoordinator(const std::string& transactional_id, int32_t broker) {
    rd_kafka_mock_coordinator_set(cluster_.get(), "transaction", transactional_id.c_str(), broker);
  }
  void MoveLeader(const std::string& topic, int32_t partition, int32_t broker) {
    rd_kafka_mock_partition_set_leader(cluster_.get(), topic.c_str(), partition, broker);
  }
  // Requests of the kind that have come so far.
  int64_t Asked(MockRequest request) const {
    size_t count = 0;
    rd_kafka_mock_request_t** const requests = rd_kafka_mock_get_requests(cluster_.get(), &count);
    const int64_t found = std::count_if(requests, requests + count, [&](auto* one) {
      return rd_kafka_mock_request_api_key(one) == static_cast<int16_t>(request);
    });
    rd_kafka_mock_request_destroy_array(requests, count);
    return found;
  }

  // Plain records, one after the other; nothing: a tombstone.
  void Write(const std::string& topic, int32_t partition,
             const std::vector<std::optional<std::string>>& values,
             const std::optional<std::string>& key = std::nullopt) {
    const Handle client = NewClient(RD_KAFKA_PRODUCER, {{"linger.ms", "0"}});
    for (const std::optional<std::string>& value : values) {
      CHECK(rd_kafka_producev(client.get(), RD_KAFKA_V_TOPIC(topic.c_str()),
                              RD_KAFKA_V_PARTITION(partition),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                              RD_KAFKA_V_KEY(key ? key->data() : nullptr, key ? key->size() : 0),
                              RD_KAFKA_V_VALUE(value ? const_cast<char*>(value->data()) : nullptr,
                                               value ? value->size() : 0),
                              RD_KAFKA_V_END) == RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    CHECK(rd_kafka_flush(client.get(), 60'000) == RD_KAFKA_RESP_ERR_NO_ERROR);
  }

  // Everything that is in the partition now.
  std::vector<MockRecord> Read(const std::string& topic, int32_t partition) const {
    const Handle client = NewClient(RD_KAFKA_CONSUMER, {{"group.id", "reader"},
                                                        {"enable.partition.eof", "true"},
                                                        {"isolation.level", "read_uncommitted"}});
    const Topic handle(rd_kafka_topic_new(client.get(), topic.c_str(), nullptr));
    CHECK(rd_kafka_consume_start(handle.get(), partition, RD_KAFKA_OFFSET_BEGINNING) == 0);
    std::vector<MockRecord> records;
    while (true) {
      const Owned<rd_kafka_message_t, rd_kafka_message_destroy> message(
          rd_kafka_consume(handle.get(), partition, 60'000));
      CHECK(message != nullptr);
      if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) break;
      CHECK(message->err == RD_KAFKA_RESP_ERR_NO_ERROR);
      records.push_back(RecordOf(*message));
    }
    rd_kafka_consume_stop(handle.get(), partition);
    return records;
  }
  std::vector<std::string> Values(const std::string& topic, int32_t partition) const {
    std::vector<std::string> values;
    for (const MockRecord& record : Read(topic, partition))
      values.push_back(record.value.value_or("(none)"));
    return values;
  }

  // What a group has committed of a partition, as Kafka's own tools would set it.
  void CommitOffset(const std::string& group, const std::string& topic, int32_t partition,
                    int64_t offset, const std::string& metadata) {
    const Handle client = NewClient(RD_KAFKA_CONSUMER, {{"group.id", group}});
    const Partitions offsets(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_t* const one =
        rd_kafka_topic_partition_list_add(offsets.get(), topic.c_str(), partition);
    one->offset = offset;
    one->metadata = rd_kafka_mem_malloc(nullptr, metadata.size() + 1);  // the list frees it
    one->metadata_size = metadata.copy(static_cast<char*>(one->metadata), metadata.size());
    CHECK(Eventually([&] { return rd_kafka_commit(client.get(), offsets.get(), 0) == 0; }));
  }

 private:
  static Handle NewOwner() {
    char error[512];
    rd_kafka_conf_t* const conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, nullptr);
    Handle owner(rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error));
    CHECK(owner != nullptr);
    return owner;
  }
  Handle NewClient(rd_kafka_type_t type, const Settings& settings) const {
    return std::move(MakeClient(type, options(), settings)).value();
  }
  static MockRecord RecordOf(const rd_kafka_message_t& message) {
    MockRecord record{.offset = message.offset, .key = {}, .value = {}, .headers = {}};
    const auto text = [](const void* bytes, size_t size) {
      return std::string(static_cast<const char*>(bytes), size);
    };
    if (message.key != nullptr) record.key = text(message.key, message.key_len);
    if (message.payload != nullptr) record.value = text(message.payload, message.len);
    rd_kafka_headers_t* headers = nullptr;
    if (rd_kafka_message_headers(&message, &headers) != 0) return record;
    const char* name = nullptr;
    const void* value = nullptr;
    size_t size = 0;
    for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == 0; ++i)
      record.headers[name] = text(value, size);
    return record;
  }

  const Handle owner_;  // the cluster's threads are its
  Owned<rd_kafka_mock_cluster_t, rd_kafka_mock_cluster_destroy> cluster_;
};

}  // namespace sightline::kafka
