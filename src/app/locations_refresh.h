// LocationsRefresh: keeps the location names as the file has them.
//
// Looks at the file's modification time and size. A version that does not parse, has oids twice or
// loses more than half of its rows is refused loudly, and the old one stays. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/locations/locations.h"

namespace sightline {

class LocationsRefresh {
 public:
  // An empty path: there is no table.
  explicit LocationsRefresh(std::string path) : path_(std::move(path)) {}
  // Called with every accepted version, by the thread that reads it.
  void OnChange(std::function<void(const std::vector<Location>&)> changed) {
    changed_ = std::move(changed);
  }

  // kStop if the file cannot be used: at the start there is no old version to keep.
  Status Load();
  // Reads the file again if it has changed.
  void Refresh();
  // Why the file as it is now is not used; empty if it is.
  const std::string& refused() const { return refused_; }
  int64_t version() const { return version_; }  // grows with every accepted version
  const std::vector<Location>& locations() const { return locations_; }  // the last good version

 private:
  Status Read();

  const std::string path_;
  std::function<void(const std::vector<Location>&)> changed_;
  int64_t modified_ns_ = 0, bytes_ = -1;  // of the version looked at last
  std::vector<Location> locations_;
  int64_t version_ = 0;
  std::string refused_;
};

}  // namespace sightline
