#include "connectors/kafka/membership.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "base/log.h"
#include "connectors/kafka/client.h"

namespace sightline {
namespace {

constexpr int kPollMs = 100;
// How long one request may take. A SIGTERM waits for one of them.
constexpr int kAskMs = 1'000;
constexpr int kAsks = 3;
constexpr std::chrono::seconds kReportInterval{5};
constexpr std::chrono::seconds kLeaveTime{2};

std::vector<KafkaPartition> ListOf(const rd_kafka_topic_partition_list_t* partitions) {
  std::vector<KafkaPartition> list;
  for (int i = 0; i < partitions->cnt; ++i)
    list.push_back({partitions->elems[i].topic, partitions->elems[i].partition});
  return list;
}

// "partitions 0, 3 of topic 'a'; 1 of topic 'b'"
std::string Text(const std::vector<KafkaPartition>& partitions) {
  std::map<std::string_view, std::vector<int32_t>> by_topic;
  for (const auto& [topic, partition] : partitions) by_topic[topic].push_back(partition);
  std::string text = "partitions ";
  for (const auto& [topic, numbers] : by_topic)
    text += fmt::format("{}{} of topic '{}'", text.ends_with(' ') ? "" : "; ",
                        fmt::join(numbers, ", "), topic);
  return text;
}

}  // namespace

struct KafkaMembership::State {
  explicit State(KafkaMembershipOptions given) : options(std::move(given)) {}

  // Called by librdkafka on the membership's thread, inside its poll.
  static void OnRebalance(rd_kafka_t* client, rd_kafka_resp_err_t event,
                          rd_kafka_topic_partition_list_t* partitions, void* opaque) {
    static_cast<State*>(opaque)->Rebalance(client, event, partitions);
  }
  void Rebalance(rd_kafka_t* client, rd_kafka_resp_err_t event,
                 rd_kafka_topic_partition_list_t* partitions) {
    const std::vector<KafkaPartition> list = ListOf(partitions);
    if (event == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
      if (!list.empty()) LogInfo(Text(list) + " are assigned to this process");
      // Pause before anything is fetched: the sources read for themselves.
      const kafka::Error error(rd_kafka_incremental_assign(client, partitions));
      rd_kafka_pause_partitions(client, partitions);
      Note(error.get());
      options.on_assigned(list);
      return;
    }
    if (!list.empty())
      LogInfo(fmt::format(
          "{} are reassigned to another process{}", Text(list),
          rd_kafka_assignment_lost(client) != 0 ? ", which may have started on them already" : ""));
    {
      // The new owner may be further by now, so the known positions are worthless.
      const std::lock_guard lock(mutex);
      for (const KafkaPartition& partition : list) answers.erase(partition);
    }
    // Returns only when the partitions are drained or abandoned. The group gives them to their next
    // owner after the unassign below.
    options.on_revoked(list);
    const kafka::Error error(rd_kafka_incremental_unassign(client, partitions));
    Note(error.get());
  }

  void Note(const rd_kafka_error_t* error) {
    const std::lock_guard lock(mutex);
    trouble = error == nullptr
                  ? ""
                  : fmt::format("group '{}': {}", options.group, rd_kafka_error_string(error));
  }

  void Run() {
    auto report_due = std::chrono::steady_clock::now() + kReportInterval;
    while (!closing) {
      const kafka::Owned<rd_kafka_message_t, rd_kafka_message_destroy> message(
          rd_kafka_consumer_poll(client.get(), kPollMs));
      if (message != nullptr && message->err != 0 &&
          message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        const std::lock_guard lock(mutex);
        trouble =
            fmt::format("group '{}': {}", options.group, rd_kafka_message_errstr(message.get()));
      }
      if (std::chrono::steady_clock::now() < report_due) continue;
      SendReport();
      report_due = std::chrono::steady_clock::now() + kReportInterval;
    }
    SendReport();
    Leave();
  }

  // Leaves the group, calling OnRebalance for what is assigned. A group that does not answer - its
  // broker hangs, or the rebalance waits for a member that does not answer - is not waited for: it
  // notices when the session times out.
  void Leave() {
    const auto deadline = std::chrono::steady_clock::now() + kLeaveTime;
    {
      const kafka::Queue queue(rd_kafka_queue_new(client.get()));
      const kafka::Error error(rd_kafka_consumer_close_queue(client.get(), queue.get()));
      while (error == nullptr && rd_kafka_consumer_closed(client.get()) == 0 &&
             std::chrono::steady_clock::now() < deadline)
        rd_kafka_queue_poll_callback(queue.get(), kPollMs);
    }
    // The queue must be destroyed before the client, hence the scope above.
    if (rd_kafka_consumer_closed(client.get()) != 0) return;
    LogInfo(fmt::format("group '{}' does not answer: left it without an answer", options.group));
    // Destroying the client would wait for the same answers, for up to a minute. So it is left
    // behind, silenced: this process is about to end.
    rd_kafka_set_log_level(client.get(), 0);
    (void)client.release();
  }

  void SendReport() {
    const kafka::Partitions offsets(rd_kafka_topic_partition_list_new(8));
    {
      const std::lock_guard lock(mutex);
      for (const auto& [partition, offset] : reported)
        rd_kafka_topic_partition_list_add(offsets.get(), partition.topic.c_str(),
                                          partition.partition)
            ->offset = offset.v;
      reported.clear();
    }
    if (offsets->cnt > 0) rd_kafka_commit(client.get(), offsets.get(), 1);
  }

  // Answers Reported() on a thread of its own. It uses the blocking request: librdkafka 2.15.1 ends
  // the process when the answer to the asynchronous one (ListConsumerGroupOffsets) arrives too
  // late.
  void Answer() {
    rd_kafka_t* const asked = client.get();
    std::unique_lock lock(mutex);
    for (;;) {
      question.wait(lock, [this] { return closing || !open.empty(); });
      if (closing) return;
      const std::vector<KafkaPartition> now = std::exchange(open, {});
      const kafka::Partitions offsets(
          rd_kafka_topic_partition_list_new(static_cast<int>(now.size())));
      for (const auto& [topic, partition] : now)
        rd_kafka_topic_partition_list_add(offsets.get(), topic.c_str(), partition);
      lock.unlock();
      bool answered = false;
      for (int i = 0; i < kAsks && !answered && !closing; ++i)
        answered = rd_kafka_committed(asked, offsets.get(), kAskMs) == 0;
      lock.lock();
      for (int i = 0; i < offsets->cnt; ++i) {
        const rd_kafka_topic_partition_t& one = offsets->elems[i];
        const auto asker = answers.find({one.topic, one.partition});
        if (asker == answers.end()) continue;  // the partition is no longer ours
        std::optional<Offset>& answer = asker->second.emplace();
        if (answered && one.err == 0 && one.offset >= 0) answer = Offset{one.offset};
      }
    }
  }

  const KafkaMembershipOptions options;
  std::atomic<bool> closing = false;  // set under mutex
  mutable std::mutex mutex;
  std::map<KafkaPartition, Offset> reported;  // under mutex
  std::string trouble;                        // under mutex
  kafka::Handle client;
  std::condition_variable question;
  std::vector<KafkaPartition> open;  // partitions to ask about; under mutex
  // The answers by partition. Outer nothing: there is none yet; inner nothing: the group does not
  // know. Under mutex.
  std::map<KafkaPartition, std::optional<std::optional<Offset>>> answers;
  std::thread thread;
  std::thread answerer;
};

KafkaMembership::KafkaMembership(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<KafkaMembership>> KafkaMembership::Join(KafkaMembershipOptions options) {
  auto state = std::make_unique<State>(std::move(options));
  State* const s = state.get();
  kafka::Settings settings = {
      {"group.id", s->options.group},
      {"partition.assignment.strategy", "cooperative-sticky"},
      {"enable.auto.commit", "false"},
      {"enable.auto.offset.store", "false"},
      {"auto.offset.reset", "latest"},
      {"session.timeout.ms", fmt::format("{}", s->options.session_timeout.v)},
      {"heartbeat.interval.ms",
       fmt::format("{}", std::max<int64_t>(100, s->options.session_timeout.v / 10))},
      {"queued.min.messages", "1"},
      {"queued.max.messages.kbytes", "64"}};
  // A new topic is found within this time.
  if (s->options.topics.starts_with('^'))
    settings.emplace_back("topic.metadata.refresh.interval.ms", "3000");
  Result<kafka::Handle> client =
      kafka::MakeClient(RD_KAFKA_CONSUMER, s->options.kafka, settings,
                        {.on_rebalance = State::OnRebalance, .rebalance_opaque = s});
  if (!client.ok()) return client.status();
  s->client = std::move(client).value();
  rd_kafka_poll_set_consumer(s->client.get());
  const kafka::Partitions topics(rd_kafka_topic_partition_list_new(1));
  rd_kafka_topic_partition_list_add(topics.get(), s->options.topics.c_str(), RD_KAFKA_PARTITION_UA);
  if (const rd_kafka_resp_err_t error = rd_kafka_subscribe(s->client.get(), topics.get());
      error != 0)
    return Status::Stop(fmt::format("group '{}': {}", s->options.group, kafka::ErrorText(error)));
  s->thread = std::thread([s] { s->Run(); });
  s->answerer = std::thread([s] { s->Answer(); });
  return std::unique_ptr<KafkaMembership>(new KafkaMembership(std::move(state)));
}

KafkaMembership::~KafkaMembership() { Leave(); }

void KafkaMembership::Leave() {
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->closing.exchange(true)) return;
  }
  state_->question.notify_one();
  state_->answerer.join();
  state_->thread.join();
}

void KafkaMembership::Report(const KafkaPartition& partition, Offset counted) {
  const std::lock_guard lock(state_->mutex);
  state_->reported[partition] = counted;
}

Result<std::optional<Offset>> KafkaMembership::Reported(const KafkaPartition& partition) {
  const std::lock_guard lock(state_->mutex);
  const auto [answer, is_new] = state_->answers.try_emplace(partition);
  if (is_new) {
    state_->open.push_back(partition);
    state_->question.notify_one();
  }
  if (!answer->second)
    return Status::Retry(
        fmt::format("group '{}' has been asked for its committed offset", state_->options.group));
  const std::optional<Offset> reported = *answer->second;
  state_->answers.erase(answer);
  return reported;
}

std::string KafkaMembership::trouble() const {
  const std::lock_guard lock(state_->mutex);
  return state_->trouble;
}

}  // namespace sightline
