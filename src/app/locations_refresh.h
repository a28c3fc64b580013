// LocationsRefresh: keeps live's location names as the file has them.
//
// Looks at the file's modification time and size. A version that does not parse, has oids twice or
// loses more than half of its rows is refused loudly, and the old one stays. One thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "live/live.h"

namespace sightline {

class LocationsRefresh {
 public:
  // `live` outlives it. An empty path: there is no table.
  LocationsRefresh(std::string path, Live* live) : path_(std::move(path)), live_(live) {}

  // kStop if the file cannot be used: at the start there is no old version to keep.
  Status Load();
  // Reads the file again if it has changed.
  void Refresh();
  // Why the file as it is now is not used; empty if it is.
  const std::string& refused() const { return refused_; }
  int64_t version() const { return version_; }  // grows with every accepted version

 private:
  Status Read();

  const std::string path_;
  Live* const live_;
  int64_t modified_ns_ = 0, bytes_ = -1;  // of the version looked at last
  size_t rows_ = 0;
  int64_t version_ = 0;
  std::string refused_;
};

}  // namespace sightline
