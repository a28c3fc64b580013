#include "connectors/kafka/producer.h"

#include <fmt/format.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <utility>

#include "connectors/kafka/client.h"

namespace sightline {
namespace {

constexpr int kPollMs = 100;
constexpr int kRecordOverhead = 64;

// The records of one Append(). Freed by the answer to the last of them.
struct Group {
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

void OnDelivery(rd_kafka_t*, const rd_kafka_message_t* message, void*) {
  auto* const group = static_cast<Group*>(message->_private);
  group->Answer(1, message->err == 0
                       ? Status::Ok()
                       : Status::Retry(fmt::format(
                             "kafka: {}: {}",
                             kafka::Where(rd_kafka_topic_name(message->rkt), message->partition),
                             kafka::ErrorText(message->err))));
}

}  // namespace

struct KafkaProducer::State {
  std::atomic<int64_t> bytes = 0;
  int64_t bytes_max = 0;
  std::atomic<bool> closing = false;
  kafka::Handle client;
  std::thread poller;
};

KafkaProducer::KafkaProducer(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<KafkaProducer>> KafkaProducer::Open(const KafkaProducerOptions& options) {
  kafka::Settings settings = {
      {"enable.idempotence", "true"},
      {"acks", "all"},
      {"compression.codec", "lz4"},
      // Half a millisecond gathers what comes together; the answer waits no longer.
      {"linger.ms", "0.5"},
      {"message.timeout.ms", fmt::format("{}", options.delivery_timeout.v)},
      // Ours is the bound that holds: theirs is beyond it.
      {"queue.buffering.max.messages", "10000000"},
      {"queue.buffering.max.kbytes", fmt::format("{}", options.bytes_max / 1024 * 4 + 1'024)}};
  Result<kafka::Handle> client =
      kafka::MakeClient(RD_KAFKA_PRODUCER, options.kafka, settings, {.on_delivery = OnDelivery});
  if (!client.ok()) return client.status();
  auto state = std::make_unique<State>();
  state->bytes_max = options.bytes_max;
  state->client = std::move(client).value();
  State* const s = state.get();
  state->poller = std::thread([s] {
    while (!s->closing) rd_kafka_poll(s->client.get(), kPollMs);
  });
  return std::unique_ptr<KafkaProducer>(new KafkaProducer(std::move(state)));
}

KafkaProducer::~KafkaProducer() {
  state_->closing = true;
  state_->poller.join();
  // What is left is answered: it failed.
  rd_kafka_purge(state_->client.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
  while (rd_kafka_outq_len(state_->client.get()) > 0) rd_kafka_poll(state_->client.get(), kPollMs);
}

bool KafkaProducer::Append(const std::string& topic, const std::vector<Part>& parts,
                           std::function<void(Status)> done) {
  int64_t bytes = 0;
  int64_t count = 0;
  for (const Part& part : parts) {
    for (const KafkaRecord& record : part.records)
      bytes += static_cast<int64_t>(record.value.size()) + kRecordOverhead;
    count += static_cast<int64_t>(part.records.size());
  }
  // What is larger than the bound has its turn when nothing else is there.
  if (const int64_t before = state_->bytes.fetch_add(bytes);
      before > 0 && before + bytes > state_->bytes_max) {
    state_->bytes -= bytes;
    return false;
  }
  auto* const group =
      new Group{.in_flight = &state_->bytes, .bytes = bytes, .mutex = {}, .done = std::move(done)};
  // One more than there are: the group lives until the loop has ended.
  group->remaining = count + 1;
  for (const Part& part : parts) {
    for (const KafkaRecord& record : part.records) {
      const char* const key = record.key ? record.key->data() : nullptr;
      const size_t key_size = record.key ? record.key->size() : 0;
      const rd_kafka_resp_err_t error = rd_kafka_producev(
          state_->client.get(), RD_KAFKA_V_TOPIC(topic.c_str()),
          RD_KAFKA_V_PARTITION(part.partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
          RD_KAFKA_V_KEY(key, key_size),
          RD_KAFKA_V_VALUE(const_cast<char*>(record.value.data()), record.value.size()),
          RD_KAFKA_V_OPAQUE(group), RD_KAFKA_V_END);
      if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        group->Answer(
            1, Status::Retry(fmt::format("kafka: {}: {}", kafka::Where(topic, part.partition),
                                         kafka::ErrorText(error))));
    }
  }
  group->Answer(1, Status::Ok());
  return true;
}

int64_t KafkaProducer::bytes() const { return state_->bytes.load(); }

}  // namespace sightline
