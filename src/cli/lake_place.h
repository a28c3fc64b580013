// LakePlace: which data folder and which lake a command is about, by its options and the
// configuration of `up`.
#pragma once

#include <string>

#include "base/status.h"

namespace CLI {
class App;
}

namespace sightline {

// As they stand on the command line; empty: not there.
struct LakePlaceOptions {
  std::string data;    // a data folder of `up`
  std::string lake;    // a lake's folder: its files, no server
  std::string config;  // of `up`; by default sightline.toml, if the data folder is the one it names
};

struct LakePlace {
  std::string data;
  std::string lake;
  bool files_only = false;  // a lake was named: no server is asked
};

// --data, --config and --lake.
void AddLakePlace(CLI::App* command, LakePlaceOptions* options);

// kStop: the configuration cannot be read.
Result<LakePlace> FindLake(const LakePlaceOptions& given);

}  // namespace sightline
