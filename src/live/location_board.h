// LocationBoard: the locations of one (scope, window) as the viewers were told, and what changed
// since any earlier step. Shared by all views of that scope and window.
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
  // What Live has read: everything, or those that may have changed. Makes a new step if something
  // did.
  void Update(std::vector<LocationTotal> read, bool everything);

  // 0 before the first Update().
  uint64_t step() const { return step_; }
  // The last step that no difference leads to: everything was loaded anew, or a location went away.
  // Who was told an earlier one needs a snapshot.
  uint64_t snapshot_step() const { return snapshot_step_; }
  // JSON of the locations that changed after `step`, by oid. Valid until the next Update().
  const std::string& ChangedJson(uint64_t step);
  // JSON of all of them, by name, then oid. Valid until the next Update().
  const std::string& AllJson();

 private:
  struct Told {
    LocationTotal value;
    uint64_t step = 0;  // in which it became so
  };
  std::unordered_map<LocationId, Told> told_;
  uint64_t step_ = 0;
  uint64_t snapshot_step_ = 0;
  std::vector<LocationId> changed_in_step_;       // step_
  std::map<uint64_t, std::string> changed_json_;  // by step; of the present step_
  std::string all_json_;
};

}  // namespace sightline
