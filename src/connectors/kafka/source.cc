#include "connectors/kafka/source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "operators/decode.h"

namespace sightline::kafka {
namespace {

constexpr int64_t kRecordsMax = 8'192;

// Which question an answer belongs to; the opaque value of its request.
enum class Question : uintptr_t { kEarliest = 1, kEnd = 2, kNewest = 3 };

RecordExtra ExtraOf(const rd_kafka_message_t& message, int64_t timestamp) {
  RecordExtra extra{.has_value = message.payload != nullptr, .timestamp = timestamp};
  if (message.key != nullptr)
    extra.key.emplace(static_cast<const char*>(message.key), message.key_len);
  return extra;
}

}  // namespace

KafkaSource::KafkaSource(rd_kafka_t* client, TopicRegistry& registry, const KafkaTopic& topic,
                         int32_t partition, std::function<void()> wake)
    : client_(client),
      registry_(registry),
      topic_(topic.name),
      topic_id_(topic.id),
      partition_(partition),
      log_append_time_(topic.log_append_time),
      wake_(std::move(wake)),
      handle_(rd_kafka_topic_new(client, topic_.c_str(), nullptr)) {
  CHECK(handle_ != nullptr);
}

KafkaSource::~KafkaSource() {
  if (answers_ != nullptr) rd_kafka_queue_cb_event_enable(answers_.get(), nullptr, nullptr);
  End();
}

void KafkaSource::Woken(rd_kafka_t*, void* self) {
  if (const auto& wake = static_cast<KafkaSource*>(self)->wake_) wake();
}

// Asks for the bounds of the partition, and collects the answers. kRetry until all are there.
Status KafkaSource::AskBounds() {
  if (answers_ == nullptr) {
    bounds_ = {};
    answers_.reset(rd_kafka_queue_new(client_));
    rd_kafka_queue_cb_event_enable(answers_.get(), Woken, this);
    const auto ask = [this](Question question, int64_t spec) {
      AskOffset(client_, topic_, partition_, spec, RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
                kOffsetTimeoutMs, answers_.get(), reinterpret_cast<void*>(question));
    };
    ask(Question::kEarliest, RD_KAFKA_OFFSET_SPEC_EARLIEST);
    ask(Question::kEnd, RD_KAFKA_OFFSET_SPEC_LATEST);
    ask(Question::kNewest, RD_KAFKA_OFFSET_SPEC_MAX_TIMESTAMP);
  }
  while (const Event event = Event(rd_kafka_queue_poll(answers_.get(), 0))) {
    const Result<OffsetAnswer> answer = ReadOffsetAnswer(event.get());
    if (!answer.ok()) {
      answers_ = nullptr;  // ask again
      return answer.status();
    }
    const Offset offset{answer.value().offset};
    // A time of -1 means that there is no record at all.
    const bool has_time = log_append_time_ && answer.value().timestamp >= 0;
    switch (
        static_cast<Question>(reinterpret_cast<uintptr_t>(rd_kafka_event_opaque(event.get())))) {
      case Question::kEarliest:
        bounds_.earliest = offset;
        break;
      case Question::kEnd:
        bounds_.end = offset;
        break;
      case Question::kNewest:
        bounds_.newest = has_time ? AppendTime{answer.value().timestamp} : kNoAppendTime;
        break;
    }
  }
  if (!bounds_.complete())
    return Status::Retry(Where(topic_, partition_) +
                         ": waiting for the broker to report its offsets");
  answers_ = nullptr;
  return Status::Ok();
}

Result<Offset> KafkaSource::Earliest() {
  // After a refusal by Seek(), the caller wants the bound on which it was based.
  if (!refused_) RETURN_IF_ERROR(AskBounds());
  refused_ = false;
  return *bounds_.earliest;
}

Status KafkaSource::Seek(Offset next) {
  refused_ = false;
  // A start seeks several offsets, one after the other. The bounds that were requested for the
  // first serve all of them. But a stop must not rest on an old answer, so an offset beyond the end
  // asks again. (What retention has passed stays passed.)
  if (!bounds_.complete() || next > *bounds_.end) RETURN_IF_ERROR(AskBounds());
  refused_ = next < *bounds_.earliest || next > *bounds_.end;
  if (next < *bounds_.earliest)
    return Status::Stop(
        fmt::format("{}: retention has passed offset {}, and the oldest is {}: the records between "
                    "them are lost",
                    Where(topic_, partition_), next.v, bounds_.earliest->v));
  if (next > *bounds_.end)
    return Status::Stop(
        fmt::format("{}: offset {} lies beyond the end {}: records are lost, or this is not the "
                    "topic that was counted",
                    Where(topic_, partition_), next.v, bounds_.end->v));
  End();
  next_ = next;
  failed_ = Status::Ok();
  newest_ = next == *bounds_.end ? *bounds_.newest : kNoAppendTime;
  registry_.SetEnd(topic_id_, partition_, *bounds_.end, *bounds_.newest);
  return Status::Ok();
}

Status KafkaSource::Begin() {
  bounds_ = {};
  Queue queue(rd_kafka_queue_new(client_));
  if (rd_kafka_consume_start_queue(handle_.get(), partition_, next_.v, queue.get()) != 0)
    return Status::Retry(
        fmt::format("{}: {}", Where(topic_, partition_), ErrorText(rd_kafka_last_error())));
  messages_ = std::move(queue);
  rd_kafka_queue_cb_event_enable(messages_.get(), Woken, this);
  return Status::Ok();
}

void KafkaSource::End() {
  if (messages_ == nullptr) return;
  rd_kafka_queue_cb_event_enable(messages_.get(), nullptr, nullptr);
  rd_kafka_consume_stop(handle_.get(), partition_);
  messages_ = nullptr;
}

Result<Batch> KafkaSource::Poll(int64_t records_max) {
  if (messages_ == nullptr) RETURN_IF_ERROR(Begin());
  if (!failed_.ok()) {
    if (failed_.code() == StatusCode::kStop) return failed_;
    return std::exchange(failed_, Status::Ok());
  }
  polled_.resize(static_cast<size_t>(std::min(records_max, kRecordsMax)));
  const ssize_t got =
      rd_kafka_consume_batch_queue(messages_.get(), 0, polled_.data(), polled_.size());
  const size_t count = got < 0 ? 0 : static_cast<size_t>(got);
  if (registry_.Replaced(topic_)) {
    // What lies at this offset now belongs to another source.
    for (size_t i = 0; i < count; ++i) rd_kafka_message_destroy(polled_[i]);
    return Status::Retry(fmt::format("topic '{}' was deleted and created again", topic_));
  }
  Batch batch{.first = next_, .next = next_, .records = {}, .storage = nullptr};
  size_t bytes = 0;
  for (size_t i = 0; i < count; ++i)
    if (polled_[i]->err == 0) bytes += polled_[i]->len;
  auto storage = std::make_shared<std::string>();
  storage->resize(bytes + kDecodePadding);
  char* to = storage->data();
  batch.records.reserve(count);
  extras_.clear();
  for (size_t i = 0; i < count; ++i) {
    rd_kafka_message_t* const message = polled_[i];
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      // Transaction markers may lie behind the last record; nobody reads them.
      batch.next = std::max(batch.next, Offset{message->offset});
    } else if (message->err != 0) {
      if (failed_.ok()) failed_ = ToStatus(*message);
      LogOnce(failed_.message());
    } else if (failed_.ok() && Offset{message->offset} >= batch.next) {
      rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
      const int64_t time = rd_kafka_message_timestamp(message, &type);
      AppendTime append_time = kNoAppendTime;
      if (log_append_time_ && type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME)
        newest_ = std::max(newest_, append_time = AppendTime{time});
      if (message->len > 0) std::memcpy(to, message->payload, message->len);
      batch.records.push_back(
          {.offset = {message->offset}, .append_time = append_time, .payload = {to, message->len}});
      if (keeps_extras_) extras_.push_back(ExtraOf(*message, time));
      to += message->len;
      batch.next = {message->offset + 1};
      logged_.clear();
    }
    rd_kafka_message_destroy(message);
  }
  batch.storage = std::move(storage);
  next_ = batch.next;
  if (batch.first == batch.next && !failed_.ok()) return Poll(records_max);
  if (batch.first != batch.next) {
    int64_t low = 0, high = 0;  // from the broker's newest response
    rd_kafka_get_watermark_offsets(client_, topic_.c_str(), partition_, &low, &high);
    registry_.SetEnd(topic_id_, partition_, std::max(next_, Offset{high}), newest_);
  }
  return batch;
}

// A running task only reports that it will ask again, so the reason is logged here.
void KafkaSource::LogOnce(const std::string& trouble) {
  if (std::exchange(logged_, trouble) != trouble) LogWarning("kafka: " + trouble);
}

Status KafkaSource::ToStatus(const rd_kafka_message_t& message) const {
  const std::string what = fmt::format(
      "{}: {}", Where(topic_, partition_),
      message.payload != nullptr ? rd_kafka_message_errstr(&message) : ErrorText(message.err));
  switch (message.err) {
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
      return Status::Stop(
          fmt::format("{}: retention has passed offset {}, or the log is shorter than it was: "
                      "records were lost before they were read",
                      what, next_.v));
    default:
      return Status::Retry(what);
  }
}

}  // namespace sightline::kafka
