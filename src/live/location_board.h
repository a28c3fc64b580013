// LocationBoard: the published locations of one (scope, window), and what changed since any earlier
// version. All views of that scope and window share one board.
//
// Not thread-safe: the hub's thread owns it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "live/live.h"
#include "model/types.h"

namespace sightline {

class LocationBoard {
 public:
  // Takes what Live::Read() returned: all locations, or those that may have changed. Makes a new
  // version if one of them did.
  void Update(std::vector<LocationTotal> read, bool everything);

  // 0 before the first Update().
  uint64_t version() const { return version_; }
  // The newest version that no list of changes leads to, because everything was loaded anew or a
  // location disappeared. A viewer that has an older one needs a snapshot.
  uint64_t snapshot_version() const { return snapshot_version_; }
  // JSON of the locations that changed after `version`, ordered by oid. Valid until the next
  // Update().
  const std::string& ChangedJson(uint64_t version);
  // JSON of all locations, ordered by name, then oid. Valid until the next Update().
  const std::string& AllJson();

 private:
  struct Published {
    LocationTotal value;
    uint64_t version = 0;  // in which it got this value
  };
  std::unordered_map<LocationId, Published> published_;
  uint64_t version_ = 0;
  uint64_t snapshot_version_ = 0;
  std::vector<LocationId> changed_in_version_;    // those that version_ changed
  std::map<uint64_t, std::string> changed_json_;  // from each version asked for to version_
  std::string all_json_;
};

}  // namespace sightline
