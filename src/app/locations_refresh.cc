#include "app/locations_refresh.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include "base/log.h"

namespace sightline {

Status LocationsRefresh::Load() {
  if (path_.empty()) return Status::Ok();
  struct stat info {};
  if (stat(path_.c_str(), &info) == 0) {
    modified_ns_ = info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec;
    bytes_ = info.st_size;
  }
  return Read();
}

void LocationsRefresh::Refresh() {
  if (path_.empty()) return;
  struct stat info {};
  if (stat(path_.c_str(), &info) != 0) {
    if (refused_.empty())
      LogError(fmt::format("the location table '{}' is gone: the last good one stays", path_));
    refused_ = fmt::format("the location table '{}' is gone", path_);
    bytes_ = -1;
    return;
  }
  const int64_t modified_ns = info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec;
  if (modified_ns == modified_ns_ && info.st_size == bytes_) return;
  modified_ns_ = modified_ns;
  bytes_ = info.st_size;
  const Status status = Read();
  refused_ = status.message();
  if (!status.ok()) LogError(status.message() + "; the last good one stays");
}

Status LocationsRefresh::Read() {
  Result<std::vector<Location>> read = ReadLocations(path_);
  if (!read.ok()) return read.status();
  if (read.value().size() * 2 < locations_.size())
    return Status::Stop(
        fmt::format("the location table '{}' is refused: it has {} rows, the last good one has {}; "
                    "a table that loses more than half of its rows needs a restart",
                    path_, read.value().size(), locations_.size()));
  locations_ = std::move(read).value();
  ++version_;
  LogInfo(
      fmt::format("location table '{}': {} rows, version {}", path_, locations_.size(), version_));
  if (changed_) changed_(locations_);
  return Status::Ok();
}

}  // namespace sightline
