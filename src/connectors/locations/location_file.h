// The file of the location table: CSV or Parquet, told apart by its first bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/locations/locations.h"

namespace sightline {

// Tells one version of a file from the next without reading it. A file that is replaced by a rename
// has another inode, whatever its times say.
struct FileVersion {
  int64_t modified_ns = 0, bytes = 0;
  uint64_t device = 0, inode = 0;
  friend bool operator==(const FileVersion&, const FileVersion&) = default;
};
// The version of a file; nothing if there is no such file.
std::optional<FileVersion> ReadFileVersion(const std::string& path);

struct LocationFile {
  std::vector<Location> locations;
  FileVersion version;  // of the bytes that were read
  std::string bytes;    // as they are in the file
};

// Reads the whole file through one descriptor, so that during a replacement by rename it sees
// either the old file or the new one. kRetry: it was written to while it was read. kStop, naming
// the file and the place: it cannot be used.
Result<LocationFile> ReadLocationFile(const std::string& path);

// The same for bytes that were read already.
Result<std::vector<Location>> ParseLocationFile(std::string_view bytes);

// Writes `path` completely and durably, or leaves it as it was.
Status WriteFileWhole(const std::string& path, std::string_view bytes);

}  // namespace sightline
