#include "history/pinned_runs.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/files.h"
#include "connectors/checkpoint_files/checkpoint_files.h"
#include "connectors/checkpoint_files/entry_file.h"

namespace sightline {
void UnreadableRuns::Add(const std::shared_ptr<const PinnedRun>& run) {
  const std::lock_guard lock(mutex_);
  runs_[run.get()] = run;
}

void UnreadableRuns::Remove(const PinnedRun* run) {
  const std::lock_guard lock(mutex_);
  runs_.erase(run);
}

std::string UnreadableRuns::Trouble() {
  std::vector<std::shared_ptr<const PinnedRun>> runs;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, known] : runs_)
      if (std::shared_ptr<const PinnedRun> run = known.lock()) runs.push_back(std::move(run));
  }
  // Without the lock: Read() and the destructor of a run take it.
  for (const auto& run : runs)
    if (const Status read = run->Read().status(); !read.ok())
      return fmt::format(
          "queries fail, because the spilled counts of partition {} with the offsets [{}, {}) "
          "cannot be read: {}",
          run->partition().partition, run->run().first.v, run->run().next().v, read.message());
  return "";
}

PinnedRun::~PinnedRun() {
  unreadable_->Remove(this);
  unlink(path_.c_str());
}

Result<std::vector<Segment>> PinnedRun::Read() const {
  const Result<std::string> bytes = ReadRunFile(path_, partition_, run_.id);
  Result<std::vector<Segment>> segments =
      bytes.ok() ? DecodeRun(run_, bytes.value()) : Result<std::vector<Segment>>(bytes.status());
  segments.ok() ? unreadable_->Remove(this) : unreadable_->Add(shared_from_this());
  return segments;
}

Result<std::unique_ptr<PinnedRuns>> PinnedRuns::Open(const std::string& checkpoints,
                                                     std::string dir) {
  std::error_code error;
  std::filesystem::remove_all(dir, error);
  if (!error) std::filesystem::create_directories(dir, error);
  if (error)
    return Status::Stop(fmt::format("cannot empty the folder '{}': {}", dir, error.message()));
  return std::unique_ptr<PinnedRuns>(new PinnedRuns(checkpoints, std::move(dir)));
}

Result<std::shared_ptr<const PinnedRun>> PinnedRuns::Pin(const SourcePartition& partition,
                                                         const SpilledRun& run) {
  std::filesystem::path path = dir_ / fmt::format("{}.run", ++pins_);
  const std::filesystem::path from = checkpoints_ / CheckpointFiles::RunPath(partition, run.id);
  if (link(from.c_str(), path.c_str()) != 0) return SystemError(errno, "link", from);
  return std::shared_ptr<const PinnedRun>(
      std::make_shared<PinnedRun>(std::move(path), partition, run, unreadable_));
}

}  // namespace sightline
