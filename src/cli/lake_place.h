// LakePlace: finds the data folder and the lake of a command, from its options and the
// configuration of `up`.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "connectors/storage/open_storage.h"

namespace CLI {
class App;
}

namespace sightline {

// The values of the command line. Empty: not given.
struct LakePlaceOptions {
  std::string data;    // a data folder of `up`
  std::string lake;    // a lake's folder or URL, to read its files without a server
  std::string config;  // the file of `up`; by default sightline.toml, if it names this data folder
};

struct LakePlace {
  std::string data;
  std::string lake;  // a path or a URL
  StorageOptions storage;
  int64_t cache_bytes_max = 0;  // of copies of its files
  bool files_only = false;      // a lake was named, so no server is asked
};

// Adds --data, --config and --lake.
void AddLakePlace(CLI::App* command, LakePlaceOptions* options);

// kStop: the configuration cannot be read.
Result<LakePlace> FindLake(const LakePlaceOptions& given);

}  // namespace sightline
