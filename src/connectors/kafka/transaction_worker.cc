#include "connectors/kafka/transaction_worker.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/log.h"

namespace sightline::kafka {
namespace {

// Blocking calls are cut into slices of this length, to see between them whether anybody still
// waits.
constexpr int kTransactionSliceMs = 250;
// How soon a repeat that failed is tried again.
constexpr Millis kRepeatAgain{60'000};
// Brokers look for expired transactions every 10 s.
constexpr Millis kBrokerAbortsWithin{15'000};
// The progress record is the last of every transaction, so it lies at the end of the partition
// unless other sources write there, too. The search goes backwards, in spans that grow by this
// factor.
constexpr int64_t kFirstSearch = 1'000;
constexpr int64_t kSearchGrowth = 16;

// Keeps the first refusal of a message, because the commit itself only counts the messages that
// failed. Called by commits, on the worker's thread.
void KeepRefusal(rd_kafka_t*, const rd_kafka_message_t* message, void*) {
  auto* const refused = static_cast<std::string*>(message->_private);
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR && refused->empty())
    *refused = fmt::format("{}: {}", Where(rd_kafka_topic_name(message->rkt), message->partition),
                           ErrorText(message->err));
}

int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// True if a newer producer has the same transactional id.
bool IsFenced(const rd_kafka_error_t* error) {
  const rd_kafka_resp_err_t code = rd_kafka_error_code(error);
  return code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
         code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
}

// `refused` is the first refusal of a message, if it is known.
Status Failed(std::string_view what, const rd_kafka_error_t* error,
              const std::string& refused = "") {
  if (IsFenced(error))
    return Status::Rebuild("kafka: a newer task owns the counts of this partition");
  return Status::Rebuild(fmt::format("kafka: {}: {}{}{}", what, rd_kafka_error_string(error),
                                     refused.empty() ? "" : ": ", refused));
}

}  // namespace

std::optional<std::string> HeaderOf(const rd_kafka_message_t& message, std::string_view name) {
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(&message, &headers) != 0) return std::nullopt;
  const void* value = nullptr;
  size_t size = 0;
  if (rd_kafka_header_get_last(headers, std::string(name).c_str(), &value, &size) != 0)
    return std::nullopt;
  return std::string(static_cast<const char*>(value), size);
}

void RetiredWorkers::Retire(std::unique_ptr<TransactionWorker> worker) {
  worker->Close();
  const std::lock_guard lock(mutex_);
  // Joins the workers that have ended meanwhile, so that retired ones do not pile up.
  std::erase_if(retired_, [](const auto& old) { return old->ended(); });
  retired_.push_back(std::move(worker));
}

TransactionWorker::TransactionWorker(KafkaOptions options, std::string transactional_id,
                                     std::string topic, int32_t partition, Finder find,
                                     std::function<void()> on_answer, Millis repeat_interval,
                                     std::function<bool(const rd_kafka_message_t&)> is_own,
                                     HangingCheck hanging_check)
    : options_(std::move(options)),
      transactional_id_(std::move(transactional_id)),
      topic_(std::move(topic)),
      partition_(partition),
      find_(std::move(find)),
      is_own_(std::move(is_own)),
      repeat_interval_(repeat_interval),
      hanging_check_(std::move(hanging_check)),
      waker_(std::move(on_answer)),
      thread_([this] { Run(); }) {}

TransactionWorker::~TransactionWorker() {
  Close();
  thread_.join();
}

AsyncAnswerPtr<Answer> TransactionWorker::Submit(std::vector<Message> messages) {
  AsyncAnswerPtr<Answer> answer = waker_.NewAnswer<Answer>();
  {
    const std::lock_guard lock(mutex_);
    job_ = Job{answer, std::move(messages)};
  }
  wake_.notify_one();
  return answer;
}

void TransactionWorker::Close() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  waker_.Silence();
  wake_.notify_one();
}

void TransactionWorker::Run() {
  while (true) {
    std::optional<Job> job;
    {
      std::unique_lock lock(mutex_);
      const auto called = [this] { return closing_ || job_.has_value(); };
      const SteadyTime due = std::min(check_at_, last_.has_value() ? repeat_at_ : kNever);
      if (due != kNever) {
        wake_.wait_until(lock, due, called);
      } else {
        wake_.wait(lock, called);
      }
      if (closing_) break;
      job = std::exchange(job_, std::nullopt);
    }
    if (job.has_value()) {
      RunJob(*job);
    } else if (std::chrono::steady_clock::now() >= check_at_) {
      CheckForHanging();
    } else if (last_.has_value()) {
      Repeat();
    }
  }
  producer_ = nullptr;
  ended_ = true;
}

void TransactionWorker::RunJob(const Job& job) {
  const auto begin = std::chrono::steady_clock::now();
  const bool is_fence = !std::exchange(fenced_, true);
  Answer& answer = job.answer->value();
  answer.status = is_fence ? RunFence(job.messages, answer.found) : RunCommit(job.messages);
  // A new transaction has an end of its own, so earlier suspicion is void. The check is only needed
  // if nothing else follows.
  suspect_ = std::nullopt;
  check_at_ = kNever;
  if (!is_fence && answer.status.ok()) CheckIn(hanging_check_.after);
  if (repeat_interval_.v > 0 && answer.status.ok() && !job.messages.empty() &&
      (!is_fence || answer.found.has_value())) {
    last_ = job.messages.back();
    if (is_fence) last_->value = *answer.found;
    const int64_t age = is_fence ? found_age_.v : 0;
    RepeatIn({repeat_interval_.v - std::clamp<int64_t>(age, 0, repeat_interval_.v)});
  }
  answer.microseconds = std::chrono::duration_cast<std::chrono::microseconds>(
                            std::chrono::steady_clock::now() - begin)
                            .count();
  job.answer->Finish();
}

void TransactionWorker::CheckIn(Millis time) {
  check_at_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(time.v);
}

// Checks whether the newest transaction is hanging. A broker answers a commit before it has written
// the end marker into the partition. A broker that restarts can take a partition without a leader
// for a deleted one, and leave the marker out (seen with 4.3.1). The transaction is then over for
// its producer and open for every reader of committed records. The end marker of a later
// transaction of the same id closes it.
void TransactionWorker::CheckForHanging() {
  check_at_ = kNever;
  if (producer_ == nullptr) return;  // the fence of the next one checks
  const Result<OpenRange> open = ReadOpenRange();
  if (!open.ok()) return CheckIn(hanging_check_.after);
  const int64_t last_stable = open.value().last_stable;
  // Everything up to the end is decided.
  if (last_stable >= open.value().end) return;
  // The first time, it may still be another producer's running transaction. If the last stable
  // offset has not moved when every such transaction must have expired, it hangs.
  if (suspect_ != last_stable) {
    suspect_ = last_stable;
    return CheckIn(
        hanging_check_.again.value_or(options_.transaction_timeout + kBrokerAbortsWithin));
  }
  LogInfo(fmt::format("{}: the transaction at offset {} is hanging: writing another one to end it",
                      Where(topic_, partition_), last_stable));
  if (last_.has_value()) {
    if (RunCommit({*last_}).ok()) return RepeatIn(repeat_interval_);
    // The repeat failed halfway. An abort now would end the hanging transaction as aborted, too,
    // although its commit was answered. A fence tells the two apart.
    producer_ = nullptr;
    return RepeatIn(std::min(repeat_interval_, kRepeatAgain));
  }
  hanging_ = true;
  waker_.Wake();
}

void TransactionWorker::RepeatIn(Millis time) {
  repeat_at_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(time.v);
}

// Repeats the last record, so that retention leaves one. If brokers are away, the repeat is
// aborted, so that it does not stand in the way of the next transaction, and is tried again later.
// A broker may refuse the abort, because it has or has not seen what this producer believes it has
// seen: such a producer is of no use any more, and the next repeat begins with a new one.
void TransactionWorker::Repeat() {
  if (producer_ == nullptr && !Reopen()) return;
  const Status status = RunCommit({*last_});
  if (status.ok()) return RepeatIn(repeat_interval_);
  LogInfo(fmt::format("{}: the progress record could not be repeated; the attempt is aborted: {}",
                      Where(topic_, partition_), status.message()));
  refused_.clear();
  RepeatIn(std::min(repeat_interval_, kRepeatAgain));
  while (const Error error =
             Error(rd_kafka_abort_transaction(producer_.get(), kTransactionSliceMs))) {
    if (closing_) return;
    if (rd_kafka_error_is_retriable(error.get())) continue;
    if (IsFenced(error.get())) return last_.reset();  // the newer task repeats its own record
    producer_ = nullptr;
    return;
  }
}

// Replaces the producer while nothing is committed. The new fence finds the newest committed
// record: if that is not the one that this task wrote last, another task has become the owner
// since, and this one must not commit any more.
bool TransactionWorker::Reopen() {
  std::optional<std::string> found;
  const Status status = RunFence({*last_}, found);
  if (!status.ok()) {
    LogInfo(fmt::format("{}: the progress record cannot be repeated yet: {}",
                        Where(topic_, partition_), status.message()));
    producer_ = nullptr;
    RepeatIn(std::min(repeat_interval_, kRepeatAgain));
    return false;
  }
  if (found == last_->value) return true;
  producer_ = nullptr;
  last_.reset();
  return false;
}

Status TransactionWorker::RunFence(const std::vector<Message>& messages,
                                   std::optional<std::string>& found) {
  Result<Handle> made =
      MakeClient(RD_KAFKA_PRODUCER, options_,
                 {{"transactional.id", transactional_id_},
                  {"transaction.timeout.ms", fmt::format("{}", options_.transaction_timeout.v)},
                  {"linger.ms", "0"},
                  {"compression.codec", "lz4"}},
                 {.on_delivery = KeepRefusal});
  if (!made.ok()) return made.status();
  producer_ = std::move(made).value();
  while (const Error error =
             Error(rd_kafka_init_transactions(producer_.get(), kTransactionSliceMs))) {
    if (closing_) return Status::Retry("closing");
    if (!rd_kafka_error_is_retriable(error.get()))
      return Failed(fmt::format("fencing '{}'", transactional_id_), error.get());
  }
  // Everything that an earlier owner had under way is committed or aborted now.
  RETURN_IF_ERROR(EndHangingTransaction(messages));
  return Find(found);
}

// Ends a hanging transaction of this id; it would hold back the last stable offset (LSO) for ever.
// After init_transactions() no transaction of this id is running, so one that is still open has
// lost its end marker (CheckForHanging). The LSO is where the oldest open transaction begins. If
// that one is ours, no end marker of ours lies behind it, so all of our records behind it are open,
// too.
//
// The fence looks for the record that every transaction ends with. If our newest open record is
// such a one, the transaction is whole and its commit may have been answered: it is ended by a
// transaction that commits this record again. If not, nobody was told that it was committed: it is
// ended by an abort.
Status TransactionWorker::EndHangingTransaction(const std::vector<Message>& messages) {
  const Result<OpenRange> open = ReadOpenRange();
  if (!open.ok()) return open.status();
  const auto [last_stable, end] = open.value();
  if (last_stable >= end) return Status::Ok();
  // The end marker may only be on its way, for example behind a new leader: wait for the LSO to
  // move before taking the transaction for hanging.
  const SteadyTime settled =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(hanging_check_.settle_time.v);
  while (std::chrono::steady_clock::now() < settled) {
    if (closing_) return Status::Retry("closing");
    std::this_thread::sleep_for(std::chrono::milliseconds(kTransactionSliceMs));
    const Result<OpenRange> again = ReadOpenRange();
    if (!again.ok()) return again.status();
    if (again.value().last_stable != last_stable) return Status::Ok();
  }
  std::optional<std::string> newest;
  if (is_own_) {
    Settings settings = ReaderSettings(options_);
    settings.emplace_back("isolation.level", "read_uncommitted");
    Result<Handle> client = MakeClient(RD_KAFKA_CONSUMER, options_, settings);
    if (!client.ok()) return client.status();
    std::optional<bool> begins_with_own;
    RETURN_IF_ERROR(
        Read(client.value().get(), last_stable, end, [&](const rd_kafka_message_t& message) {
          const bool is_own = is_own_(message);
          if (!begins_with_own.has_value()) begins_with_own = is_own;
          if (is_own) newest = find_(message);
        }));
    // The oldest open transaction is another id's: Find() waits until that one ends.
    if (!begins_with_own.value_or(false)) return Status::Ok();
  }
  LogInfo(fmt::format(
      "{}: a transaction is hanging from offset {}: what '{}' left there without an end is {}",
      Where(topic_, partition_), last_stable, transactional_id_,
      newest.has_value() ? "committed" : "aborted"));
  if (!newest.has_value()) return RunAbort();
  Message again = messages.back();
  again.value = *newest;
  return RunCommit({again});
}

Result<TransactionWorker::OpenRange> TransactionWorker::ReadOpenRange() {
  if (hanging_check_.read_open_range) return hanging_check_.read_open_range();
  const Result<int64_t> end = AskOffsetNow(producer_.get(), RD_KAFKA_OFFSET_SPEC_LATEST);
  if (!end.ok()) return end.status();
  const Result<int64_t> stable = AskOffsetNow(producer_.get(), RD_KAFKA_OFFSET_SPEC_LATEST,
                                              RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED);
  if (!stable.ok()) return stable.status();
  return OpenRange{stable.value(), end.value()};
}

Result<int64_t> TransactionWorker::AskOffsetNow(rd_kafka_t* client, int64_t spec,
                                                rd_kafka_IsolationLevel_t isolation) {
  const Queue queue(rd_kafka_queue_new(client));
  AskOffset(client, topic_, partition_, spec, isolation, kOffsetTimeoutMs, queue.get(), nullptr);
  while (!closing_) {
    const Event event(rd_kafka_queue_poll(queue.get(), kTransactionSliceMs));
    if (event == nullptr) continue;
    const Result<OffsetAnswer> answer = ReadOffsetAnswer(event.get());
    if (answer.ok()) return answer.value().offset;
    // An answer without a partition does not say which one was asked about.
    if (rd_kafka_event_error(event.get()) == 0) return answer.status();
    return Status::Retry(
        fmt::format("{}: {}", Where(topic_, partition_), answer.status().message()));
  }
  return Status::Retry("closing");
}

Status TransactionWorker::Find(std::optional<std::string>& found) {
  Result<Handle> made = MakeClient(RD_KAFKA_CONSUMER, options_, ReaderSettings(options_));
  if (!made.ok()) return made.status();
  const Handle client = std::move(made).value();
  const Result<int64_t> earliest = AskOffsetNow(client.get(), RD_KAFKA_OFFSET_SPEC_EARLIEST);
  if (!earliest.ok()) return earliest.status();
  // The end includes records that are not committed: it must lie behind everything that this id
  // ever wrote.
  const Result<int64_t> latest = AskOffsetNow(client.get(), RD_KAFKA_OFFSET_SPEC_LATEST);
  if (!latest.ok()) return latest.status();
  int64_t end = latest.value();
  for (int64_t look = kFirstSearch; end > earliest.value() && !found.has_value();
       look *= kSearchGrowth) {
    const int64_t begin = std::max(earliest.value(), end - look);
    RETURN_IF_ERROR(Read(client.get(), begin, end, [&](const rd_kafka_message_t& message) {
      std::optional<std::string> said = find_(message);
      if (!said.has_value()) return;
      found = std::move(said);
      found_age_ = Millis{NowMs() - rd_kafka_message_timestamp(&message, nullptr)};
    }));
    end = begin;
  }
  return Status::Ok();
}

Status TransactionWorker::Read(rd_kafka_t* client, int64_t begin, int64_t end,
                               const std::function<void(const rd_kafka_message_t&)>& see) {
  const Topic topic(rd_kafka_topic_new(client, topic_.c_str(), nullptr));
  const Queue queue(rd_kafka_queue_new(client));
  if (rd_kafka_consume_start_queue(topic.get(), partition_, begin, queue.get()) != 0)
    return Status::Retry(
        fmt::format("{}: {}", Where(topic_, partition_), ErrorText(rd_kafka_last_error())));
  Status status = Status::Ok();
  // Another id's open transaction hides what lies behind it, for as long as the broker lets it
  // live.
  const std::chrono::milliseconds patience(options_.transaction_timeout.v +
                                           2 * kBrokerAbortsWithin.v);
  SteadyTime patient_until = std::chrono::steady_clock::now() + patience;
  for (int64_t position = begin; position < end && status.ok();) {
    if (closing_) status = Status::Retry("closing");
    const Owned<rd_kafka_message_t, rd_kafka_message_destroy> message(
        rd_kafka_consume_queue(queue.get(), kTransactionSliceMs));
    const int64_t before = position;
    if (message == nullptr) {
      if (std::chrono::steady_clock::now() > patient_until)
        status = Status::Rebuild(fmt::format(
            "{}: nothing behind offset {} can be read: the broker is away, or another program's "
            "transaction is hanging (`kafka-transactions.sh find-hanging` names it)",
            Where(topic_, partition_), position));
    } else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      position = std::max<int64_t>(position, message->offset);
    } else if (message->err != 0) {
      status = Status::Retry(
          fmt::format("{}: {}", Where(topic_, partition_), rd_kafka_message_errstr(message.get())));
    } else {
      position = message->offset + 1;
      if (position <= end) see(*message);
    }
    if (position > before) patient_until = std::chrono::steady_clock::now() + patience;
  }
  rd_kafka_consume_stop(topic.get(), partition_);
  return status;
}

Status TransactionWorker::RunCommit(const std::vector<Message>& messages) {
  if (hanging_)
    return Status::Rebuild(fmt::format(
        "kafka: {}: the newest transaction is hanging: its end is missing in the partition",
        Where(topic_, partition_)));
  if (producer_ == nullptr)
    return Status::Rebuild(
        fmt::format("kafka: {}: the producer is to be replaced", Where(topic_, partition_)));
  if (const Error error = Error(rd_kafka_begin_transaction(producer_.get())))
    return Failed("beginning a transaction", error.get());
  for (const Message& message : messages) RETURN_IF_ERROR(Produce(message));
  while (const Error error =
             Error(rd_kafka_commit_transaction(producer_.get(), kTransactionSliceMs))) {
    if (closing_) return Status::Rebuild("closing");
    if (!rd_kafka_error_is_retriable(error.get()))
      return Failed("committing", error.get(), refused_);
  }
  return Status::Ok();
}

// Writes and aborts a transaction of one record, which nobody will read: without a record, a
// transaction gets no end marker in the partition.
Status TransactionWorker::RunAbort() {
  if (const Error error = Error(rd_kafka_begin_transaction(producer_.get())))
    return Failed("beginning a transaction", error.get());
  RETURN_IF_ERROR(
      Produce({.topic = topic_, .key = transactional_id_, .value = "aborted", .headers = {}}));
  // Flush first: an abort discards what was not sent yet.
  while (rd_kafka_flush(producer_.get(), kTransactionSliceMs) != RD_KAFKA_RESP_ERR_NO_ERROR)
    if (closing_) return Status::Rebuild("closing");
  while (const Error error =
             Error(rd_kafka_abort_transaction(producer_.get(), kTransactionSliceMs))) {
    if (closing_) return Status::Rebuild("closing");
    if (!rd_kafka_error_is_retriable(error.get())) return Failed("aborting", error.get(), refused_);
  }
  return Status::Ok();
}

Status TransactionWorker::Produce(const Message& message) {
  while (!closing_) {
    Headers headers;
    if (!message.headers.empty()) {
      headers.reset(rd_kafka_headers_new(message.headers.size()));
      for (const auto& [name, value] : message.headers)
        rd_kafka_header_add(headers.get(), name.data(), static_cast<ssize_t>(name.size()),
                            value.data(), static_cast<ssize_t>(value.size()));
    }
    const rd_kafka_resp_err_t error = rd_kafka_producev(
        producer_.get(), RD_KAFKA_V_TOPIC(message.topic.c_str()), RD_KAFKA_V_PARTITION(partition_),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY(message.key.data(), message.key.size()),
        RD_KAFKA_V_VALUE(const_cast<char*>(message.value.data()), message.value.size()),
        RD_KAFKA_V_HEADERS(headers.get()), RD_KAFKA_V_OPAQUE(&refused_), RD_KAFKA_V_END);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
      static_cast<void>(headers.release());  // the message owns them now
      return Status::Ok();
    }
    if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL)
      return Status::Rebuild(
          fmt::format("{}: {}", Where(message.topic, partition_), ErrorText(error)));
    rd_kafka_poll(producer_.get(), kTransactionSliceMs);
  }
  return Status::Rebuild("closing");
}

}  // namespace sightline::kafka
