// LocationsRefresh: keeps the location names as the file has them, and a copy of the last good
// file.
//
// Looks at the file's modification time, size and inode. A version that does not parse, has oids
// twice or loses more than half of its rows is refused loudly, and the old one stays. The bytes of
// each accepted version are kept in the data folder, so that a start that finds a bad file goes on
// with the last good one, and says so, until the file is good again.
//
// state() and NameOf() are thread-safe, everything else is for one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "connectors/locations/location_file.h"
#include "model/types.h"

namespace sightline {

class LocationsRefresh {
 public:
  // An empty path: there is no table. `copy`: where the last good version is kept.
  LocationsRefresh(std::string path, std::string copy)
      : path_(std::move(path)), copy_(std::move(copy)) {}
  // Called with every accepted version, by the thread that reads it.
  void OnChange(std::function<void(const std::vector<Location>&)> changed) {
    changed_ = std::move(changed);
  }

  // kStop if neither the file nor a copy of an earlier version can be used.
  Status Load();
  // Reads the file again if it has changed.
  void Refresh();

  struct State {
    int64_t version = 0;  // grows with every accepted version since the start; 0: none yet
    int64_t rows = 0;
    std::string refused;  // why the file as it is now is not used; empty if it is
  };
  State state() const;
  // Empty: the table does not know it.
  std::string NameOf(LocationId location) const;
  const std::vector<Location>& locations() const { return locations_; }  // the last good version

 private:
  Status Read();
  Status LoadCopy();
  void Accept(std::vector<Location> locations, const std::string& from);
  void Refuse(const std::string& reason);
  void KeepCopy();

  const std::string path_, copy_;
  std::function<void(const std::vector<Location>&)> changed_;
  std::optional<FileVersion> looked_at_;  // the version that was taken or refused last
  std::vector<Location> locations_;
  std::optional<std::string> to_keep_;  // bytes of the version whose copy is still to be written

  mutable std::mutex mutex_;
  // Under mutex_.
  State state_;
  std::unordered_map<int64_t, std::string> names_;
};

}  // namespace sightline
