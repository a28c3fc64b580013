#include "connectors/kafka/producer.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <utility>

#include "base/log.h"
#include "connectors/kafka/client.h"

namespace sightline {
namespace {

constexpr int kDeliveryPollMs = 100;
constexpr int kRecordOverhead = 64;
constexpr std::chrono::seconds kReplaceAfter{1};
constexpr std::chrono::seconds kLogAgainAfter{30};

// The records of one Append(). It deletes itself with the answer to its last record.
struct PendingAppend {
  std::atomic<int64_t> remaining = 0;
  std::atomic<int64_t>* in_flight = nullptr;
  int64_t bytes = 0;
  std::mutex mutex;
  Status status = Status::Ok();  // under mutex
  std::function<void(Status)> done;

  void Answer(int64_t records, Status outcome) {
    if (!outcome.ok()) {
      const std::lock_guard lock(mutex);
      status = std::move(outcome);
    }
    if (remaining.fetch_sub(records) != records) return;
    *in_flight -= bytes;
    done(std::move(status));
    delete this;
  }
};

// Senders only learn that they should send again. The reason is logged, at most once in a while.
Status NotSent(const char* topic, int32_t partition, rd_kafka_resp_err_t error) {
  static std::mutex mutex;
  static std::string logged;
  static std::chrono::steady_clock::time_point log_again_at;
  const std::string trouble =
      fmt::format("kafka: topic '{}' cannot be written: {}", topic, kafka::ErrorText(error));
  const auto now = std::chrono::steady_clock::now();
  if (const std::lock_guard lock(mutex); trouble != logged || now > log_again_at) {
    LogWarning(trouble);
    logged = trouble;
    log_again_at = now + kLogAgainAfter;
  }
  return Status::Retry(
      fmt::format("kafka: {}: {}", kafka::Where(topic, partition), kafka::ErrorText(error)));
}

void OnDelivery(rd_kafka_t*, const rd_kafka_message_t* message, void*) {
  static_cast<PendingAppend*>(message->_private)
      ->Answer(1, message->err == 0 ? Status::Ok()
                                    : NotSent(rd_kafka_topic_name(message->rkt), message->partition,
                                              message->err));
}

}  // namespace

struct KafkaProducer::State {
  KafkaOptions options;
  kafka::Settings settings;
  std::atomic<int64_t> bytes = 0;
  int64_t bytes_max = 0;
  std::atomic<bool> closing = false;
  std::shared_mutex mutex;
  kafka::Handle client;  // replaced by the poller under mutex
  std::chrono::steady_clock::time_point opened;
  std::thread poller;

  void Poll() {
    while (!closing) {
      rd_kafka_poll(client.get(), kDeliveryPollMs);
      char why[256];
      if (rd_kafka_fatal_error(client.get(), why, sizeof why) != RD_KAFKA_RESP_ERR_NO_ERROR &&
          std::chrono::steady_clock::now() - opened > kReplaceAfter)
        ReplaceClient();
    }
  }

  // Replaces the client after a fatal error (such as a missing right to write to any topic): such a
  // client never sends again.
  void ReplaceClient() {
    opened = std::chrono::steady_clock::now();
    Result<kafka::Handle> fresh =
        kafka::MakeClient(RD_KAFKA_PRODUCER, options, settings, {.on_delivery = OnDelivery});
    if (!fresh.ok()) return;
    {
      // Appends hold the lock shared, so none can use a client that is being replaced.
      const std::unique_lock lock(mutex);
      std::swap(client, fresh.value());
    }
    Purge(fresh.value().get());
  }

  // Answers every record that is left with a failure.
  static void Purge(rd_kafka_t* client) {
    rd_kafka_purge(client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    while (rd_kafka_outq_len(client) > 0) rd_kafka_poll(client, kDeliveryPollMs);
  }
};

KafkaProducer::KafkaProducer(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<KafkaProducer>> KafkaProducer::Open(const KafkaProducerOptions& options) {
  kafka::Settings settings = {
      {"enable.idempotence", "true"},
      {"acks", "all"},
      {"compression.codec", "lz4"},
      // Half a millisecond collects records that arrive together; the answer waits no longer than
      // that.
      {"linger.ms", "0.5"},
      {"message.timeout.ms", fmt::format("{}", options.delivery_timeout.v)},
      // `bytes_max` is the bound that takes effect; librdkafka's own limits lie beyond it.
      {"queue.buffering.max.messages", "10000000"},
      {"queue.buffering.max.kbytes", fmt::format("{}", options.bytes_max / 1024 * 4 + 1'024)}};
  Result<kafka::Handle> client =
      kafka::MakeClient(RD_KAFKA_PRODUCER, options.kafka, settings, {.on_delivery = OnDelivery});
  if (!client.ok()) return client.status();
  auto state = std::make_unique<State>();
  state->options = options.kafka;
  state->settings = std::move(settings);
  state->bytes_max = options.bytes_max;
  state->client = std::move(client).value();
  state->opened = std::chrono::steady_clock::now();
  state->poller = std::thread([s = state.get()] { s->Poll(); });
  return std::unique_ptr<KafkaProducer>(new KafkaProducer(std::move(state)));
}

KafkaProducer::~KafkaProducer() {
  state_->closing = true;
  state_->poller.join();
  State::Purge(state_->client.get());
}

bool KafkaProducer::Append(const std::vector<Part>& parts, std::function<void(Status)> done) {
  int64_t bytes = 0;
  int64_t count = 0;
  for (const Part& part : parts) {
    for (const KafkaRecord& record : part.records)
      bytes += static_cast<int64_t>(record.value.size()) + kRecordOverhead;
    count += static_cast<int64_t>(part.records.size());
  }
  // Records that are larger than the bound are accepted when nothing else is in flight.
  if (const int64_t before = state_->bytes.fetch_add(bytes);
      before > 0 && before + bytes > state_->bytes_max) {
    state_->bytes -= bytes;
    return false;
  }
  auto* const pending = new PendingAppend{
      .in_flight = &state_->bytes, .bytes = bytes, .mutex = {}, .done = std::move(done)};
  // One more than there are records, so that the object lives until the loop has ended.
  pending->remaining = count + 1;
  std::shared_lock lock(state_->mutex);
  for (const Part& part : parts) {
    for (const KafkaRecord& record : part.records) {
      const char* const key = record.key ? record.key->data() : nullptr;
      const size_t key_size = record.key ? record.key->size() : 0;
      const rd_kafka_resp_err_t error = rd_kafka_producev(
          state_->client.get(), RD_KAFKA_V_TOPIC(part.topic.c_str()),
          RD_KAFKA_V_PARTITION(part.partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
          RD_KAFKA_V_KEY(key, key_size),
          RD_KAFKA_V_VALUE(const_cast<char*>(record.value.data()), record.value.size()),
          RD_KAFKA_V_OPAQUE(pending), RD_KAFKA_V_END);
      if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        pending->Answer(1, NotSent(part.topic.c_str(), part.partition, error));
    }
  }
  lock.unlock();
  pending->Answer(1, Status::Ok());
  return true;
}

int64_t KafkaProducer::bytes() const { return state_->bytes.load(); }

}  // namespace sightline
