#include "workers/query_workers.h"

#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <utility>

#include "base/log.h"
#include "query/failures.h"
#include "query/file_bounds.h"
#include "query/views.h"
#include "workers/query_worker.h"

namespace sightline {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// A worker stops its question itself at the deadline, which keeps the process. After this long it
// is killed.
constexpr milliseconds kGrace{300};
// What a worker sends in one piece. Its answers come in pieces of 64 KiB, or of one row.
constexpr size_t kFrameBytesMax = 128 << 20;
// A worker that keeps more after its answer is replaced.
constexpr int64_t kIdleBytesMax = 64LL << 20;
constexpr milliseconds kKeepInterval{500}, kReadFileTime{5'000}, kFetchTime{1'000};
// A worker that has run for so long can work.
constexpr milliseconds kStartTime{2'000};
constexpr size_t kLoggedBytesMax = 1'000;
constexpr int32_t kSqlNice = 10;

std::string ForLog(std::string_view sql) {
  std::string text(sql.substr(0, kLoggedBytesMax));
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < ' ' || c == 0x7f; }, ' ');
  return text.size() < sql.size() ? text + "..." : text;
}

AnswerEnd Failed(Status status, QueryLimit limit = QueryLimit::kNone) {
  return {.status = std::move(status), .limit = limit};
}

// The views whose rows come from the lake; `locations` does not.
bool ReadsLake(const ViewBounds& views) {
  return std::ranges::any_of(views, [](const auto& view) { return view.first != kLocations; });
}

// Workers know the lake's files by their paths below its folder. People want to know where that is.
std::string WithRoot(std::string message, const std::string& root, const std::string& path) {
  if (const size_t at = message.find(path); at != std::string::npos) message.insert(at, root + "/");
  return message;
}

}  // namespace

struct QueryWorkers::Asked {
  const Question& question;
  const QueryLimits& limits;
  const AnswerSink& sink;
  const Time deadline;
  WorkerProcess& worker;
  Reason reason = Reason::kNone;
  std::shared_ptr<const LakeState> state;  // that the answer is made from, until it ends
  std::shared_ptr<const void> files;       // copies of its files; null: they are read in place
  bool files_too_large = false;
  AnswerEnd end;
  int64_t cpu_ms_before = 0;  // of the worker, for its start and earlier questions
  bool demoted = false;       // to the idle class, from which no worker comes back
};

QueryWorkers::QueryWorkers(std::shared_ptr<LakeSource> source, std::string root, Millis window_size,
                           const QueryWorkersOptions& options)
    : QueryService(std::move(source), window_size),
      root_(std::move(root)),
      options_(options),
      unreadable_([this](const std::string& path) { return ReadFile(path); }) {
  sql_.size_max = options_.sql_workers_max;
  sql_.nice = kSqlNice;
  fixed_.size_max = kFixedWorkersMax;
  keeper_ = std::jthread([this](const std::stop_token& stop) { Keep(stop); });
}

QueryWorkers::~QueryWorkers() {
  Interrupt();
  keeper_.request_stop();
  keeper_.join();
  for (Crew* crew : {&sql_, &fixed_})
    for (auto& worker : crew->idle) worker->Leave();
}

void QueryWorkers::Interrupt() {
  const std::lock_guard lock(mutex_);
  ending_ = true;
  changed_.notify_all();
}

std::string QueryWorkers::trouble() {
  const std::lock_guard lock(mutex_);
  return start_trouble_.empty() ? unreadable_.Known() : start_trouble_;
}

std::vector<Metric> QueryWorkers::metrics() const {
  constexpr const char* kNames[] = {"gone",     "time",   "memory", "abandoned",
                                    "stopping", "answer", "crash"};
  std::vector<Metric> metrics;
  for (size_t i = 0; i < kReasons; ++i) {
    metrics.push_back(Metric::Counter("sightline_query_workers_ended_total",
                                      "Query workers that ended before their answer, by reason.",
                                      ended_[i]));
    metrics.back().labels = {{"reason", kNames[i]}};
  }
  if (const FileKeeper* const copies = source_->copies())
    for (Metric& metric : copies->metrics()) metrics.push_back(std::move(metric));
  const std::lock_guard lock(mutex_);
  metrics.push_back(Metric::Gauge("sightline_query_workers_running",
                                  "Query workers that answer a question.",
                                  sql_.running + fixed_.running));
  return metrics;
}

// -- the processes -------------------------------------------------------------------------------

Result<std::unique_ptr<WorkerProcess>> QueryWorkers::Spawn(const Crew& crew) {
  return WorkerProcess::Spawn(options_.program, options_.arguments,
                              Encode(WorkerSetup{.root = root_,
                                                 .read = options_.read,
                                                 .memory_bytes_max = options_.memory_bytes_max,
                                                 .answer_bytes_max = options_.answer_bytes_max,
                                                 .threads = options_.threads,
                                                 .window_size = window_size_}),
                              crew.nice);
}

// Call it with the mutex. A worker answers the questions of one scope only, so that nothing of
// another scope can be left in its memory.
std::unique_ptr<WorkerProcess> QueryWorkers::TakeIdle(Crew& crew, const Scope& scope) {
  for (const bool fresh : {false, true}) {
    for (auto it = crew.idle.begin(); it != crew.idle.end(); ++it) {
      if (fresh ? (*it)->scope.has_value() : (*it)->scope != scope) continue;
      std::unique_ptr<WorkerProcess> worker = std::move(*it);
      crew.idle.erase(it);
      return worker;
    }
  }
  return nullptr;
}

Result<std::unique_ptr<WorkerProcess>> QueryWorkers::Take(Crew& crew, const Scope& scope,
                                                          Time deadline, const QueryLimits& limits,
                                                          bool fresh) {
  std::vector<std::unique_ptr<WorkerProcess>> too_many;
  std::unique_ptr<WorkerProcess> worker;
  {
    std::unique_lock lock(mutex_);
    const bool has_slot = changed_.wait_until(
        lock, limits.abandoned, deadline, [&] { return ending_ || crew.running < crew.size_max; });
    if (limits.abandoned.stop_requested()) return Abandoned();
    if (ending_) return Stopping();
    if (!has_slot || steady_clock::now() >= deadline)
      return WaitedTooLong(limits.time, options_.sql_workers_max);
    ++crew.running;
    worker = fresh ? nullptr : TakeIdle(crew, scope);
    // Those of other scopes make room.
    const auto size = crew.running + static_cast<int32_t>(crew.idle.size());
    for (int32_t over = size - crew.size_max; over > 0 && !crew.idle.empty(); --over) {
      too_many.push_back(std::move(crew.idle.front()));
      crew.idle.erase(crew.idle.begin());
    }
  }
  for (auto& gone : too_many) Leave(std::move(gone));
  if (worker == nullptr || worker->Ended()) {
    auto spawned = Spawn(crew);
    if (!spawned.ok()) {
      GiveBack(crew, nullptr, false);
      return spawned.status();
    }
    worker = std::move(spawned).value();
  }
  worker->scope = scope;
  return worker;
}

void QueryWorkers::GiveBack(Crew& crew, std::unique_ptr<WorkerProcess> worker, bool clean) {
  // The limits hold for all that is there, so a worker must be gone before its slot is free.
  if (!clean && worker != nullptr) Leave(std::move(worker));
  const std::lock_guard lock(mutex_);
  --crew.running;
  if (worker != nullptr) crew.idle.push_back(std::move(worker));
  changed_.notify_all();
}

void QueryWorkers::Leave(std::unique_ptr<WorkerProcess> worker) {
  const std::optional<pid_t> still_there = worker->Leave();
  if (!still_there) return;
  const std::lock_guard lock(mutex_);
  leaving_.push_back(*still_there);
}

// Keeps one idle worker of each kind, so that a question does not wait for a start.
void QueryWorkers::FillUp(Crew& crew) {
  {
    const std::lock_guard lock(mutex_);
    for (const auto& worker : crew.idle) {
      const std::optional<int> ended = worker->Ended();
      if (!ended && steady_clock::now() - worker->started() > kStartTime) start_trouble_.clear();
      if (ended && !worker->ready && WIFEXITED(*ended) && WEXITSTATUS(*ended) != 0)
        start_trouble_ = fmt::format("no query worker can start: {}", DescribeEnd(*ended));
    }
    std::erase_if(crew.idle, [](const auto& worker) { return worker->Ended().has_value(); });
    if (ending_ || !crew.idle.empty() || crew.running >= crew.size_max) return;
  }
  auto spawned = Spawn(crew);
  const std::lock_guard lock(mutex_);
  if (!spawned.ok()) start_trouble_ = spawned.status().message();
  if (spawned.ok() && !ending_ &&
      crew.running + static_cast<int32_t>(crew.idle.size()) < crew.size_max)
    crew.idle.push_back(std::move(spawned).value());
}

void QueryWorkers::Keep(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    FillUp(fixed_);
    FillUp(sql_);
    (void)unreadable_.Trouble(*source_);  // forgets what can be read again
    std::unique_lock lock(mutex_);
    std::erase_if(leaving_, [](pid_t pid) { return waitpid(pid, nullptr, WNOHANG) != 0; });
    changed_.wait_for(lock, stop, kKeepInterval, [this] { return ending_; });
    if (ending_) return;
  }
}

// -- a question ----------------------------------------------------------------------------------

AnswerEnd QueryWorkers::Answer(const Question& question, const QueryLimits& limits,
                               const AnswerSink& sink) {
  const auto* const sql = std::get_if<SqlRequest>(&question.request);
  const Time now = steady_clock::now();
  const Time deadline = limits.start.value_or(now) + milliseconds(limits.time.v);
  if (const auto refusal = sql == nullptr ? std::nullopt : refused_.Find(sql->sql, now))
    return Failed(Status::Stop(fmt::format("this question is refused for {} minutes, because {}",
                                           RefusedQuestions::kRefused.count(), refusal->why)),
                  refusal->limit);
  Crew& crew = sql == nullptr ? fixed_ : sql_;
  for (int attempt = 1;; ++attempt) {
    auto taken = Take(crew, question.scope, deadline, limits, /*fresh=*/attempt > 1);
    if (!taken.ok()) return Failed(taken.status());
    std::unique_ptr<WorkerProcess> worker = std::move(taken).value();
    Asked asked{.question = question,
                .limits = limits,
                .sink = sink,
                .deadline = deadline,
                .worker = *worker,
                .cpu_ms_before = worker->CpuMs()};
    const Status answered = Ask(asked);
    const Status explained = answered.ok() ? Status::Ok() : ExplainEnd(asked, answered);
    const bool clean = answered.ok() && asked.end.limit == QueryLimit::kNone && !asked.demoted &&
                       worker->OwnBytes() <= kIdleBytesMax;
    GiveBack(crew, std::move(worker), clean);
    if (explained.ok()) return std::move(asked.end);
    // Somebody else ended the worker, or the lake's folder is another one now, which an idle worker
    // notices when it is asked. A new one is asked, once.
    if (attempt == 2) return Failed(explained);
    if (sink.clear) sink.clear();
  }
}

// Returns a failure if the worker has to go.
Status QueryWorkers::Tick(Asked& asked) const {
  const Time now = steady_clock::now();
  const auto because = [&](Reason reason) {
    asked.reason = reason;
    return Status::Stop("the worker is ended");
  };
  {
    const std::lock_guard lock(mutex_);
    if (ending_) return because(Reason::kStopping);
  }
  if (asked.limits.abandoned.stop_requested()) return because(Reason::kAbandoned);
  if (now >= asked.deadline + kGrace) return because(Reason::kTime);
  if (asked.worker.OwnBytes() > WorkerBytesMax(options_)) return because(Reason::kMemory);
  if (!asked.demoted && asked.worker.ready &&
      asked.worker.CpuMs() - asked.cpu_ms_before >= options_.demote_cpu_ms) {
    asked.worker.MakeIdleClass();
    asked.demoted = true;
  }
  return Status::Ok();
}

Status QueryWorkers::Ask(Asked& asked) {
  // Between two looks at the process 10 ms pass, also while bytes come without a pause.
  const Channel::Tick tick = [this, &asked, next = Time()]() mutable {
    const Time now = steady_clock::now();
    if (now < next) return Status::Ok();
    next = now + milliseconds(Channel::kTickMs);
    return Tick(asked);
  };
  Channel& channel = asked.worker.channel();
  const auto left = std::max(asked.deadline - steady_clock::now(), steady_clock::duration(0));
  const AskMessage ask{.question = asked.question,
                       .time = {std::chrono::duration_cast<milliseconds>(left).count()},
                       .rows_max = asked.limits.rows_max};
  RETURN_IF_ERROR(channel.Send(FrameType::kAsk, Encode(ask), tick));
  for (;;) {
    Result<Frame> frame = channel.Receive(kFrameBytesMax, tick);
    if (!frame.ok()) return frame.status();
    const std::string& payload = frame.value().payload;
    switch (frame.value().type) {
      case FrameType::kReady:
        asked.worker.ready = true;
        asked.cpu_ms_before = asked.worker.CpuMs();  // its start is not the question's
        break;
      case FrameType::kNeeds: {
        const Result<ViewBounds> views = DecodeNeeds(payload);
        if (!views.ok()) return views.status();
        RETURN_IF_ERROR(HandOver(asked, views.value()));
        break;
      }
      case FrameType::kBytes:
        if (Status taken = asked.sink.append(payload); !taken.ok()) {
          asked.reason = Reason::kAnswer;
          return taken;
        }
        break;
      case FrameType::kEnd: {
        Result<EndMessage> end = DecodeEnd(payload);
        if (!end.ok()) return end.status();
        if (!asked.worker.ready) return end.value().status;
        NoteUnreadable(asked, end.value());
        if (end.value().limit == QueryLimit::kCrash)
          (void)Refuse(asked, QueryLimit::kCrash, "DuckDB fails at it with an internal error");
        asked.end.limit = asked.files_too_large ? QueryLimit::kMemory : end.value().limit;
        // The worker knows only the time that was left.
        asked.end.status = end.value().limit == QueryLimit::kTime ? TookTooLong(asked.limits.time)
                                                                  : end.value().status;
        asked.end.truncated = end.value().truncated;
        return Status::Ok();
      }
      default:
        return Status::Stop("a query worker sent a frame of the server");
    }
  }
}

// Selects the files and rows that the question needs from one state of the lake, cut to the scope
// of the asker.
Status QueryWorkers::HandOver(Asked& asked, const ViewBounds& views) {
  StateMessage message;
  std::vector<SharedFile> rows;
  const Scope& scope = asked.question.scope;
  auto current = source_->Current();
  message.status = current.status();
  const auto add = [&](Result<SharedFile> file) {
    if (!file.ok()) {
      message.status = file.status();
      return false;
    }
    rows.push_back(std::move(file).value());
    return true;
  };
  if (current.ok()) {
    asked.state = std::move(current).value();
    const LakeState& state = *asked.state;
    message.counts_version = state.counts_version;
    message.ledger_version = state.ledger_version;
    message.counts_files = FilesFor(state.counts_files, views, scope, /*of_ledger=*/false);
    message.ledger_files = FilesFor(state.ledger_files, views, scope, /*of_ledger=*/true);
    if (views.contains(kItemCounts) || views.contains(kIncrements))
      message.has_counts = add(rows_.Counts(state, scope));
    if (views.contains(kLedger)) message.has_ledger = add(rows_.Ledger(state, scope));
    if (views.contains(kItemCounts) || views.contains(kLocations))
      message.has_locations = add(rows_.Locations(state, scope));
    if (ReadsLake(views)) {
      for (const auto& part : state.pending_parts) message.parts.push_back(part->Reference());
      asked.end.incomplete = state.incomplete;
    }
  }
  if (message.status.ok()) RETURN_IF_ERROR(HoldFiles(asked, message));
  if (!message.status.ok()) rows.clear();
  std::vector<int> files;
  for (const SharedFile& file : rows) files.push_back(file->fd());
  return asked.worker.channel().Send(
      FrameType::kState, Encode(message), [&] { return Tick(asked); }, files);
}

// Returns a failure if the worker has to go. Files that cannot be had are told to the asker.
Status QueryWorkers::HoldFiles(Asked& asked, StateMessage& message) {
  FileKeeper* const copies = source_->copies();
  if (copies == nullptr) return Status::Ok();
  std::vector<NeededFile> files;
  AddNeeded(kCountsFolder, message.counts_files, files);
  AddNeeded(kLedgerFolder, message.ledger_files, files);
  Holding holding =
      copies->Hold(files, {.deadline = asked.deadline, .go_on = [&] { return Tick(asked); }});
  if (asked.reason != Reason::kNone) return holding.status;
  asked.files = std::move(holding.files);
  asked.files_too_large = holding.too_large;
  if (!holding.failed_path.empty())
    unreadable_.Add(root_ + "/" + holding.failed_path, holding.status.message());
  message.status = std::move(holding.status);
  return Status::Ok();
}

// Remembers a question that ended its worker, and returns what to say.
Status QueryWorkers::Refuse(const Asked& asked, QueryLimit limit, const std::string& why) {
  if (const auto* const sql = std::get_if<SqlRequest>(&asked.question.request)) {
    refused_.Add(sql->sql, {.limit = limit, .why = why}, steady_clock::now());
    LogWarning(fmt::format("a question is refused for {} minutes, because {}: {}",
                           RefusedQuestions::kRefused.count(), why, ForLog(sql->sql)));
  } else {
    LogWarning(fmt::format("a fixed question of the lake failed: {}", why));
  }
  return Status::Stop((limit == QueryLimit::kMemory ? "out of memory: " : "") + why);
}

// Makes the outcome of a question whose worker did not come to an end. Returns a failure if
// somebody else ended the worker, who may have meant another question.
Status QueryWorkers::ExplainEnd(Asked& asked, const Status& failed) {
  if (asked.reason != Reason::kNone) ++ended_[static_cast<size_t>(asked.reason)];
  switch (asked.reason) {
    case Reason::kTime:
      asked.end = Failed(TookTooLong(asked.limits.time), QueryLimit::kTime);
      return Status::Ok();
    case Reason::kMemory:
      asked.end = Failed(Refuse(asked, QueryLimit::kMemory,
                                fmt::format("it needs more than query.memory_max, which is {} MiB: "
                                            "ask for fewer rows, columns or groups, or raise the "
                                            "limit",
                                            options_.memory_bytes_max >> 20)),
                         QueryLimit::kMemory);
      return Status::Ok();
    case Reason::kAbandoned:
      asked.end = Failed(Abandoned());
      return Status::Ok();
    case Reason::kStopping:
      asked.end = Failed(Stopping());
      return Status::Ok();
    case Reason::kAnswer:
      asked.end = Failed(failed);
      return Status::Ok();
    case Reason::kNone:
    case Reason::kCrash:
      break;
  }
  std::optional<int> status;
  for (int ms = 0; ms < 1'000 && !(status = asked.worker.Ended()); ++ms)
    std::this_thread::sleep_for(milliseconds(1));
  if (!status) asked.worker.Kill();  // it speaks, but not our language
  const bool by_another =
      status && (WIFSIGNALED(*status) ? WTERMSIG(*status) == SIGKILL : WEXITSTATUS(*status) == 0);
  if (by_another || !asked.worker.ready) ++ended_[static_cast<size_t>(Reason::kNone)];
  if (by_another) return Status::Retry("a query worker was ended from outside: ask again");
  if (!asked.worker.ready) {
    const Status why =
        Status::Retry(fmt::format("no query worker can start: {}", failed.message()));
    const std::lock_guard lock(mutex_);
    start_trouble_ = why.message();
    return why;
  }
  ++ended_[static_cast<size_t>(Reason::kCrash)];
  asked.end = Failed(Refuse(asked, QueryLimit::kCrash,
                            fmt::format("it ended the process that computed it ({})",
                                        status ? DescribeEnd(*status) : "it broke the protocol")),
                     QueryLimit::kCrash);
  return Status::Ok();
}

// -- files and parts that cannot be read ---------------------------------------------------------

// What a worker says is only a hint: the server looks for the file in the state, and reads a part
// itself, which remembers the failure.
void QueryWorkers::NoteUnreadable(const Asked& asked, const EndMessage& end) {
  if (asked.state == nullptr) return;
  for (const auto& [path, why] : end.unreadable_files) {
    const std::string absolute = root_ + "/" + path;
    if (!asked.state->counts_files.Has(absolute) && !asked.state->ledger_files.Has(absolute))
      continue;
    if (FileKeeper* const copies = source_->copies()) copies->Distrust(path);
    unreadable_.Add(absolute, WithRoot(why, root_, path));
  }
  const auto& parts = asked.state->pending_parts;
  for (const uint32_t part : end.unreadable_parts)
    if (part < parts.size()) (void)parts[part]->Counts();
}

// Has a file of the newest state where workers read it. One that is in no state is not needed.
Holding QueryWorkers::HoldFile(const std::string& path) {
  FileKeeper* const copies = source_->copies();
  if (copies == nullptr) return {};
  const auto state = source_->Current();
  if (!state.ok()) return {.status = state.status()};
  const LakeFile* file = state.value()->counts_files.Find(path);
  if (file == nullptr) file = state.value()->ledger_files.Find(path);
  if (file == nullptr) return {};
  return copies->Hold({{.path = path.substr(root_.size() + 1), .bytes = file->bytes}},
                      {.deadline = steady_clock::now() + kFetchTime, .go_on = nullptr});
}

// A worker reads the file: it may be such that DuckDB ends the process.
std::string QueryWorkers::ReadFile(const std::string& path) {
  const Holding holding = HoldFile(path);
  if (!holding.status.ok()) return holding.status.message();
  const Time deadline = steady_clock::now() + kReadFileTime;
  const QueryLimits limits;
  auto taken = Take(fixed_, Scope::All(), deadline, limits, /*fresh=*/false);
  if (!taken.ok()) return taken.status().message();
  std::unique_ptr<WorkerProcess> worker = std::move(taken).value();
  const Question none;
  const AnswerSink nowhere;
  Asked asked{
      .question = none, .limits = limits, .sink = nowhere, .deadline = deadline, .worker = *worker};
  const Channel::Tick tick = [&] { return Tick(asked); };
  const std::string below_root = path.substr(root_.size() + 1);
  Channel& channel = worker->channel();
  Status status = channel.Send(FrameType::kReadFile, below_root, tick);
  while (status.ok()) {
    const Result<Frame> frame = channel.Receive(kFrameBytesMax, tick);
    status = frame.status();
    if (!frame.ok() || frame.value().type == FrameType::kReady) continue;
    const Result<EndMessage> end = DecodeEnd(frame.value().payload);
    GiveBack(fixed_, std::move(worker), end.ok());
    return end.ok() ? WithRoot(end.value().status.message(), root_, below_root)
                    : end.status().message();
  }
  GiveBack(fixed_, std::move(worker), false);
  return status.message();
}

}  // namespace sightline
