#include "connectors/kafka/copy_writer.h"

#include <fmt/format.h>

#include <chrono>
#include <string_view>
#include <thread>

namespace sightline::kafka {
namespace {

// Blocking calls are cut into slices of this length, to see between them whether to stop.
constexpr int kCallSliceMs = 250;
constexpr int kRefusalPollsMax = 5;
constexpr int kAskMs = 5'000;
constexpr int kSendMs = 2'000;

using GroupMetadata =
    Owned<rd_kafka_consumer_group_metadata_t, rd_kafka_consumer_group_metadata_destroy>;

std::string_view MetadataOf(const rd_kafka_topic_partition_t& stored) {
  return {static_cast<const char*>(stored.metadata), stored.metadata_size};
}

// True for errors that pass by themselves: the group is new, it moves between brokers, or a
// transaction with its offsets is still open.
bool IsOnItsWay(rd_kafka_resp_err_t error) {
  return error == RD_KAFKA_RESP_ERR_NOT_COORDINATOR ||
         error == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS ||
         error == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE ||
         error == RD_KAFKA_RESP_ERR__WAIT_COORD ||
         error == RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT || error == RD_KAFKA_RESP_ERR__TIMED_OUT;
}

}  // namespace

// Keeps the first refusal of a record: the commit itself only counts the records that failed.
// librdkafka calls it from the calls of this thread.
void CopyWriter::KeepRefusal(rd_kafka_t*, const rd_kafka_message_t* message, void*) {
  auto* const refusal = static_cast<Refusal*>(message->_private);
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR || !refusal->text.empty()) return;
  *refusal = {message->err,
              fmt::format("{}: {}", Where(rd_kafka_topic_name(message->rkt), message->partition),
                          ErrorText(message->err))};
}

Status CopyWriter::Failed(const char* what, const rd_kafka_error_t* error) const {
  // The refusal of a record that made a commit fail may come just after the failure.
  for (int i = 0; i < kRefusalPollsMax && refusal_.text.empty(); ++i) {
    if (rd_kafka_outq_len(producer_.get()) == 0) break;
    rd_kafka_poll(producer_.get(), kCallSliceMs);
  }
  const rd_kafka_resp_err_t code = rd_kafka_error_code(error);
  if (code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
      code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH)
    return Status::Stop(
        fmt::format("another process copies into '{}' now and has fenced this one "
                    "(transactional.id '{}'), or this one did not answer for longer than "
                    "kafka.transaction_timeout; nothing is lost or doubled: let only one run",
                    options_.to, options_.name));
  if (refusal_.code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
    return Status::Stop(fmt::format(
        "{}: raise its max.message.bytes to that of the topic that is read", refusal_.text));
  return Status::Rebuild(fmt::format("kafka: {}: {}{}{}", what, rd_kafka_error_string(error),
                                     refusal_.text.empty() ? "" : ": ", refusal_.text));
}

std::string CopyWriter::Metadata() const {
  return fmt::format("{}\n{}", options_.to_id, options_.what);
}

Status CopyWriter::Fence() {
  Result<Handle> made = MakeClient(
      RD_KAFKA_PRODUCER, options_.kafka,
      {{"transactional.id", options_.name},
       {"transaction.timeout.ms", fmt::format("{}", options_.kafka.transaction_timeout.v)},
       {"linger.ms", "2"},
       {"compression.codec", "lz4"}},
      {.on_delivery = KeepRefusal});
  if (!made.ok()) return made.status();
  producer_ = std::move(made).value();
  while (const Error error = Error(rd_kafka_init_transactions(producer_.get(), kCallSliceMs))) {
    if (stop_) return Status::Retry("stopped");
    if (!rd_kafka_error_is_retriable(error.get())) return Failed("fencing", error.get());
  }
  return Status::Ok();
}

Result<std::map<int32_t, Offset>> CopyWriter::Positions(int32_t partitions) {
  Settings settings = ReaderSettings(options_.kafka);
  settings.emplace_back("group.id", options_.name);
  Result<Handle> client = MakeClient(RD_KAFKA_CONSUMER, options_.kafka, settings);
  if (!client.ok()) return client.status();
  const Partitions asked(rd_kafka_topic_partition_list_new(partitions));
  for (int32_t p = 0; p < partitions; ++p)
    rd_kafka_topic_partition_list_add(asked.get(), options_.offsets_topic.c_str(), p);
  // A transaction that a killed process left open hides the offsets for as long as it may live.
  const auto until = std::chrono::steady_clock::now() +
                     std::chrono::milliseconds(options_.kafka.transaction_timeout.v + kAskMs);
  rd_kafka_resp_err_t error = rd_kafka_committed(client.value().get(), asked.get(), kAskMs);
  while (IsOnItsWay(error) && !stop_ && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(kCallSliceMs));
    error = rd_kafka_committed(client.value().get(), asked.get(), kAskMs);
  }
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
    return Status::Retry(
        fmt::format("kafka: group '{}' does not report its offsets: {}", options_.name,
                    error == RD_KAFKA_RESP_ERR__TIMED_OUT ? "no answer" : ErrorText(error)));
  std::map<int32_t, Offset> positions;
  for (int i = 0; i < asked->cnt; ++i) {
    const rd_kafka_topic_partition_t& stored = asked->elems[i];
    if (stored.err != RD_KAFKA_RESP_ERR_NO_ERROR)
      return Status::Retry(fmt::format("kafka: group '{}': {}: {}", options_.name,
                                       Where(stored.topic, stored.partition),
                                       ErrorText(stored.err)));
    const std::string_view said = MetadataOf(stored);
    // Offsets of a topic that was deleted since say nothing about this one: its copy begins anew.
    // Offsets without metadata were set by a person.
    if (stored.offset < 0 || (!said.empty() && !said.starts_with(options_.to_id + "\n"))) continue;
    if (!said.empty() && said != Metadata())
      return Status::Stop(
          fmt::format("topic '{}' holds '{}', and this copy would be '{}': choose another topic, "
                      "or delete this one and create it again",
                      options_.to, said.substr(options_.to_id.size() + 1), options_.what));
    positions.emplace(stored.partition, Offset{stored.offset});
  }
  return positions;
}

Status CopyWriter::Commit(const std::vector<KeyedRecord>& records,
                          const std::map<int32_t, Offset>& next) {
  refusal_ = {};
  if (const Error error = Error(rd_kafka_begin_transaction(producer_.get())))
    return Failed("beginning a transaction", error.get());
  for (const KeyedRecord& record : records) RETURN_IF_ERROR(Produce(record));
  RETURN_IF_ERROR(SendPositions(next));
  while (const Error error = Error(rd_kafka_commit_transaction(producer_.get(), kCallSliceMs))) {
    if (stop_) return Status::Rebuild("stopped");
    if (!rd_kafka_error_is_retriable(error.get())) return Failed("committing", error.get());
  }
  return Status::Ok();
}

Status CopyWriter::Produce(const KeyedRecord& record) {
  while (true) {
    const char* const key = record.key ? record.key->data() : nullptr;
    char* const value = record.value ? const_cast<char*>(record.value->data()) : nullptr;
    const size_t key_size = record.key ? record.key->size() : 0;
    const size_t value_size = record.value ? record.value->size() : 0;
    const rd_kafka_resp_err_t error = rd_kafka_producev(
        producer_.get(), RD_KAFKA_V_TOPIC(options_.to.c_str()),
        RD_KAFKA_V_PARTITION(record.partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY(key, key_size), RD_KAFKA_V_VALUE(value, value_size),
        RD_KAFKA_V_OPAQUE(&refusal_), RD_KAFKA_V_END);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return Status::Ok();
    if (error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
      return Status::Stop(fmt::format("{}: a record of {} bytes is too large to be written",
                                      Where(options_.to, record.partition), value_size));
    if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL)
      return Status::Rebuild(
          fmt::format("{}: {}", Where(options_.to, record.partition), ErrorText(error)));
    if (stop_) return Status::Rebuild("stopped");
    rd_kafka_poll(producer_.get(), kCallSliceMs);
  }
}

Status CopyWriter::SendPositions(const std::map<int32_t, Offset>& next) {
  const Partitions offsets(rd_kafka_topic_partition_list_new(static_cast<int>(next.size())));
  const std::string metadata = Metadata();
  for (const auto& [partition, offset] : next) {
    rd_kafka_topic_partition_t* const one =
        rd_kafka_topic_partition_list_add(offsets.get(), options_.offsets_topic.c_str(), partition);
    one->offset = offset.v;
    one->metadata = rd_kafka_mem_malloc(nullptr, metadata.size());  // the list frees it
    one->metadata_size = metadata.copy(static_cast<char*>(one->metadata), metadata.size());
  }
  const GroupMetadata group(rd_kafka_consumer_group_metadata_new(options_.name.c_str()));
  while (const Error error = Error(rd_kafka_send_offsets_to_transaction(
             producer_.get(), offsets.get(), group.get(), kSendMs))) {
    if (stop_) return Status::Rebuild("stopped");
    if (!rd_kafka_error_is_retriable(error.get()))
      return Failed("storing the positions", error.get());
  }
  return Status::Ok();
}

}  // namespace sightline::kafka
