// MockCluster: Kafka brokers inside the test's process, for unit tests of what talks to Kafka.
// Tests only.
//
// The brokers are librdkafka's own (rdkafka_mock.h). They speak the protocol over 127.0.0.1 and
// answer at once, or as a test tells them to. In librdkafka 2.15.1 they have these limits; what a
// unit test cannot show because of them is left to tests/system, which runs Kafka's own brokers:
// - They know Produce, Fetch, ListOffsets, Metadata, FindCoordinator, the requests of a consumer
//   group and those of a transaction. They do not know CreateTopics, DeleteTopics, DeleteRecords,
//   DescribeConfigs, IncrementalAlterConfigs, ListTransactions or DescribeTransactions. So
//   KafkaAdmin::Describe() fails for an existing topic, and MakeTopic() creates topics.
// - Records keep the sender's time; there is no LogAppendTime. ListOffsets knows the earliest
//   offset and the end. If asked for a time or for the newest record, it answers that there is
//   none.
// - There is no read_committed: the last stable offset is always reported as the end, and no
//   transaction as aborted. A reader sees open and aborted records. Control records are written,
//   one offset each, but with a checksum of 0, so options() turns the client's check off.
// - A producer that begins anew with a transactional.id gets a new producer id, and the old one
//   stays valid: Refuse() has to play the fence. Transactions do not time out.
// - TxnOffsetCommit is answered, but its offsets are not stored. OffsetCommit stores them.
// - Fetch returns one batch per partition. Without records it waits for its whole time.
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
#include "model/segment.h"

namespace sightline::kafka {

// The protocol's numbers of requests.
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

// A record as a foreign client reads it.
struct MockRecord {
  int64_t offset = 0;
  std::optional<std::string> key, value;
  std::map<std::string, std::string> headers;
};

// Waits until `holds` is true. False: it did not become true in a long time.
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

// Repeats a call until its answer is not kRetry any more.
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
  // The brokers' ids are 1 to `brokers`.
  explicit MockCluster(int brokers = 1) : owner_(NewOwner()) {
    SetLogLevel("error");  // clients warn about brokers that a test stops
    cluster_.reset(rd_kafka_mock_cluster_new(owner_.get(), brokers));
    CHECK(cluster_ != nullptr);
    rd_kafka_mock_group_initial_rebalance_delay_ms(cluster_.get(), 0);
    rd_kafka_mock_start_request_tracking(cluster_.get());
  }

  // The options of a client, with short waits before retries.
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
  // Metadata and AddPartitionsToTxn answer this for the topic from now on.
  void RefuseTopic(const std::string& name, rd_kafka_resp_err_t error) {
    rd_kafka_mock_topic_set_error(cluster_.get(), name.c_str(), error);
  }
  // Removes records as retention does.
  void DeleteBefore(const std::string& topic, int32_t partition, int64_t offset) {
    CHECK(rd_kafka_mock_partition_delete_records(cluster_.get(), topic.c_str(), partition,
                                                 offset) == RD_KAFKA_RESP_ERR_NO_ERROR);
  }

  // Each of the next requests of this kind is answered with one of the errors.
  // RD_KAFKA_RESP_ERR__TRANSPORT closes the connection instead.
  void Refuse(MockRequest request, const std::vector<rd_kafka_resp_err_t>& errors) {
    rd_kafka_mock_push_request_errors_array(cluster_.get(), static_cast<int16_t>(request),
                                            errors.size(), errors.data());
  }
  // The same for one request to one partition: kProduce or kFetch.
  void RefusePartition(const std::string& topic, int32_t partition, MockRequest request,
                       rd_kafka_resp_err_t error) {
    rd_kafka_mock_partition_push_request_errors(cluster_.get(), topic.c_str(), partition,
                                                static_cast<int16_t>(request), 1, error);
  }
  void RefuseNoMore(MockRequest request) {
    rd_kafka_mock_clear_request_errors(cluster_.get(), static_cast<int16_t>(request));
  }
  // -1: all brokers.
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
  // How many requests of this kind have arrived.
  int64_t Asked(MockRequest request) const {
    size_t count = 0;
    rd_kafka_mock_request_t** const requests = rd_kafka_mock_get_requests(cluster_.get(), &count);
    const int64_t found = std::count_if(requests, requests + count, [&](auto* one) {
      return rd_kafka_mock_request_api_key(one) == static_cast<int16_t>(request);
    });
    rd_kafka_mock_request_destroy_array(requests, count);
    return found;
  }

  // Writes records without a transaction. nullopt: a tombstone.
  void Write(const std::string& topic, int32_t partition,
             const std::vector<std::optional<std::string>>& values,
             const std::optional<std::string>& key = std::nullopt) {
    const Handle client = NewClient(RD_KAFKA_PRODUCER, {{"linger.ms", "0"}});
    const char* const key_data = key ? key->data() : nullptr;
    const size_t key_size = key ? key->size() : 0;
    for (const std::optional<std::string>& value : values) {
      char* const data = value ? const_cast<char*>(value->data()) : nullptr;
      const size_t size = value ? value->size() : 0;
      const rd_kafka_resp_err_t error = rd_kafka_producev(
          client.get(), RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(partition),
          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key_data, key_size),
          RD_KAFKA_V_VALUE(data, size), RD_KAFKA_V_END);
      CHECK(error == RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    CHECK(rd_kafka_flush(client.get(), 60'000) == RD_KAFKA_RESP_ERR_NO_ERROR);
  }

  // All records of the partition, whatever became of their transactions.
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

  // Commits an offset of a group, as Kafka's own tools would set it.
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

  const Handle owner_;  // the handle that the cluster belongs to
  Owned<rd_kafka_mock_cluster_t, rd_kafka_mock_cluster_destroy> cluster_;
};

// A segment of offsets [first, next), each of which counted one bus in location 7.
inline Segment BusSegment(int64_t first, int64_t next) {
  Segment segment{.first = {first}, .next = {next}, .watermark = {next * 1'000}};
  const int64_t count = next - first;
  segment.counts.push_back({.key = {.pane_start = {0}, .location = {7}, .item = "bus"},
                            .count = count,
                            .first_detected = {first},
                            .last_detected = {next}});
  Ledger ledger{.received = count};
  ledger.outcomes[static_cast<size_t>(Outcome::kCounted)] = count;
  segment.ledger.push_back(
      {.key = {.location = {7}, .camera = {2}, .hour = {0}}, .ledger = ledger});
  return segment;
}

}  // namespace sightline::kafka
