#include "connectors/kafka/newest.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "connectors/kafka/client.h"

namespace sightline {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kNewestSliceMs = 100;

Status Failed(const std::string& where, rd_kafka_resp_err_t error) {
  return Status::Retry(error == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
                           ? where + ": this user lacks the right to Read it"
                           : fmt::format("{}: {}", where, kafka::ErrorText(error)));
}

NewestRecord RecordOf(const rd_kafka_message_t& message) {
  NewestRecord record{.partition = message.partition,
                      .offset = {message.offset},
                      .key = std::nullopt,
                      .value = {static_cast<const char*>(message.payload), message.len}};
  rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
  const int64_t time = rd_kafka_message_timestamp(&message, &type);
  if (type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME) record.append_time = {time};
  if (message.key != nullptr)
    record.key.emplace(static_cast<const char*>(message.key), message.key_len);
  return record;
}

// Reads one partition with a client that the next partition will use, too.
class Newest {
 public:
  Newest(rd_kafka_t* client, rd_kafka_topic_t* topic, int32_t partition, Millis timeout)
      : client_(client),
        topic_(topic),
        partition_(partition),
        where_(kafka::Where(rd_kafka_topic_name(topic), partition)),
        until_(Clock::now() + std::chrono::milliseconds(timeout.v)) {}

  Status Read(int64_t records_max, const std::function<void(const NewestRecord&)>& take) {
    const Result<int64_t> earliest = Ask(RD_KAFKA_OFFSET_SPEC_EARLIEST);
    if (!earliest.ok()) return earliest.status();
    const Result<int64_t> end = Ask(RD_KAFKA_OFFSET_SPEC_LATEST);
    if (!end.ok()) return end.status();
    // Offsets have holes, so this may read fewer records than asked for, but never more.
    const int64_t begin = std::max(earliest.value(), end.value() - records_max);
    if (begin >= end.value()) return Status::Ok();
    const kafka::Queue queue(rd_kafka_queue_new(client_));
    if (rd_kafka_consume_start_queue(topic_, partition_, begin, queue.get()) != 0)
      return Failed(where_, rd_kafka_last_error());
    Status status = Status::Ok();
    for (int64_t next = begin; next < end.value() && status.ok();) {
      if (Clock::now() > until_)
        status = Status::Retry(where_ + ": its records did not arrive in time");
      const kafka::Owned<rd_kafka_message_t, rd_kafka_message_destroy> message(
          rd_kafka_consume_queue(queue.get(), kNewestSliceMs));
      if (message == nullptr) continue;
      if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        next = std::max<int64_t>(next, message->offset);
      } else if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        status = Failed(where_, message->err);
      } else {
        next = message->offset + 1;
        take(RecordOf(*message));
      }
    }
    rd_kafka_consume_stop(topic_, partition_);
    return status;
  }

 private:
  Result<int64_t> Ask(int64_t spec) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until_ - Clock::now());
    const int timeout_ms = std::max(1, static_cast<int>(left.count()));
    const kafka::Queue queue(rd_kafka_queue_new(client_));
    kafka::AskOffset(client_, rd_kafka_topic_name(topic_), partition_, spec,
                     RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED, timeout_ms, queue.get(), nullptr);
    const kafka::Event event(rd_kafka_queue_poll(queue.get(), timeout_ms + kNewestSliceMs));
    if (event == nullptr) return Status::Retry(where_ + ": no answer about its offsets");
    const Result<kafka::OffsetAnswer> answer = kafka::ReadOffsetAnswer(event.get());
    if (!answer.ok()) return answer.status();
    return answer.value().offset;
  }

  rd_kafka_t* const client_;
  rd_kafka_topic_t* const topic_;
  const int32_t partition_;
  const std::string where_;
  const Clock::time_point until_;
};

}  // namespace

Status ReadNewest(const KafkaOptions& options, const std::string& topic, int32_t partitions,
                  int64_t records_max, Millis timeout,
                  const std::function<void(const NewestRecord&)>& take) {
  Result<kafka::Handle> client =
      kafka::MakeClient(RD_KAFKA_CONSUMER, options, kafka::ReaderSettings(options));
  if (!client.ok()) return client.status();
  rd_kafka_t* const handle = client.value().get();
  const kafka::Topic asked(rd_kafka_topic_new(handle, topic.c_str(), nullptr));
  for (int32_t partition = 0; partition < partitions; ++partition)
    RETURN_IF_ERROR(Newest(handle, asked.get(), partition, timeout).Read(records_max, take));
  return Status::Ok();
}

}  // namespace sightline
