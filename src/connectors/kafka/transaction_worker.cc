#include "connectors/kafka/transaction_worker.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/log.h"

namespace sightline::kafka {
namespace {

// A blocking call is left so often to see whether anybody still waits for it.
constexpr int kLookMs = 250;
constexpr int kAskTimeoutMs = 5'000;
// After a repeat that failed.
constexpr Millis kRepeatAgain{60'000};
// Brokers look for transactions that are too old every 10 s.
constexpr Millis kAbortedWithin{15'000};
// The progress record is the last of every transaction, so the end of the partition has it, unless
// other sources write there, too. Looked for backwards in steps that grow.
constexpr int64_t kFirstLook = 1'000;
constexpr int64_t kLookGrowth = 16;

// The commit itself only counts the messages that failed: the first says why. Called by commits, on
// the worker's thread.
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

// `refused`: what a message met, if that is known.
Status Failed(std::string_view what, const rd_kafka_error_t* error,
              const std::string& refused = "") {
  const rd_kafka_resp_err_t code = rd_kafka_error_code(error);
  if (code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
      code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH)
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

void ClosedWorkers::Bury(std::unique_ptr<TransactionWorker> worker) {
  worker->Close();
  const std::lock_guard lock(mutex_);
  std::erase_if(closed_, [](const auto& old) { return old->ended(); });
  closed_.push_back(std::move(worker));
}

TransactionWorker::TransactionWorker(KafkaOptions options, std::string transactional_id,
                                     std::string topic, int32_t partition, Finder find,
                                     std::function<void()> on_answer, Millis repeat_interval,
                                     std::function<bool(const rd_kafka_message_t&)> own,
                                     LostEndWatch watch)
    : options_(std::move(options)),
      transactional_id_(std::move(transactional_id)),
      topic_(std::move(topic)),
      partition_(partition),
      find_(std::move(find)),
      own_(std::move(own)),
      repeat_interval_(repeat_interval),
      watch_(std::move(watch)),
      on_answer_(std::move(on_answer)),
      thread_([this] { Run(); }) {}

TransactionWorker::~TransactionWorker() {
  Close();
  thread_.join();
}

void TransactionWorker::Submit(Job job) {
  {
    const std::lock_guard lock(mutex_);
    job_ = std::move(job);
  }
  wake_.notify_one();
}

void TransactionWorker::Close() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    on_answer_ = nullptr;
  }
  wake_.notify_one();
}

void TransactionWorker::Run() {
  while (true) {
    std::optional<Job> job;
    {
      std::unique_lock lock(mutex_);
      const auto called = [this] { return closing_ || job_.has_value(); };
      const SteadyTime due = std::min(look_at_, last_.has_value() ? repeat_at_ : kNever);
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
    } else if (std::chrono::steady_clock::now() >= look_at_) {
      LookBehind();
    } else if (last_.has_value()) {
      Repeat();
    }
  }
  producer_ = nullptr;
  ended_ = true;
}

void TransactionWorker::RunJob(const Job& job) {
  const auto begin = std::chrono::steady_clock::now();
  const bool is_fence = producer_ == nullptr;
  job.answer->status = is_fence ? RunFence(job) : RunCommit(job.messages);
  open_since_ = std::nullopt;
  look_at_ = kNever;
  if (!is_fence && job.answer->status.ok()) LookIn(watch_.look_after);
  if (repeat_interval_.v > 0 && job.answer->status.ok() && !job.messages.empty() &&
      (!is_fence || job.answer->found.has_value())) {
    last_ = job.messages.back();
    if (is_fence) last_->value = *job.answer->found;
    const int64_t age = is_fence ? found_age_.v : 0;
    RepeatIn({repeat_interval_.v - std::clamp<int64_t>(age, 0, repeat_interval_.v)});
  }
  job.answer->microseconds = std::chrono::duration_cast<std::chrono::microseconds>(
                                 std::chrono::steady_clock::now() - begin)
                                 .count();
  job.answer->finished.store(true, std::memory_order_release);
  const std::lock_guard lock(mutex_);
  if (on_answer_) on_answer_();
}

void TransactionWorker::LookIn(Millis time) {
  look_at_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(time.v);
}

// A broker answers a commit before its end is written into the partition, and one that starts again
// can take a partition without a leader for a deleted one and leave the end out (seen with 4.3.1):
// the transaction is over, and open for every reader. The end of a later one closes it.
void TransactionWorker::LookBehind() {
  look_at_ = kNever;
  const Result<Undecided> undecided = AskUndecided();
  if (!undecided.ok()) return LookIn(watch_.look_after);
  const int64_t begin = undecided.value().begin;
  if (begin >= undecided.value().end) return;
  if (open_since_ != begin) {
    open_since_ = begin;
    return LookIn(watch_.look_again.value_or(options_.transaction_timeout + kAbortedWithin));
  }
  LogInfo(fmt::format("{}: the end of the transaction at offset {} is not there: closing it",
                      Where(topic_, partition_), begin));
  if (last_.has_value()) {
    if (RunCommit({*last_}).ok()) return RepeatIn(repeat_interval_);
    // An abort would now abort the other as well, so that whoever comes next is told.
    last_.reset();
  }
  left_open_ = true;
  const std::lock_guard lock(mutex_);
  if (on_answer_) on_answer_();
}

void TransactionWorker::RepeatIn(Millis time) {
  repeat_at_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(time.v);
}

// Brokers that are away fail it: it is given up, so that it does not stand in the way of the next
// transaction, and tried again. What cannot be given up - a newer task owns the partition - is not.
void TransactionWorker::Repeat() {
  const Status status = RunCommit({*last_});
  if (status.ok()) return RepeatIn(repeat_interval_);
  LogInfo(fmt::format("{}: the progress could not be written again, that is given up: {}",
                      Where(topic_, partition_), status.message()));
  refused_.clear();
  while (const Error error = Error(rd_kafka_abort_transaction(producer_.get(), kLookMs))) {
    if (closing_) return;
    if (!rd_kafka_error_is_retriable(error.get())) return last_.reset();
  }
  RepeatIn(std::min(repeat_interval_, kRepeatAgain));
}

Status TransactionWorker::RunFence(const Job& job) {
  Result<Handle> made =
      MakeClient(RD_KAFKA_PRODUCER, options_,
                 {{"transactional.id", transactional_id_},
                  {"transaction.timeout.ms", fmt::format("{}", options_.transaction_timeout.v)},
                  {"linger.ms", "0"},
                  {"compression.codec", "lz4"}},
                 {.on_delivery = KeepRefusal});
  if (!made.ok()) return made.status();
  producer_ = std::move(made).value();
  while (const Error error = Error(rd_kafka_init_transactions(producer_.get(), kLookMs))) {
    if (closing_) return Status::Retry("closing");
    if (!rd_kafka_error_is_retriable(error.get()))
      return Failed(fmt::format("fencing '{}'", transactional_id_), error.get());
  }
  // Everything that an earlier owner had under way is now committed or aborted.
  RETURN_IF_ERROR(CloseLeftOpen(job));
  return Find(job.answer->found);
}

// Whatever of this id is undecided now has lost its end (LookBehind), and would keep the committed
// end away for ever. The last stable offset is where the oldest undecided transaction begins. If
// that one is ours, no end of ours lies behind it, so that all of ours behind it is undecided. If
// the newest of it is what the fence looks for - the last of every transaction, and repeated - it
// is whole and may have been answered as committed: it is closed by a commit of that record again.
// If not, nobody has been told that it was committed: it is closed by an abort.
Status TransactionWorker::CloseLeftOpen(const Job& job) {
  const Result<Undecided> undecided = AskUndecided();
  if (!undecided.ok()) return undecided.status();
  const auto [begin, end] = undecided.value();
  if (begin >= end) return Status::Ok();
  const SteadyTime settled =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(watch_.settle.v);
  while (std::chrono::steady_clock::now() < settled) {
    if (closing_) return Status::Retry("closing");
    std::this_thread::sleep_for(std::chrono::milliseconds(kLookMs));
    const Result<Undecided> again = AskUndecided();
    if (!again.ok()) return again.status();
    if (again.value().begin != begin) return Status::Ok();
  }
  std::optional<std::string> newest;
  if (own_) {
    Settings settings = ReaderSettings(options_);
    settings.emplace_back("isolation.level", "read_uncommitted");
    Result<Handle> client = MakeClient(RD_KAFKA_CONSUMER, options_, settings);
    if (!client.ok()) return client.status();
    std::optional<bool> begins_with_own;
    RETURN_IF_ERROR(Read(client.value().get(), begin, end, [&](const rd_kafka_message_t& message) {
      const bool own = own_(message);
      if (!begins_with_own.has_value()) begins_with_own = own;
      if (own) newest = find_(message);
    }));
    // Another id's: Find() waits for it.
    if (!begins_with_own.value_or(false)) return Status::Ok();
  }
  LogInfo(fmt::format("{}: open from offset {}: what '{}' left there without an end is {}",
                      Where(topic_, partition_), begin, transactional_id_,
                      newest.has_value() ? "committed" : "aborted"));
  if (!newest.has_value()) return RunAbort();
  Message again = job.messages.back();
  again.value = *newest;
  return RunCommit({again});
}

Result<TransactionWorker::Undecided> TransactionWorker::AskUndecided() {
  if (watch_.ask) return watch_.ask();
  const Result<int64_t> end = AskOffsetNow(producer_.get(), RD_KAFKA_OFFSET_SPEC_LATEST);
  if (!end.ok()) return end.status();
  const Result<int64_t> stable = AskOffsetNow(producer_.get(), RD_KAFKA_OFFSET_SPEC_LATEST,
                                              RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED);
  if (!stable.ok()) return stable.status();
  return Undecided{stable.value(), end.value()};
}

Result<int64_t> TransactionWorker::AskOffsetNow(rd_kafka_t* client, int64_t spec,
                                                rd_kafka_IsolationLevel_t isolation) {
  const Queue queue(rd_kafka_queue_new(client));
  AskOffset(client, topic_, partition_, spec, isolation, kAskTimeoutMs, queue.get(), nullptr);
  while (!closing_) {
    const Event event(rd_kafka_queue_poll(queue.get(), kLookMs));
    if (event == nullptr) continue;
    const Result<OffsetAnswer> answer = ReadOffsetAnswer(event.get());
    if (!answer.ok()) return answer.status();
    return answer.value().offset;
  }
  return Status::Retry("closing");
}

Status TransactionWorker::Find(std::optional<std::string>& found) {
  Result<Handle> made = MakeClient(RD_KAFKA_CONSUMER, options_, ReaderSettings(options_));
  if (!made.ok()) return made.status();
  const Handle client = std::move(made).value();
  const Result<int64_t> earliest = AskOffsetNow(client.get(), RD_KAFKA_OFFSET_SPEC_EARLIEST);
  if (!earliest.ok()) return earliest.status();
  // Also what is not committed: the end must lie behind all that this id ever wrote.
  const Result<int64_t> latest = AskOffsetNow(client.get(), RD_KAFKA_OFFSET_SPEC_LATEST);
  if (!latest.ok()) return latest.status();
  int64_t end = latest.value();
  for (int64_t look = kFirstLook; end > earliest.value() && !found.has_value();
       look *= kLookGrowth) {
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
  // Another id's open transaction keeps the end away for as long as the broker lets it live.
  const std::chrono::milliseconds patience(options_.transaction_timeout.v + 2 * kAbortedWithin.v);
  SteadyTime patient_until = std::chrono::steady_clock::now() + patience;
  for (int64_t position = begin; position < end && status.ok();) {
    if (closing_) status = Status::Retry("closing");
    const Owned<rd_kafka_message_t, rd_kafka_message_destroy> message(
        rd_kafka_consume_queue(queue.get(), kLookMs));
    const int64_t before = position;
    if (message == nullptr) {
      if (std::chrono::steady_clock::now() > patient_until)
        status = Status::Rebuild(fmt::format(
            "{}: nothing behind offset {} can be read: the broker is away, or another program's "
            "transaction has stayed open (`kafka-transactions.sh find-hanging` names it)",
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
  if (left_open_)
    return Status::Rebuild(fmt::format("kafka: {}: the end of the newest transaction is not there",
                                       Where(topic_, partition_)));
  if (const Error error = Error(rd_kafka_begin_transaction(producer_.get())))
    return Failed("beginning a transaction", error.get());
  for (const Message& message : messages) RETURN_IF_ERROR(Produce(message));
  while (const Error error = Error(rd_kafka_commit_transaction(producer_.get(), kLookMs))) {
    if (closing_) return Status::Rebuild("closing");
    if (!rd_kafka_error_is_retriable(error.get()))
      return Failed("committing", error.get(), refused_);
  }
  return Status::Ok();
}

// One record that nobody will read: without one a transaction has no end in the partition.
Status TransactionWorker::RunAbort() {
  if (const Error error = Error(rd_kafka_begin_transaction(producer_.get())))
    return Failed("beginning a transaction", error.get());
  RETURN_IF_ERROR(
      Produce({.topic = topic_, .key = transactional_id_, .value = "aborted", .headers = {}}));
  // Aborting throws away what was not sent.
  while (rd_kafka_flush(producer_.get(), kLookMs) != RD_KAFKA_RESP_ERR_NO_ERROR)
    if (closing_) return Status::Rebuild("closing");
  while (const Error error = Error(rd_kafka_abort_transaction(producer_.get(), kLookMs))) {
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
      static_cast<void>(headers.release());  // the message has them now
      return Status::Ok();
    }
    if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL)
      return Status::Rebuild(
          fmt::format("{}: {}", Where(message.topic, partition_), ErrorText(error)));
    rd_kafka_poll(producer_.get(), kLookMs);
  }
  return Status::Rebuild("closing");
}

}  // namespace sightline::kafka
