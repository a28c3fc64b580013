// LocationBoard: the locations of one (scope, window) as the viewers were published, and what
// changed since any earlier version. Shared by all views of that scope and window.
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
  // What Live has read: everything, or those that may have changed. Makes a new version if
  // something did.
  void Update(std::vector<LocationTotal> read, bool everything);

  // 0 before the first Update().
  uint64_t version() const { return version_; }
  // The last version that no difference leads to: everything was loaded anew, or a location went
  // away. Who was published an earlier one needs a snapshot.
  uint64_t snapshot_version() const { return snapshot_version_; }
  // JSON of the locations that changed after `version`, by oid. Valid until the next Update().
  const std::string& ChangedJson(uint64_t version);
  // JSON of all of them, by name, then oid. Valid until the next Update().
  const std::string& AllJson();

 private:
  struct Published {
    LocationTotal value;
    uint64_t version = 0;  // in which it became so
  };
  std::unordered_map<LocationId, Published> published_;
  uint64_t version_ = 0;
  uint64_t snapshot_version_ = 0;
  std::vector<LocationId> changed_in_version_;    // version_
  std::map<uint64_t, std::string> changed_json_;  // by version; of the present version_
  std::string all_json_;
};

}  // namespace sightline
