// PathSet: an ordered set of values by their path, cheap to copy and then to change a little.
//
// A snapshot is copied for each commit. So the set has a large sorted part that the copies share,
// and a small part of changes to it. They are merged when the changes have grown.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sightline::lake {

// T has a member `path`. The copies share the values (std::shared_ptr<const T>).
template <typename T>
class PathSet {
 public:
  using Pointer = std::shared_ptr<const T>;

  // The value with this path; null if there is none.
  Pointer Find(std::string_view path) const {
    if (const auto change = changes_.find(path); change != changes_.end()) return change->second;
    return FindShared(path);
  }
  void Put(Pointer value) {
    std::string path = value->path;
    if (Find(path) == nullptr) ++size_;
    changes_.insert_or_assign(std::move(path), std::move(value));
    MergeIfLarge();
  }
  void Erase(std::string_view path) {
    if (Find(path) == nullptr) return;
    --size_;
    if (FindShared(path) == nullptr) {
      changes_.erase(changes_.find(path));
    } else {
      changes_.insert_or_assign(std::string(path), nullptr);
    }
    MergeIfLarge();
  }
  size_t size() const { return size_; }

  // Visits the values in the order of their paths: visit(const Pointer&).
  template <typename Visit>
  void ForEach(const Visit& visit) const {
    auto change = changes_.begin();
    for (const Pointer& value : *shared_) {
      for (; change != changes_.end() && change->first < value->path; ++change)
        if (change->second != nullptr) visit(change->second);
      const bool changed = change != changes_.end() && change->first == value->path;
      const Pointer& now = changed ? change->second : value;
      if (now != nullptr) visit(now);
      if (changed) ++change;
    }
    for (; change != changes_.end(); ++change)
      if (change->second != nullptr) visit(change->second);
  }

 private:
  static constexpr size_t kChangesMin = 256;

  Pointer FindShared(std::string_view path) const {
    const auto at = std::lower_bound(
        shared_->begin(), shared_->end(), path,
        [](const Pointer& value, std::string_view key) { return value->path < key; });
    return at != shared_->end() && (*at)->path == path ? *at : nullptr;
  }
  void MergeIfLarge() {
    if (changes_.size() < std::max(kChangesMin, shared_->size() / 8)) return;
    std::vector<Pointer> merged;
    merged.reserve(size_);
    ForEach([&](const Pointer& value) { merged.push_back(value); });
    shared_ = std::make_shared<const std::vector<Pointer>>(std::move(merged));
    changes_.clear();
  }

  std::shared_ptr<const std::vector<Pointer>> shared_ =
      std::make_shared<const std::vector<Pointer>>();
  std::map<std::string, Pointer, std::less<>> changes_;  // null: the value is erased
  size_t size_ = 0;
};

}  // namespace sightline::lake
