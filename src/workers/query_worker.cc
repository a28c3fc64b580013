#include "workers/query_worker.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "query/local_queries.h"
#include "workers/channel.h"
#include "workers/confinement.h"
#include "workers/messages.h"
#include "workers/shared_rows.h"
#include "workers/worker_process.h"

namespace sightline {
namespace {

// Reads a spilled part and remembers if that failed.
class WatchedPart final : public PendingPart {
 public:
  explicit WatchedPart(std::shared_ptr<const PendingPart> part) : part_(std::move(part)) {}
  Result<std::vector<CountIncrement>> Counts() const override { return Watch(part_->Counts()); }
  Result<std::vector<LedgerIncrement>> Ledger() const override { return Watch(part_->Ledger()); }
  std::string Reference() const override { return part_->Reference(); }
  bool failed() const { return failed_; }

 private:
  template <typename T>
  Result<T> Watch(Result<T> read) const {
    if (!read.ok()) failed_ = true;
    return read;
  }
  const std::shared_ptr<const PendingPart> part_;
  mutable std::atomic<bool> failed_ = false;
};

// A part that cannot be opened: the question that needs it fails, as it does for one that cannot be
// read.
class FailedPart final : public PendingPart {
 public:
  explicit FailedPart(Status why) : why_(std::move(why)) {}
  Result<std::vector<CountIncrement>> Counts() const override { return why_; }
  Result<std::vector<LedgerIncrement>> Ledger() const override { return why_; }
  std::string Reference() const override { return {}; }

 private:
  const Status why_;
};

// The lake as the server shows it to one question at a time.
class ChannelSource final : public LakeSource {
 public:
  ChannelSource(Channel* channel, OpenPart open_part)
      : channel_(*channel), open_part_(std::move(open_part)) {}

  Result<std::shared_ptr<const LakeState>> For(const ViewBounds& views) override;
  // The engine asks for it only to look for unreadable files, which the server does here.
  Result<std::shared_ptr<const LakeState>> Current() override {
    return Status::Retry("a query worker has no state of its own");
  }
  // The parts of the newest state that could not be read, by their index.
  std::vector<uint32_t> unreadable_parts() const;

 private:
  Result<std::shared_ptr<const LakeState>> Build(StateMessage message, const Frame& frame);
  Status TakeLocations(const SharedFile& file, LakeState& state);

  Channel& channel_;
  const OpenPart open_part_;
  std::vector<std::shared_ptr<const WatchedPart>> parts_;
  // Kept from question to question: the server sends the same file until the table changes.
  ino_t locations_inode_ = 0;
  std::shared_ptr<const std::vector<Location>> locations_;
};

Result<std::shared_ptr<const LakeState>> ChannelSource::For(const ViewBounds& views) {
  parts_.clear();
  RETURN_IF_ERROR(channel_.Send(FrameType::kNeeds, EncodeNeeds(views)));
  const Result<Frame> frame = channel_.Receive(UINT32_MAX);
  if (!frame.ok()) return frame.status();
  if (frame.value().type != FrameType::kState) return Status::Stop("the server sent no state");
  Result<StateMessage> message = DecodeState(frame.value().payload);
  if (!message.ok()) return message.status();
  RETURN_IF_ERROR(message.value().status);
  return Build(std::move(message).value(), frame.value());
}

Result<std::shared_ptr<const LakeState>> ChannelSource::Build(StateMessage message,
                                                              const Frame& frame) {
  auto state = std::make_shared<LakeState>();
  state->counts_version = message.counts_version;
  state->ledger_version = message.ledger_version;
  // Relative: the process has changed into the lake's folder, so nothing above it is in a path.
  state->counts_files = FileList(std::string(kCountsFolder), std::move(message.counts_files));
  state->ledger_files = FileList(std::string(kLedgerFolder), std::move(message.ledger_files));
  auto file = frame.files.begin();
  const auto next = [&](bool has) {
    return has && file != frame.files.end() ? *file++ : SharedFile();
  };
  if (const SharedFile rows = next(message.has_counts))
    state->pending_parts.push_back(SharedCounts(rows));
  if (const SharedFile rows = next(message.has_ledger))
    state->pending_parts.push_back(SharedLedger(rows));
  if (const SharedFile rows = next(message.has_locations))
    RETURN_IF_ERROR(TakeLocations(rows, *state));
  for (const std::string& reference : message.parts) {
    auto part = open_part_(reference);
    parts_.push_back(std::make_shared<WatchedPart>(
        part.ok() ? std::move(part).value() : std::make_shared<const FailedPart>(part.status())));
    state->pending_parts.push_back(parts_.back());
  }
  return std::shared_ptr<const LakeState>(std::move(state));
}

Status ChannelSource::TakeLocations(const SharedFile& file, LakeState& state) {
  struct stat about {};
  if (fstat(file->fd(), &about) != 0) return Status::Stop("the locations cannot be read");
  if (locations_ == nullptr || about.st_ino != locations_inode_) {
    Result<std::vector<Location>> read = ReadLocations(*file);
    if (!read.ok()) return read.status();
    locations_ = std::make_shared<const std::vector<Location>>(std::move(read).value());
    locations_inode_ = about.st_ino;
  }
  state.locations = locations_;
  return Status::Ok();
}

std::vector<uint32_t> ChannelSource::unreadable_parts() const {
  std::vector<uint32_t> failed;
  for (size_t i = 0; i < parts_.size(); ++i)
    if (parts_[i]->failed()) failed.push_back(static_cast<uint32_t>(i));
  return failed;
}

class QueryWorker {
 public:
  QueryWorker(std::unique_ptr<const File> socket, const OpenPart& open_part)
      : channel_(std::move(socket)),
        source_(std::make_shared<ChannelSource>(&channel_, open_part)) {}

  // Returns the exit code.
  int Run();

 private:
  Status Start(const WorkerSetup& setup);
  EndMessage Answer(const AskMessage& ask);
  // Whether the lake's folder is still the one that this process has changed into.
  bool IsInLake() const;

  Channel channel_;
  const std::shared_ptr<ChannelSource> source_;
  std::string root_;
  bool in_lake_ = false;
  std::unique_ptr<LocalQueries> queries_;
  std::jthread ends_with_server_;
};

Status QueryWorker::Start(const WorkerSetup& setup) {
  prctl(PR_SET_NAME, "sightline-query");  // for ps and top
  root_ = setup.root;
  // Without the folder there are no files to read either; the server starts another process when it
  // is there.
  in_lake_ = chdir(root_.c_str()) == 0;
  if (!in_lake_ && chdir("/") != 0) return Status::Stop("cannot leave the working directory");
  std::vector<std::string> read = setup.read;
  // DuckDB looks here for the limits of a container, and ends the process if it may not.
  read.insert(read.end(), {"/proc/self/cgroup", "/sys/fs/cgroup"});
  if (in_lake_) read.emplace_back(".");
  constexpr int64_t kSlack = 2LL << 30;  // stacks, and addresses that allocators reserve
  RETURN_IF_ERROR(
      Confine({.read = std::move(read),
               .address_space_bytes = setup.memory_bytes_max + kUncountedBytesMax + kSlack,
               .file_bytes_max = setup.answer_bytes_max}));
  // The main thread may compute for long: this one sees that the server is gone, even by kill -9.
  ends_with_server_ = std::jthread([fd = channel_.fd()] {
    pollfd closed{.fd = fd, .events = 0, .revents = 0};
    while (poll(&closed, 1, -1) < 0 || (closed.revents & (POLLHUP | POLLERR)) == 0) {
    }
    _exit(0);
  });
  auto queries = LocalQueries::Create(
      source_, {.directories = {std::string(kCountsFolder), std::string(kLedgerFolder)},
                .memory_bytes_max = setup.memory_bytes_max,
                .threads = setup.threads,
                .queries_max = 1,
                .window_size = setup.window_size});
  if (!queries.ok()) return queries.status();
  queries_ = std::move(queries).value();
  return Status::Ok();
}

bool QueryWorker::IsInLake() const {
  using FileStatus = struct stat;
  FileStatus here{}, there{};
  if (stat(root_.c_str(), &there) != 0) return !in_lake_;
  // The same folder may have been mounted again, so that no path leads to where this process is.
  std::error_code unreachable;
  (void)std::filesystem::current_path(unreachable);
  return in_lake_ && !unreachable && stat(".", &here) == 0 && here.st_dev == there.st_dev &&
         here.st_ino == there.st_ino;
}

EndMessage QueryWorker::Answer(const AskMessage& ask) {
  const AnswerEnd end = queries_->Answer(
      ask.question, {.time = ask.time, .rows_max = ask.rows_max},
      {.append = [&](std::string_view bytes) { return channel_.Send(FrameType::kBytes, bytes); },
       .clear = nullptr});
  return {.status = end.status,
          .limit = end.limit,
          .truncated = end.truncated,
          .unreadable_files = queries_->engine().TakeUnreadableFiles(),
          .unreadable_parts = source_->unreadable_parts()};
}

int QueryWorker::Run() {
  const Result<Frame> first = channel_.Receive(UINT32_MAX);
  if (!first.ok() || first.value().type != FrameType::kSetup) return kNoChannel;
  const Result<WorkerSetup> setup = DecodeSetup(first.value().payload);
  if (!setup.ok()) return kNoChannel;
  if (const Status started = Start(setup.value()); !started.ok()) {
    (void)channel_.Send(FrameType::kEnd, Encode(EndMessage{.status = started}));
    return kCannotWork;
  }
  if (!channel_.Send(FrameType::kReady, {}).ok()) return 0;
  for (;;) {
    const Result<Frame> frame = channel_.Receive(UINT32_MAX);
    // The server asks another process when this one ends before it answers.
    if (!frame.ok() || !IsInLake()) return 0;
    EndMessage end;
    if (frame.value().type == FrameType::kReadFile) {
      const std::string why = queries_->engine().WhyUnreadable(frame.value().payload);
      if (!why.empty()) end.status = Status::Stop(why);
    } else {
      const Result<AskMessage> ask = DecodeAsk(frame.value().payload);
      end = ask.ok() ? Answer(ask.value()) : EndMessage{.status = ask.status()};
    }
    if (!channel_.Send(FrameType::kEnd, Encode(end)).ok() || end.limit != QueryLimit::kNone)
      return 0;
  }
}

}  // namespace

int RunQueryWorker(const OpenPart& open_part) {
  int type = 0;
  socklen_t size = sizeof type;
  if (getsockopt(kWorkerChannel, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM)
    return kNoChannel;
  auto worker =
      std::make_unique<QueryWorker>(std::make_unique<const File>(kWorkerChannel), open_part);
  // Without destructors: a thread of DuckDB may still compute.
  _exit(worker->Run());
}

}  // namespace sightline
