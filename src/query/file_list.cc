#include "query/file_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "model/location.h"
#include "sql/calendar.h"

namespace sightline {
namespace {

auto Key(const LakeFile& file) { return std::tie(file.location, file.path); }
bool Before(const LakeFile& a, const LakeFile& b) { return Key(a) < Key(b); }

// What a read wants of the files of a day.
struct Wanted {
  explicit Wanted(const ReadBounds& of) : bounds(of) {
    if (!bounds.locations) return;
    buckets.emplace();
    for (const LocationId location : *bounds.locations) buckets->insert(BucketOf(location));
  }
  const ReadBounds& bounds;
  std::optional<std::set<int32_t>> buckets;  // none: any
};

bool MayHold(const LakeFile& file, const Wanted& wanted) {
  const ReadBounds& bounds = wanted.bounds;
  if (file.bucket && wanted.buckets && !wanted.buckets->contains(*file.bucket)) return false;
  if (file.window_start_min && DayOf(*file.window_start_min) >= bounds.end_day) return false;
  if (file.window_start_max && DayOf(*file.window_start_max) < bounds.first_day) return false;
  if (file.append_hour_min && *file.append_hour_min >= bounds.end_append) return false;
  return !file.append_hour_max || *file.append_hour_max >= bounds.first_append;
}

// Appends to `found` those of `files`, which are sorted, whose location is `location`.
void TakeLocation(const std::vector<LakeFile>& files, std::optional<LocationId> location,
                  const Wanted& wanted, std::vector<const LakeFile*>& found) {
  auto file = std::lower_bound(
      files.begin(), files.end(), location,
      [](const LakeFile& a, const std::optional<LocationId>& b) { return a.location < b; });
  for (; file != files.end() && file->location == location; ++file) {
    if (MayHold(*file, wanted)) found.push_back(&*file);
  }
}

// Where DuckDB may see the end of a directory, or a path that has no directories.
constexpr std::string_view kNotInPaths = "\\?\n";

}  // namespace

FileList::FileList(std::string root, std::vector<LakeFile> files) : root_(std::move(root)) {
  *this = With(files, {});
}

FileList FileList::With(std::span<const LakeFile> added, std::span<const LakeFile> removed) const {
  struct Change {
    std::vector<LakeFile> added;
    std::set<std::string_view> removed;
  };
  std::map<Day, Change> changes;
  for (const LakeFile& file : added) changes[file.day.value_or(kNoDay)].added.push_back(file);
  for (const LakeFile& file : removed) changes[file.day.value_or(kNoDay)].removed.insert(file.path);

  FileList next = *this;
  for (auto& [day, change] : changes) {
    auto files = std::make_shared<DayFiles>(std::move(change.added));
    if (const auto old = days_.find(day); old != days_.end()) {
      next.size_ -= old->second->size();
      for (const LakeFile& file : *old->second) {
        if (!change.removed.contains(file.path)) files->push_back(file);
      }
    }
    std::sort(files->begin(), files->end(), Before);
    next.size_ += files->size();
    if (files->empty()) {
      next.days_.erase(day);
    } else {
      next.days_[day] = std::move(files);
    }
  }
  return next;
}

std::vector<const LakeFile*> FileList::Select(const ReadBounds& bounds) const {
  std::vector<const LakeFile*> found;
  const Wanted wanted(bounds);
  // Files of several locations (location is none) qualify by their bucket, if they have one: then
  // the rows decide.
  auto take = [&](const DayFiles& files) {
    if (!bounds.locations) {
      for (const LakeFile& file : files) {
        if (MayHold(file, wanted)) found.push_back(&file);
      }
      return;
    }
    TakeLocation(files, std::nullopt, wanted, found);
    for (const LocationId location : *bounds.locations)
      TakeLocation(files, location, wanted, found);
  };
  if (const auto dayless = days_.find(kNoDay); dayless != days_.end()) take(*dayless->second);
  for (auto day = days_.lower_bound(bounds.first_day);
       day != days_.end() && day->first < bounds.end_day; ++day) {
    take(*day->second);
  }
  return found;
}

bool FileList::PathTells(const LakeFile& file) const {
  if (root_.find('=') != std::string::npos || root_.find_first_of(kNotInPaths) != std::string::npos)
    return false;
  if (file.path.find_first_of(kNotInPaths) != std::string::npos) return false;
  bool location = false, day = false;
  std::string_view rest = file.path;
  for (size_t end = rest.find('/'); end != std::string_view::npos; end = rest.find('/')) {
    const std::string_view directory = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (directory.find('=') == std::string_view::npos) continue;
    if (file.location && !location &&
        directory == fmt::format("geographical_location_oid={}", file.location->v)) {
      location = true;
    } else if (file.day && !day && directory == "date=" + FormatDay(*file.day)) {
      day = true;
    } else if (!directory.starts_with("bucket=")) {  // no column that anybody reads
      return false;
    }
  }
  return location == file.location.has_value() && day == file.day.has_value();
}

const LakeFile* FileList::Find(std::string_view path) const {
  if (!path.starts_with(root_ + "/")) return nullptr;
  path.remove_prefix(root_.size() + 1);
  for (const auto& [day, files] : days_)
    for (const LakeFile& file : *files)
      if (file.path == path) return &file;
  return nullptr;
}

}  // namespace sightline
