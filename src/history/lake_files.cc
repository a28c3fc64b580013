#include "history/lake_files.h"

#include <boost/json.hpp>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>

#include "connectors/lake/tables.h"
#include "operators/decode.h"

namespace sightline {
namespace {

template <typename Number>
std::optional<Number> ToNumber(std::string_view text) {
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Decodes a path. The Delta log has them URL-encoded.
std::string Decoded(std::string_view path) {
  std::string plain;
  for (size_t i = 0; i < path.size(); ++i) {
    unsigned value = 0;
    if (path[i] == '%' && i + 2 < path.size()) {
      const auto [end, error] = std::from_chars(&path[i + 1], &path[i + 3], value, 16);
      if (error == std::errc() && end == &path[i + 3]) {
        plain += static_cast<char>(value);
        i += 2;
        continue;
      }
    }
    plain += path[i];
  }
  return plain;
}

// Returns minValues or maxValues (`bound`) of a column of times, if the stats have it.
std::optional<EventTime> Bound(const boost::json::object& stats, std::string_view bound,
                               std::string_view column) {
  const boost::json::value* const values = stats.if_contains(bound);
  if (values == nullptr || !values->is_object()) return std::nullopt;
  const boost::json::value* const start = values->get_object().if_contains(column);
  EventTime time;
  if (start == nullptr || !start->is_string() ||
      !ParseTime(start->get_string(), TimeUnit::kMillis, &time))
    return std::nullopt;
  return time;
}

LakeFile ToLakeFile(const lake::AddFile& file) {
  LakeFile result{.path = Decoded(file.path), .bytes = file.size_bytes};
  for (const auto& [column, value] : file.partition_values) {
    if (!value) continue;
    if (column == "geographical_location_oid") {
      if (const auto oid = ToNumber<int64_t>(*value)) result.location = LocationId{*oid};
    } else if (column == "bucket" && file.tags.contains(lake::kContentHashTag)) {
      // Another engine may have buckets of its own.
      result.bucket = ToNumber<int32_t>(*value);
    } else if (column == "date") {
      if (const auto day = lake::ParseDay(*value); day.ok()) result.day = day.value();
    }
  }
  boost::system::error_code error;
  const boost::json::value stats = boost::json::parse(file.stats, error);
  if (error || !stats.is_object()) return result;
  const boost::json::object& object = stats.get_object();
  if (const auto* rows = object.if_contains("numRecords"); rows != nullptr && rows->is_int64())
    result.rows = rows->get_int64();
  result.window_start_min = Bound(object, "minValues", "window_start");
  result.window_start_max = Bound(object, "maxValues", "window_start");
  result.append_hour_min = Bound(object, "minValues", "append_hour");
  result.append_hour_max = Bound(object, "maxValues", "append_hour");
  const boost::json::value* const nulls = object.if_contains("nullCount");
  result.has_lost = nulls != nullptr && nulls->is_object() && nulls->get_object().contains("lost");
  return result;
}

}  // namespace

std::vector<LakeFile> FilesOf(const lake::Snapshot& snapshot) {
  std::vector<LakeFile> files;
  files.reserve(snapshot.files.size());
  snapshot.files.ForEach([&](const lake::FilePtr& file) { files.push_back(ToLakeFile(*file)); });
  return files;
}

FileList Advance(const FileList& files, const lake::Snapshot& before, const lake::Snapshot& now) {
  std::vector<LakeFile> added, removed;
  now.files.ForEach([&](const lake::FilePtr& file) {
    if (before.files.Find(file->path) == nullptr) added.push_back(ToLakeFile(*file));
  });
  // Mostly nothing was removed. Then the numbers of files agree, and nothing needs to be searched.
  if (before.files.size() + added.size() != now.files.size())
    before.files.ForEach([&](const lake::FilePtr& file) {
      if (now.files.Find(file->path) == nullptr) removed.push_back(ToLakeFile(*file));
    });
  return files.With(added, removed);
}

}  // namespace sightline
