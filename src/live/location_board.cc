#include "live/location_board.h"

#include <algorithm>
#include <span>
#include <tuple>
#include <utility>

#include "live/messages.h"

namespace sightline {

void LocationBoard::Update(std::vector<LocationTotal> read, bool everything) {
  const uint64_t step = step_ + 1;
  std::vector<LocationId> changed;
  for (LocationTotal& value : read) {
    Told& told = told_[value.location];
    if (told.step != 0 && told.value == value) continue;
    changed.push_back(value.location);
    told = {std::move(value), step};
  }
  const bool first = step_ == 0;
  bool gone = false;
  if (everything && read.size() < told_.size()) {
    // Moved-from values keep their location: it is no string.
    std::unordered_map<LocationId, Told> left;
    for (const LocationTotal& value : read) left[value.location] = std::move(told_[value.location]);
    told_ = std::move(left);
    gone = true;
  }
  if (changed.empty() && !gone && !first) return;
  step_ = step;
  if (everything) snapshot_step_ = step;
  changed_in_step_ = std::move(changed);
  changed_json_.clear();
  all_json_.clear();
}

const std::string& LocationBoard::ChangedJson(uint64_t step) {
  const auto [it, is_new] = changed_json_.try_emplace(step);
  if (!is_new) return it->second;
  std::vector<LocationTotal> changed;
  if (step + 1 == step_) {
    for (LocationId location : changed_in_step_) changed.push_back(told_.at(location).value);
  } else if (step < step_) {
    for (const auto& [location, told] : told_) {
      if (told.step > step) changed.push_back(told.value);
    }
  }
  std::sort(changed.begin(), changed.end(),
            [](const LocationTotal& a, const LocationTotal& b) { return a.location < b.location; });
  it->second = ToJson(std::span<const LocationTotal>(changed));
  return it->second;
}

const std::string& LocationBoard::AllJson() {
  if (!all_json_.empty()) return all_json_;
  std::vector<LocationTotal> all;
  all.reserve(told_.size());
  for (const auto& [location, told] : told_) all.push_back(told.value);
  std::sort(all.begin(), all.end(), [](const LocationTotal& a, const LocationTotal& b) {
    return std::tie(a.name, a.location) < std::tie(b.name, b.location);
  });
  all_json_ = ToJson(std::span<const LocationTotal>(all));
  return all_json_;
}

}  // namespace sightline
