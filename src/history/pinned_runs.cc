#include "history/pinned_runs.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/files.h"
#include "connectors/checkpoint_files/entry_file.h"

namespace sightline {

PinnedRun::~PinnedRun() { unlink(path_.c_str()); }

Result<std::vector<Segment>> PinnedRun::Read() const {
  const Result<std::string> bytes = ReadRunFile(path_, partition_, run_.id);
  if (!bytes.ok()) return bytes.status();
  return DecodeRun(run_, bytes.value());
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
  const std::filesystem::path from = store_.RunPath(partition, run.id);
  if (link(from.c_str(), path.c_str()) != 0) return SystemError(errno, "link", from);
  return std::shared_ptr<const PinnedRun>(
      std::make_shared<PinnedRun>(std::move(path), partition, run));
}

}  // namespace sightline
