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

// The records of one Append().
struct PendingAppend {
  std::atomic<int64_t> remaining = 0;
  std::atomic<int64_t>* in_flight = nullptr;
  int64_t bytes = 0;
  std::mutex mutex;
  Status status = Status::Ok();  // under mutex
  std::function<void(Status)> done;

  // Takes the outcome of one record. Returns whether it was the last one; then the caller owns the
  // append and has it answered.
  bool Take(Status outcome) {
    if (!outcome.ok()) {
      const std::lock_guard lock(mutex);
      status = std::move(outcome);
    }
    return remaining.fetch_sub(1) == 1;
  }
  static void Answer(std::unique_ptr<PendingAppend> append) {
    *append->in_flight -= append->bytes;
    append->done(std::move(append->status));
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
  auto* const append = static_cast<PendingAppend*>(message->_private);
  if (append->Take(message->err == 0 ? Status::Ok()
                                     : NotSent(rd_kafka_topic_name(message->rkt),
                                               message->partition, message->err)))
    PendingAppend::Answer(std::unique_ptr<PendingAppend>(append));
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
  std::mutex answers_mutex;
  // Appends whose last outcome came on the caller's thread; the poller answers them. Under
  // answers_mutex.
  std::vector<std::unique_ptr<PendingAppend>> answers;
  std::thread poller;

  void Poll() {
    while (!closing) {
      rd_kafka_poll(client.get(), kDeliveryPollMs);
      GiveAnswers();
      char why[256];
      if (rd_kafka_fatal_error(client.get(), why, sizeof why) != RD_KAFKA_RESP_ERR_NO_ERROR &&
          std::chrono::steady_clock::now() - opened > kReplaceAfter)
        ReplaceClient();
    }
  }

  void GiveAnswers() {
    std::vector<std::unique_ptr<PendingAppend>> waiting;
    {
      const std::lock_guard lock(answers_mutex);
      waiting.swap(answers);
    }
    for (std::unique_ptr<PendingAppend>& append : waiting) PendingAppend::Answer(std::move(append));
  }

  // Has the poller answer `append`, whose outcome is known. The caller of Append() may hold what
  // `done` needs, so its thread must not call it.
  void AnswerSoon(std::unique_ptr<PendingAppend> append) {
    {
      const std::lock_guard lock(answers_mutex);
      answers.push_back(std::move(append));
    }
    // Ends the poll that is under way, or the next one. Shared: the poller must not replace the
    // client now.
    const std::shared_lock lock(mutex);
    rd_kafka_queue_t* const queue = rd_kafka_queue_get_main(client.get());
    rd_kafka_queue_yield(queue);
    rd_kafka_queue_destroy(queue);
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
  state_->GiveAnswers();
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
  auto pending = std::make_unique<PendingAppend>();
  pending->in_flight = &state_->bytes;
  pending->bytes = bytes;
  pending->done = std::move(done);
  // One more than there are records, so that the object lives until the loop has ended.
  pending->remaining = count + 1;
  PendingAppend* const append = pending.release();  // whoever takes the last outcome owns it
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
          RD_KAFKA_V_OPAQUE(append), RD_KAFKA_V_END);
      if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        append->Take(NotSent(part.topic.c_str(), part.partition, error));
    }
  }
  lock.unlock();
  if (append->Take(Status::Ok())) state_->AnswerSoon(std::unique_ptr<PendingAppend>(append));
  return true;
}

void KafkaProducer::Refuse(Status status, std::function<void(Status)> done) {
  auto append = std::make_unique<PendingAppend>();
  append->in_flight = &state_->bytes;
  append->status = std::move(status);
  append->done = std::move(done);
  state_->AnswerSoon(std::move(append));
}

int64_t KafkaProducer::bytes() const { return state_->bytes.load(); }

}  // namespace sightline
