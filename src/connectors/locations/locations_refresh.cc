#include "connectors/locations/locations_refresh.h"

#include <fmt/format.h>

#include <utility>

#include "base/log.h"

namespace sightline {

Status LocationsRefresh::Load() {
  if (path_.empty()) return Status::Ok();
  looked_at_ = ReadFileVersion(path_);
  const Status status = Read();
  if (status.ok() || !ReadFileVersion(copy_)) return status;
  if (const Status copied = LoadCopy(); !copied.ok()) {
    LogError(fmt::format("there is no usable copy of an earlier location table either: {}",
                         copied.message()));
    return status;
  }
  Refuse(fmt::format("{}; using '{}', the copy of the last good table", status.message(), copy_));
  return Status::Ok();
}

void LocationsRefresh::Refresh() {
  if (path_.empty()) return;
  KeepCopy();
  const std::optional<FileVersion> version = ReadFileVersion(path_);
  if (!version) {
    looked_at_.reset();
    const std::string reason = fmt::format("the location table '{}' is gone", path_);
    if (!state().refused.starts_with(reason))
      Refuse(reason + ": Sightline keeps using the last good table");
    return;
  }
  if (version == looked_at_) return;
  looked_at_ = version;
  const Status status = Read();
  // The next look may find it at rest.
  if (status.code() == StatusCode::kRetry) looked_at_.reset();
  if (!status.ok()) Refuse(status.message() + "; Sightline keeps using the last good table");
}

LocationsRefresh::State LocationsRefresh::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

std::string LocationsRefresh::NameOf(LocationId location) const {
  const std::lock_guard lock(mutex_);
  const auto name = names_.find(location.v);
  return name == names_.end() ? std::string() : name->second;
}

Status LocationsRefresh::Read() {
  Result<LocationFile> read = ReadLocationFile(path_);
  if (!read.ok()) return read.status();
  LocationFile& file = read.value();
  looked_at_ = file.version;
  if (file.locations.size() * 2 < locations_.size())
    return Status::Stop(
        fmt::format("the location table '{}' is refused: it has {} rows, the last good one has {}; "
                    "a table that loses more than half of its rows needs a restart",
                    path_, file.locations.size(), locations_.size()));
  to_keep_ = std::move(file.bytes);
  Accept(std::move(file.locations), path_);
  KeepCopy();
  return Status::Ok();
}

Status LocationsRefresh::LoadCopy() {
  Result<LocationFile> copy = ReadLocationFile(copy_);
  if (!copy.ok()) return copy.status();
  Accept(std::move(copy.value().locations), copy_);
  return Status::Ok();
}

void LocationsRefresh::Accept(std::vector<Location> locations, const std::string& from) {
  locations_ = std::move(locations);
  std::unordered_map<int64_t, std::string> names;
  for (const Location& location : locations_) names.emplace(location.location.v, location.name);
  int64_t version = 0;
  {
    const std::lock_guard lock(mutex_);
    names_ = std::move(names);
    version = ++state_.version;
    state_.rows = static_cast<int64_t>(locations_.size());
    state_.refused.clear();
  }
  LogInfo(
      fmt::format("location table '{}': {} rows, version {}", from, locations_.size(), version));
  if (changed_) changed_(locations_);
}

void LocationsRefresh::Refuse(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (state_.refused != reason) LogError(reason);
  state_.refused = reason;
}

// A full disk must not cost the names: the copy is tried again with the next look.
void LocationsRefresh::KeepCopy() {
  if (!to_keep_) return;
  const Status kept = WriteFileWhole(copy_, *to_keep_);
  if (kept.ok()) return to_keep_.reset();
  LogWarning(
      fmt::format("cannot keep a copy of the location table '{}': {}", path_, kept.message()));
}

}  // namespace sightline
