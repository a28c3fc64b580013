#include "live/location_board.h"

#include <algorithm>
#include <span>
#include <tuple>
#include <utility>

#include "live/messages.h"

namespace sightline {

void LocationBoard::Update(std::vector<LocationTotal> read, bool everything) {
  const uint64_t version = version_ + 1;
  std::vector<LocationId> changed;
  for (LocationTotal& value : read) {
    Published& published = published_[value.location];
    if (published.version != 0 && published.value == value) continue;
    changed.push_back(value.location);
    published = {std::move(value), version};
  }
  const bool first = version_ == 0;
  bool gone = false;
  if (everything && read.size() < published_.size()) {
    // Moved-from values keep their location: it is no string.
    std::unordered_map<LocationId, Published> left;
    for (const LocationTotal& value : read)
      left[value.location] = std::move(published_[value.location]);
    published_ = std::move(left);
    gone = true;
  }
  if (changed.empty() && !gone && !first) return;
  version_ = version;
  if (everything) snapshot_version_ = version;
  changed_in_version_ = std::move(changed);
  changed_json_.clear();
  all_json_.clear();
}

const std::string& LocationBoard::ChangedJson(uint64_t version) {
  const auto [it, is_new] = changed_json_.try_emplace(version);
  if (!is_new) return it->second;
  std::vector<LocationTotal> changed;
  if (version + 1 == version_) {
    for (LocationId location : changed_in_version_)
      changed.push_back(published_.at(location).value);
  } else if (version < version_) {
    for (const auto& [location, published] : published_) {
      if (published.version > version) changed.push_back(published.value);
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
  all.reserve(published_.size());
  for (const auto& [location, published] : published_) all.push_back(published.value);
  std::sort(all.begin(), all.end(), [](const LocationTotal& a, const LocationTotal& b) {
    return std::tie(a.name, a.location) < std::tie(b.name, b.location);
  });
  all_json_ = ToJson(std::span<const LocationTotal>(all));
  return all_json_;
}

}  // namespace sightline
