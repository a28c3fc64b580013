// Topics of a real broker behind the harnesses: SIGHTLINE_KAFKA says where it is.
#include <fmt/format.h>
#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <atomic>
#include <boost/json.hpp>
#include <cstdlib>
#include <future>
#include <map>
#include <random>
#include <utility>

#include "base/check.h"
#include "connectors/kafka/admin.h"
#include "connectors/kafka/producer.h"
#include "connectors/kafka/reader.h"
#include "connectors/kafka/writer.h"
#include "harness.h"

namespace sightline::conformance {
namespace {

namespace json = boost::json;

KafkaOptions Options() {
  const char* const brokers = std::getenv("SIGHTLINE_KAFKA");
  if (brokers == nullptr) {
    fmt::print(stderr, "SIGHTLINE_KAFKA must say where the broker is: host:port\n");
    std::exit(2);
  }
  KafkaOptions options;
  options.brokers = brokers;
  return options;
}

std::string NewName(std::string_view what) {
  static const uint64_t run = std::random_device()();
  static std::atomic<int> number = 0;
  return fmt::format("{}-{:x}-{}", what, run, ++number);
}

KafkaAdmin& Admin() {
  static const std::unique_ptr<KafkaAdmin> admin =
      std::move(KafkaAdmin::Open(Options(), {10'000})).value();
  return *admin;
}

KafkaTopic NewTopic(std::string_view what, std::map<std::string, std::string> settings) {
  const std::string name = NewName(what);
  const Status made = Ask([&] {
    return Admin().Create({.name = name, .partitions = 2, .replication = 1, .settings = settings});
  });
  CHECK(made.ok());
  const auto described = Ask([&]() -> Result<KafkaTopicState> {
    const auto state = Admin().Describe(name);
    if (!state.ok()) return state.status();
    if (!state.value()) return Status::Retry("not there yet");
    return *state.value();
  });
  return TopicToRead(described.value());
}

// Only one source of a reader may read a partition, so each has a reader of its own.
class OwnReaderSource final : public Source {
 public:
  OwnReaderSource(const KafkaTopic& topic, int32_t partition)
      : reader_(std::move(KafkaReader::Open(Options())).value()),
        source_(reader_->OpenSource(topic, partition, nullptr)) {}
  Result<Offset> Earliest() override { return source_->Earliest(); }
  Status Seek(Offset next) override { return source_->Seek(next); }
  Result<Batch> Poll(int64_t records_max) override { return source_->Poll(records_max); }

 private:
  const std::unique_ptr<KafkaReader> reader_;
  const std::unique_ptr<Source> source_;
};

class KafkaSourceHarness final : public SourceHarness {
 public:
  std::unique_ptr<Source> Open(int32_t partition) override {
    return std::make_unique<OwnReaderSource>(topic_, partition);
  }
  void Append(int32_t partition, const std::vector<std::string>& payloads) override {
    KafkaProducer::Part part{.topic = topic_.name, .partition = partition, .records = {}};
    for (const std::string& payload : payloads)
      part.records.push_back({.key = std::nullopt, .value = payload});
    std::promise<Status> done;
    CHECK(producer_->Append({part}, [&done](Status status) { done.set_value(std::move(status)); }));
    CHECK(done.get_future().get().ok());
    int64_t& end = ends_[partition];
    batches_.push_back({partition, now_ms_, end += static_cast<int64_t>(payloads.size())});
  }
  void SetClock(int64_t now_ms) override { now_ms_ = now_ms; }
  // As the broker's retention would, by the harness's clock.
  void Retain(AppendTime time) override {
    std::map<int32_t, int64_t> before;
    for (const Stored& batch : batches_)
      if (batch.at_ms < time.v)
        before[batch.partition] = std::max(before[batch.partition], batch.end);
    for (const auto& [partition, offset] : before)
      CHECK(Ask([&, p = partition, o = offset] {
              return Admin().DeleteRecords(topic_.name, p, {o});
            }).ok());
  }
  void Reopen() override {}
  bool clock_is_ours() const override { return false; }

 private:
  struct Stored {
    int32_t partition;
    int64_t at_ms;
    int64_t end;
  };
  const KafkaTopic topic_ = NewTopic("raw", {{"message.timestamp.type", "LogAppendTime"}});
  const std::unique_ptr<KafkaProducer> producer_ =
      std::move(KafkaProducer::Open({.kafka = Options()})).value();
  int64_t now_ms_ = 0;
  std::vector<Stored> batches_;
  std::map<int32_t, int64_t> ends_;
};

struct Seen {
  std::string key, value;
  std::map<std::string, std::string> headers;
};

// All committed records of a partition, as a foreign client reads them.
std::vector<Seen> ReadCommitted(const std::string& topic, int32_t partition) {
  rd_kafka_conf_t* const conf = rd_kafka_conf_new();
  char error[512];
  for (const auto& [name, value] :
       std::map<std::string, std::string>{{"bootstrap.servers", Options().brokers},
                                          {"group.id", "reader"},
                                          {"isolation.level", "read_committed"},
                                          {"enable.partition.eof", "true"}})
    CHECK(rd_kafka_conf_set(conf, name.c_str(), value.c_str(), error, sizeof error) ==
          RD_KAFKA_CONF_OK);
  rd_kafka_t* const client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof error);
  CHECK(client != nullptr);
  rd_kafka_topic_t* const handle = rd_kafka_topic_new(client, topic.c_str(), nullptr);
  CHECK(rd_kafka_consume_start(handle, partition, RD_KAFKA_OFFSET_BEGINNING) == 0);
  std::vector<Seen> all;
  while (true) {
    rd_kafka_message_t* const message = rd_kafka_consume(handle, partition, 30'000);
    CHECK(message != nullptr);
    const bool end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
    CHECK(end || message->err == 0);
    if (!end) {
      Seen& seen = all.emplace_back();
      seen.key.assign(static_cast<const char*>(message->key), message->key_len);
      seen.value.assign(static_cast<const char*>(message->payload), message->len);
      rd_kafka_headers_t* headers = nullptr;
      if (rd_kafka_message_headers(message, &headers) == 0) {
        const char* name = nullptr;
        const void* value = nullptr;
        size_t size = 0;
        for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == 0; ++i)
          seen.headers[name].assign(static_cast<const char*>(value), size);
      }
    }
    rd_kafka_message_destroy(message);
    if (end) break;
  }
  rd_kafka_consume_stop(handle, partition);
  rd_kafka_topic_destroy(handle);
  rd_kafka_destroy(client);
  return all;
}

class KafkaSinkHarness final : public SinkHarness {
 public:
  std::unique_ptr<Sink> Open() override { return writer_->OpenSink(nullptr); }
  // The reader's rule: of a key the larger next_offset wins, the truth is the sum over keys.
  Stored Read(const SourcePartition& partition) override {
    std::map<std::string, json::object> newest;
    for (const Seen& seen : ReadCommitted(counts_.name, partition.partition)) {
      const json::object value = json::parse(seen.value).as_object();
      if (value.at("source").as_string() != partition.source) continue;
      const auto [at, fresh] = newest.emplace(seen.key, value);
      if (!fresh && at->second.at("next_offset").as_int64() < value.at("next_offset").as_int64())
        at->second = value;
    }
    Stored stored;
    for (const auto& [key, value] : newest) {
      if (!value.contains("item_name")) continue;  // the progress
      const auto number = [&v = value](const char* name) { return v.at(name).as_int64(); };
      MergeCounts(stored.counts, {{.key = {.pane_start = {number("window_start")},
                                           .location = {number("geographical_location_oid")},
                                           .item = std::string(value.at("item_name").as_string()),
                                           .kind = value.at("kind").as_string() == "correction"
                                                       ? CountKind::kCorrection
                                                       : CountKind::kCount},
                                   .count = number("item_count"),
                                   .first_detected = {number("first_detected")},
                                   .last_detected = {number("last_detected")}}});
    }
    for (const std::string& topic : {dead_.name, late_.name})
      for (const Seen& seen : ReadCommitted(topic, partition.partition)) {
        const json::object key = json::parse(seen.key).as_object();
        if (key.at("source").as_string() != partition.source) continue;
        stored.dead_letters.push_back(
            {.outcome = seen.headers.at("sightline.outcome") == "too_late" ? Outcome::kTooLate
                                                                           : Outcome::kMalformed,
             .offset = {key.at("offset").as_int64()},
             .index = static_cast<int32_t>(key.at("index").as_int64()),
             .append_time = {std::stoll(seen.headers.at("sightline.append_time"))},
             .bytes = seen.value});
      }
    std::ranges::sort(stored.dead_letters, {}, &DeadLetter::offset);
    return stored;
  }
  void Reopen() override { writer_ = MakeWriter(); }
  // The ledger is there as a total.
  Stored Kept(Stored all) const override {
    all.ledger.clear();
    return all;
  }

 private:
  std::unique_ptr<KafkaWriter> MakeWriter() const {
    return std::make_unique<KafkaWriter>(KafkaWriterOptions{
        .kafka = Options(),
        .deployment = deployment_,
        .counts_topic = counts_.name,
        .dead_letters_topic = dead_.name,
        .late_detections_topic = late_.name,
        .spec_id = "test",
        .location_name = nullptr,
        .locations_version = nullptr,
        .group_rows_max = 10,
    });
  }
  const std::string deployment_ = NewName("deployment");
  const KafkaTopic counts_ = NewTopic("counts", {{"cleanup.policy", "compact"}});
  const KafkaTopic dead_ = NewTopic("dead", {});
  const KafkaTopic late_ = NewTopic("late", {});
  std::unique_ptr<KafkaWriter> writer_ = MakeWriter();
};

}  // namespace

std::vector<Implementation<SourceHarness>> Sources() {
  return {{"kafka", [] { return std::make_unique<KafkaSourceHarness>(); }}};
}
std::vector<Implementation<SinkHarness>> Sinks() {
  return {{"kafka", [] { return std::make_unique<KafkaSinkHarness>(); }}};
}

}  // namespace sightline::conformance
